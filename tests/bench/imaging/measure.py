"""One interleaved run: every engine in turn on every photo, round after round."""

from __future__ import annotations

import itertools
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from deploy.setup.console import SetupError
from image_svc.pipeline.presets import Preset
from tests.bench.imaging import job
from tests.bench.imaging.engine import DECODE, ENGINES, Engine, Process, Taken, running
from tests.bench.imaging.pictures import Photo
from tests.bench.imaging.quality import Quality, Reference

# Photos in one order: /proc and the clocks are exact enough for one, a few even out what the caches do.
_TIMES: Final = 2
# Before them, without the clock: an engine has slept for as long as the others worked, and a virtual machine's host may
# have taken the memory that was free meanwhile. What comes first then pays for it, 20 to 50 ms.
_UNTIMED: Final = 3
# Of a thumbnail and a full decode, whatever the rounds: pairs of processes on one core, and of photos in each. Where
# its memory came to lie makes a process faster or slower for all its life, and so do a core's neighbours for a while.
_LOTS: Final = 6
_PAIRS: Final = 3


@dataclass
class Figures:
    """Of one engine on one photo: CPU and wall seconds of an image, a value a round; bytes of memory; quality."""

    cpu: list[float] = field(default_factory=list)
    wall: list[float] = field(default_factory=list)
    base: int = 0
    peak: int = 0
    quality: dict[str, Quality] = field(default_factory=dict)
    # Of ours only: the reference in our own encoding.
    ideal: dict[str, Quality] = field(default_factory=dict)

    @property
    def rate(self) -> float:
        """Images per CPU second, the median."""
        return 1 / statistics.median(self.cpu)

    @property
    def bytes(self) -> int:
        """Of all variants."""
        return sum(each.bytes for each in self.quality.values())

    @property
    def psnr(self) -> float:
        """Mean of the variants, dB."""
        return statistics.mean(each.psnr for each in self.quality.values())

    @property
    def ssim(self) -> float:
        """Mean of the variants."""
        return statistics.mean(each.ssim for each in self.quality.values())


Results = dict[tuple[str, str], Figures]  # by photo and engine


def ratio(results: Results, photo: str, ours: str, theirs: str) -> float:
    """How many times fewer CPU `ours` takes: of each round's pair, the median."""
    pairs = zip(results[photo, theirs].cpu, results[photo, ours].cpu, strict=True)
    return statistics.median(b / a for b, a in pairs)


