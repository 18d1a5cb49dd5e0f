"""The corpus of real files and what is expected of each: `python -m tests.support.corpus` writes it anew.

Expected is what the pipeline says: look at `make contact-sheet` before a change of `tests/data/expected.json` goes in.
`colors` are those of a 4 x 4 grid over the largest variant: enough to see a wrong turn, a wrong profile or a lost part.
"""

from __future__ import annotations

import asyncio
import base64
import io
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from PIL import Image

from image_svc.pipeline.presets import default_presets
from image_svc.pipeline.types import Rejected
from image_svc.sandbox import Sandbox
from tests.support.developing import DATA, PHOTOS

EXPECTED: Final = DATA / "expected.json"
_GRID: Final = 4


def files() -> Iterator[Path]:
    """Every picture of `tests/data` and of the demo, by name."""
    suffixes = {".jpg", ".png", ".gif", ".webp", ".avif", ".heic"}
    yield from sorted(
        (path for folder in (DATA, PHOTOS) for path in folder.iterdir() if path.suffix in suffixes),
        key=lambda path: path.name,
    )


async def seen(sandbox: Sandbox, path: Path) -> dict[str, Any]:
    """What the sandbox makes of a file: its verdict and, where it is READY, its facts, variants and colours."""
    source = os.open(path, os.O_RDONLY)
    try:
        with await sandbox.develop(source, None, default_presets()) as done:
            largest = max(done.variants, key=lambda variant: variant.width * variant.height)
            picture = Image.open(io.BytesIO(os.pread(largest.fd, largest.size, 0)))
            facts = done.facts
            return {
                "verdict": "READY",
                "format": facts.format.value,
                "size": [facts.width, facts.height],
                "frames": facts.frames,
                "color": facts.color,
                "perceptual_hash": f"{facts.perceptual_hash:016x}",
                "thumbhash": base64.b64encode(facts.thumbhash).decode(),
                "variants": {variant.preset: [variant.width, variant.height] for variant in done.variants},
                "colors": grid(picture),
            }
    except Rejected as verdict:
        return {"verdict": "REJECTED", "reason": verdict.reason.value}
    finally:
        os.close(source)


def grid(picture: Image.Image) -> list[str]:
    """The mean colours of a picture's parts, row by row; what is transparent lies on white."""
    clear = picture.convert("RGBA")
    ground = Image.new("RGB", clear.size, (255, 255, 255))
    ground.paste(clear, mask=clear.getchannel("A"))
    small = ground.resize((_GRID, _GRID), Image.Resampling.BOX).tobytes()
    return [f"#{small[at : at + 3].hex()}" for at in range(0, len(small), 3)]


async def main() -> int:
    """Writes what is seen now as what is expected; returns the exit status."""
    async with await Sandbox.start() as sandbox:
        expected = {path.name: await seen(sandbox, path) for path in files()}
    EXPECTED.write_text(json.dumps(expected, indent=1) + "\n")
    sys.stdout.write(f"{len(expected)} files -> {EXPECTED}\n")
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
