"""One row of the sheet: a file and what became of it."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from image_svc.pipeline.presets import Preset, default_presets
from image_svc.pipeline.types import Facts, Rejected
from image_svc.sandbox import Killed, Sandbox, SandboxError, TimedOut

# The presets of the house, and what these do not show: the other formats, the other fit, movement.
PRESETS: Final = (
    *default_presets(),
    Preset(name="avif", width=400, height=400, format="avif", quality=60),
    Preset(name="padded", width=400, height=300, format="png", fit="pad", background="#dfe6f0"),
    Preset(name="moving", width=300, height=300, format="webp", animated=True, max_frames=200),
)
_CHILDREN: Final = 2
_UNSAFE: Final = re.compile(r"[^A-Za-z0-9._-]")


@dataclass(frozen=True, slots=True)
class Output:
    """A variant, and where it was written."""

    preset: str
    width: int
    height: int
    size: int
    path: Path


@dataclass(frozen=True, slots=True)
class Row:
    """A file, its verdict in words, and for a READY one its facts and variants."""

    name: str
    size: int
    verdict: str
    detail: str
    cpu_seconds: float
    facts: Facts | None = None
    outputs: tuple[Output, ...] = ()


async def develop(files: Sequence[Path], folder: Path) -> list[Row]:
    """Develops all files, in order; variants are written to the folder. Raises OSError for a file that is not there."""
    gate = asyncio.Semaphore(_CHILDREN)
    async with await Sandbox.start() as sandbox:

        async def one(number: int, file: Path) -> Row:
            async with gate:
                return await _developed(sandbox, file, folder, f"{number:03}-{_UNSAFE.sub('_', file.stem)}")

        return await asyncio.gather(*(one(number, file) for number, file in enumerate(files)))


async def _developed(sandbox: Sandbox, file: Path, folder: Path, stem: str) -> Row:
    source = os.open(file, os.O_RDONLY)
    size = os.fstat(source).st_size
    try:
        with await sandbox.develop(source, None, PRESETS) as done:
            outputs = []
            for made in done.variants:
                path = folder / f"{stem}.{made.preset}.{made.extension}"
                path.write_bytes(os.pread(made.fd, made.size, 0))
                outputs.append(Output(made.preset, made.width, made.height, made.size, path))
            return Row(file.name, size, "READY", "", done.used.cpu_seconds, done.facts, tuple(outputs))
    except Rejected as verdict:
        used = verdict.used.cpu_seconds if verdict.used else 0.0
        return Row(file.name, size, "REJECTED", f"{verdict.reason}: {verdict.detail}", used)
    except (TimedOut, Killed, SandboxError) as error:
        return Row(file.name, size, "FAILED", str(error), 0.0)
    finally:
        os.close(source)
