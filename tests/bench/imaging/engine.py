"""The engines, and their processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import msgspec

from deploy.setup.environments import ROOT
from image_svc.sandbox.parent import ALLOCATOR
from tests.bench.imaging import set_up

_MODULES: Final = "tests.bench.imaging.engines"
# One thread each, whatever the library's own habit.
_ENVIRONMENT: Final = {"VIPS_CONCURRENCY": "1", "UV_THREADPOOL_SIZE": "1", "OMP_NUM_THREADS": "1"}

Kind = Literal["ours", "floor", "peer"]


@dataclass(frozen=True)
class Engine:
    """One way of doing the job. `command` may raise SetupError: then the run goes on without it."""

    name: str
    title: str
    kind: Kind
    command: Callable[[], list[str]]
    heif: bool = False


class Taken(msgspec.Struct):
    """What an order took: seconds for all of its files, bytes of memory before, and its high water."""

    cpu: float = 0.0
    wall: float = 0.0
    rss: int = 0
    peak: int = 0
    error: str = ""


def _ours(module: str, *arguments: str) -> Callable[[], list[str]]:
    return lambda: [sys.executable, "-m", f"{_MODULES}.{module}", *arguments]


def _python(peer: str, module: str, *arguments: str) -> Callable[[], list[str]]:
    return lambda: [str(set_up.python(peer)), "-m", f"{_MODULES}.{module}", *arguments]


def _sharp(*arguments: str) -> Callable[[], list[str]]:
    return lambda: [str(set_up.NODE), str(set_up.sharp()), *arguments]


# sharp's and pyvips' prebuilt libraries have no decoder for HEVC.
ENGINES: Final = (
    Engine("pixels", "Darkroom, pixels alone", "ours", _ours("in_process", "pixels"), heif=True),
    Engine("sandboxed", "Darkroom, in its sandbox", "ours", _ours("sandboxed"), heif=True),
    Engine("sharp", "sharp, a pipeline a size", "peer", _sharp("pipelines", "4")),
    Engine("sharp-2", "the same, WebP effort 2", "peer", _sharp("pipelines", "2")),
    Engine("sharp-cascade", "sharp, cascade", "peer", _sharp("cascade", "4")),
    Engine("sharp-cascade-2", "the same, WebP effort 2", "peer", _sharp("cascade", "2")),
    Engine("pyvips-cascade", "pyvips, cascade", "peer", _python("pyvips", "vips_cascade", "4")),
    Engine("pyvips-cascade-2", "the same, WebP effort 2", "peer", _python("pyvips", "vips_cascade", "2")),
    Engine("simd-cascade", "pillow-simd, cascade", "peer", _ours("simd_cascade"), heif=True),
    Engine("pillow", "Pillow, naive", "peer", _python("pillow", "naive_pillow"), heif=True),
    Engine("floor", "decode + encode alone", "floor", _ours("in_process", "floor"), heif=True),
)
# Not in the table: what target 5 compares with.
DECODE: Final = Engine("decode", "full decode alone", "floor", _ours("in_process", "decode"), heif=True)


class Process:
    """An engine's process."""

    def __init__(self, process: subprocess.Popen[str], engine: Engine) -> None:
        self._process = process
        self._engine = engine

    def run(self, files: list[Path], out: Path, presets: list[dict[str, Any]]) -> Taken:
        """Does an order. Raises RuntimeError with what the engine says of a failure."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        out.mkdir(parents=True, exist_ok=True)
        order = {"files": [str(file) for file in files], "out": str(out), "presets": presets}
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self._engine.title} ended with status {self._process.wait()}")
        taken = msgspec.json.decode(line, type=Taken)
        if taken.error:
            raise RuntimeError(f"{self._engine.title}: {taken.error}")
        return taken


@contextmanager
def running(engine: Engine, log: Path) -> Iterator[Process]:
    """The engine's process, until the block ends. Raises SetupError where it cannot be had."""
    inherited = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    # The malloc settings of the sandbox's helper, for all: they are the C library's, not ours.
    environment = inherited | _ENVIRONMENT | ALLOCATOR | {"PYTHONPATH": f"{ROOT}:{ROOT / 'protos'}"}
    command = engine.command()
    with log.open("ab") as errors:
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True
        )
    try:
        yield Process(process, engine)
    finally:
        try:
            process.communicate(timeout=10)  # the end of its orders is its end
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