class Bench:
    """Engines on photos; what they make lies under `folder`."""

    def __init__(self, folder: Path, photos: Sequence[Photo], presets: tuple[Preset, ...], tiny: Path) -> None:
        self._folder = folder
        self._photos = photos
        self._presets = presets
        self._plain = job.as_plain(presets)
        self._tiny = tiny
        self._numbers = itertools.count()
        self.left_out: list[str] = []

    def rounds(self, count: int, wanted: Sequence[str]) -> Results:
        """Runs `count` rounds of the named engines, all where none is named."""
        results: Results = {}
        with ExitStack() as stack:
            engines = [engine for engine in ENGINES if not wanted or engine.name in wanted]
            processes = [(e, process) for e in engines if (process := self._started(stack, e)) is not None]
            for number in range(count):
                started = time.monotonic()
                for photo in self._photos:
                    for engine, process in _fit(processes, photo):
                        self._order(process, photo, engine, self._plain, times=_UNTIMED)
                        taken = self._order(process, photo, engine, self._plain)
                        figures = results.setdefault((photo.name, engine.name), Figures())
                        figures.cpu.append(taken.cpu / _TIMES)
                        figures.wall.append(taken.wall / _TIMES)
                say(f"round {number + 1} of {count}: {time.monotonic() - started:.0f} s")
        return results

    def memory(self, results: Results) -> None:
        """Peak memory of each engine on each photo, in a process that has done nothing else."""
        for (photo_name, name), figures in results.items():
            engine = next(each for each in ENGINES if each.name == name)
            photo = next(each for each in self._photos if each.name == photo_name)
            with running(engine, self._folder / f"{name}.log") as process:
                self._warm(process, engine)
                taken = self._order(process, photo, engine, self._plain, times=1)
            figures.base, figures.peak = taken.rss, taken.peak

    def quality(self, results: Results) -> None:
        """Compares every variant with the reference."""
        for photo in self._photos:
            reference = Reference(photo.file)
            for engine in ENGINES:
                if engine.kind == "floor" or (photo.name, engine.name) not in results:
                    continue
                figures = results[photo.name, engine.name]
                for preset in self._presets:
                    file = self._out(photo.name, engine) / f"{preset.name}.{preset.extension}"
                    figures.quality[preset.name] = reference.judge(file, preset)
                    if engine.kind == "ours":
                        figures.ideal[preset.name] = reference.ideal(file, preset)

    @contextmanager
    def bare(self) -> Iterator[Callable[[Path], Taken]]:
        """Our pipeline in process, one photo at a time; what it says is of one."""
        with running(ENGINES[0], self._folder / "bare.log") as process:
            self._warm(process, ENGINES[0])
            yield lambda file: process.run([file], self._out("bare", ENGINES[0]), self._plain)

    def thumbnail_alone(self, photo: Photo) -> float:
        """How many times more a full decode costs than all that the smallest preset takes (target 5)."""
        smallest = [min(self._plain, key=lambda preset: int(preset["width"]))]
        cores = sorted(os.sched_getaffinity(0))
        ratios = []
        for lot in range(_LOTS):
            with ExitStack() as stack:
                with on(cores[lot % len(cores)]):
                    pixels, decode = (
                        stack.enter_context(running(engine, self._folder / "5.log")) for engine in (ENGINES[0], DECODE)
                    )
                for process, engine in ((pixels, ENGINES[0]), (decode, DECODE)):
                    self._warm(process, engine)
                for _ in range(_PAIRS):
                    ours = self._order(pixels, photo, ENGINES[0], smallest, out="thumbnail")
                    whole = self._order(decode, photo, DECODE, smallest)
                    ratios.append(whole.cpu / ours.cpu)
        return statistics.median(ratios)

    def _started(self, stack: ExitStack, engine: Engine) -> Process | None:
        try:
            process = stack.enter_context(running(engine, self._folder / f"{engine.name}.log"))
            self._warm(process, engine)
        except (SetupError, RuntimeError, OSError) as error:
            if engine.kind != "peer":
                raise
            say(f"WITHOUT {engine.title} ({engine.name}): {error}")
            self.left_out.append(engine.title)
            return None
        return process

    def _warm(self, process: Process, engine: Engine) -> None:
        process.run([self._tiny], self._out("tiny", engine), self._plain)

    def _order(
        self,
        process: Process,
        photo: Photo,
        engine: Engine,
        plain: list[dict[str, Any]],
        *,
        times: int = _TIMES,
        out: str = "",
    ) -> Taken:
        # Under a new name each time: libvips remembers what it has done with a file.
        files = [self._renamed(photo.file) for _ in range(times)]
        taken = process.run(files, self._out(out or photo.name, engine), plain)
        for file in files:
            file.unlink()
        return taken

    def _renamed(self, file: Path) -> Path:
        link = self._folder / f"{next(self._numbers)}{file.suffix}"
        link.symlink_to(file)
        return link

    def _out(self, photo: str, engine: Engine) -> Path:
        return self._folder / photo / engine.name


@contextmanager
def on(core: int) -> Iterator[None]:
    """Processes that start in this block stay on a core, and those that they start, too."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _fit(processes: list[tuple[Engine, Process]], photo: Photo) -> list[tuple[Engine, Process]]:
    return [(engine, process) for engine, process in processes if engine.heif or not photo.heif]


def say(text: str) -> None:
    """To the person who waits."""
    print(text, file=sys.stderr, flush=True)
