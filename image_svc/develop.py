"""The worker's pipeline on local files, without any cloud: `python -m image_svc.develop FILE... -o DIR`.

Each file goes through the very sandbox that the worker uses. Variants are written to `DIR/<stem>.<preset>.<ext>`.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import os
import stat
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from image_svc.pipeline.presets import Preset, PresetError, default_presets, parse_presets
from image_svc.pipeline.types import Rejected, Used
from image_svc.sandbox import Developed, Killed, Sandbox, SandboxError, TimedOut


async def main(arguments: Sequence[str] | None = None) -> int:
    """Develops what the command line names. Returns 0, or 1 where a file ended neither READY nor REJECTED."""
    parser = argparse.ArgumentParser(prog="python -m image_svc.develop", description=__doc__)
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="DIR", help="where the variants go")
    parser.add_argument("--presets", default="", metavar="NAMES", help="separated by commas; default: all eager ones")
    parser.add_argument(
        "--preset-file", type=Path, metavar="FILE", help="presets to use instead of those that come with the code"
    )
    parser.add_argument(
        "--repeat", type=int, default=1, metavar="N", help="develop each file N times; the last is kept"
    )
    parser.add_argument("--json", action="store_true", help="print a JSON object a file")
    options = parser.parse_args(arguments)
    presets = _chosen(parser, options.presets, options.preset_file)
    options.output.mkdir(parents=True, exist_ok=True)
    failed = False
    async with await Sandbox.start() as sandbox:
        for path in options.files:
            for _ in range(max(1, options.repeat)):
                line = await _one(sandbox, path, options.output, presets)
                _print(line, as_json=options.json)
            failed = failed or line["verdict"] not in {"READY", "REJECTED"}
    return 1 if failed else 0


def _chosen(parser: argparse.ArgumentParser, names: str, file: Path | None) -> tuple[Preset, ...]:
    try:
        presets = default_presets() if file is None else parse_presets(file.read_bytes())
    except (OSError, PresetError) as error:
        parser.error(str(error))
    known = {preset.name: preset for preset in presets}
    wanted = [name for name in names.split(",") if name]
    for name in wanted:
        if name not in known:
            parser.error(f"there is no preset {name!r}; there are {', '.join(known)}")
    return tuple(known[name] for name in wanted) or tuple(preset for preset in known.values() if preset.eager)


async def _one(sandbox: Sandbox, path: Path, output: Path, presets: Sequence[Preset]) -> dict[str, Any]:
    line: dict[str, Any] = {"file": str(path)}
    try:
        source = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        return line | {"verdict": "UNREADABLE", "detail": error.strerror}
    try:
        if not stat.S_ISREG(os.fstat(source).st_mode):
            return line | {"verdict": "UNREADABLE", "detail": "Not a file"}
        with await sandbox.develop(source, None, presets) as developed:
            return line | _ready(developed, path, output)
    except Rejected as verdict:
        refused = {"verdict": "REJECTED", "reason": verdict.reason.value, "detail": verdict.detail}
        return line | refused | (_used(verdict.used) if verdict.used else {})
    except (TimedOut, Killed, SandboxError) as error:
        return line | {"verdict": "FAILED", "detail": str(error)}
    finally:
        os.close(source)


def _ready(developed: Developed, path: Path, output: Path) -> dict[str, Any]:
    variants = []
    for made in developed.variants:
        target = output / f"{path.stem}.{made.preset}.{made.extension}"
        target.write_bytes(os.pread(made.fd, made.size, 0))
        variants.append(
            {"name": made.preset, "file": str(target), "width": made.width, "height": made.height, "size": made.size}
        )
    facts = developed.facts
    return {
        "verdict": "READY",
        "format": facts.format,
        "width": facts.width,
        "height": facts.height,
        "frames": facts.frames,
        "thumbhash": base64.b64encode(facts.thumbhash).decode(),
        "color": facts.color,
        "perceptual_hash": f"{facts.perceptual_hash:016x}",
        "variants": variants,
        **_used(developed.used),
    }


def _used(used: Used) -> dict[str, Any]:
    return {
        "wall_ms": round(used.wall_seconds * 1000, 1),
        "cpu_ms": round(used.cpu_seconds * 1000, 1),
        "peak_memory_bytes": used.peak_memory,
    }


def _print(line: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        sys.stdout.write(msgspec.json.encode(line).decode() + "\n")
    elif line["verdict"] == "READY":
        made = ", ".join(f"{v['name']} {v['width']}x{v['height']} {v['size']} B" for v in line["variants"])
        sys.stdout.write(
            f"{line['file']}: {line['format']} {line['width']}x{line['height']}, {line['cpu_ms']:.0f} ms CPU, "
            f"{line['peak_memory_bytes'] // 2**20} MiB: {made}\n"
        )
    else:
        sys.stdout.write(f"{line['file']}: {line['verdict']} {line.get('reason', '')} {line['detail']}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
