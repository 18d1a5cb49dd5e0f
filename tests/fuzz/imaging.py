"""`make fuzz-imaging`: mutated files through the sandbox, until none is left.

It fails on a crash outside a child, on a verdict outside the contract, on one that took too long or too much memory,
and where the memory of this process and its helper has grown. A child that died is counted; what it had is kept.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import random
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from image_svc.pipeline.presets import default_presets
from image_svc.pipeline.types import Reason
from image_svc.sandbox import Sandbox, SandboxLimits
from tests.support import hostile, largest, mutation
from tests.support.trial import Trial, attempt

# A child that dies of a file is retried once alone and then ours (FAILED); all else is the contract's.
ALLOWED: Final = frozenset({"READY", "CRASHED", *(reason.value for reason in Reason)})
_KEPT: Final = Path(".cache/fuzz")
_CHILDREN: Final = 2
_MOST_SECONDS: Final = 10.0
_PROGRESS: Final = 5.0  # seconds
# Bytes that this process and the helper may have grown by between the first tenth and the end: an arena or two.
GROWTH: Final = 24 * 2**20


@dataclass(slots=True)
class Tally:
    """What came of the files so far."""

    verdicts: Counter[str] = field(default_factory=Counter)
    by_format: Counter[tuple[str, str]] = field(default_factory=Counter)
    slowest: tuple[float, str] = (0.0, "")
    largest: tuple[int, str] = (0, "")
    wrong: list[str] = field(default_factory=list)

    def add(self, name: str, content: bytes, trial: Trial, seconds: float) -> None:
        """Counts a file; keeps it where it ended as none should."""
        self.verdicts[trial.verdict] += 1
        self.by_format[name.partition("-")[0], trial.verdict] += 1
        self.slowest = max(self.slowest, (trial.cpu_seconds, name))
        self.largest = max(self.largest, (trial.peak_memory, name))
        fault = ""
        if trial.verdict not in ALLOWED:
            fault = f"{trial.verdict}: {trial.detail}"
        elif seconds > _MOST_SECONDS and trial.cpu_seconds > _MOST_SECONDS:
            fault = f"{seconds:.1f} s"
        elif trial.peak_memory > SandboxLimits().address_space_bytes:
            fault = f"{trial.peak_memory >> 20} MiB"
        if fault or trial.verdict == "CRASHED":
            _KEPT.mkdir(parents=True, exist_ok=True)
            kept = _KEPT / f"{name}-{hashlib.sha256(content).hexdigest()[:12]}"
            kept.write_bytes(content)
            if fault:
                self.wrong.append(f"{kept}: {fault}")


def resident(*processes: int) -> int:
    """Bytes of memory that these processes hold for themselves."""
    total = 0
    for process in processes:
        for line in Path(f"/proc/{process}/smaps_rollup").read_text().splitlines():
            if line.startswith(("Private_Dirty:", "Private_Clean:", "Private_Hugetlb:")):
                total += int(line.split()[1]) * 1024
    return total


def mixed(count: int, seed: int) -> Iterator[tuple[str, bytes]]:
    """So many mutated files, the formats by turns, each named by its format and number."""
    seeds = mutation.seeds()
    formats = sorted(seeds)
    for number in range(count):
        format_ = formats[number % len(formats)]
        yield f"{format_}-{number}", mutation.mutated(random.Random(f"{seed} {number}"), format_, seeds)


def cut(step: int) -> Iterator[tuple[str, bytes]]:
    """Every seed cut at every `step` percent."""
    for format_, contents in mutation.seeds().items():
        for which, content in enumerate(contents):
            for percent in range(step, 100, step):
                yield f"{format_}-{which}-cut-{percent}", content[: len(content) * percent // 100]


async def run(sandbox: Sandbox, files: Iterator[tuple[str, bytes]], tally: Tally, total: int = 0) -> None:
    """Tries all files, two at a time; with a `total`, says how far it is."""
    started = said = time.monotonic()
    done = 0

    async def work() -> None:
        nonlocal done, said
        for name, content in files:
            began = time.monotonic()
            trial = await attempt(sandbox, content)
            now = time.monotonic()
            tally.add(name, content, trial, now - began)
            done += 1
            if total and now - said > _PROGRESS:
                said = now
                sys.stderr.write(f"  {done} of {total} files, {done / (now - started):.0f} a second\n")

    await asyncio.gather(*(work() for _ in range(_CHILDREN)))


async def main(arguments: Sequence[str] | None = None) -> int:
    """Runs what the command line asks for; returns the exit status."""
    parser = argparse.ArgumentParser(prog="make fuzz-imaging", description=__doc__)
    parser.add_argument("-n", "--files", type=int, default=10_000, help="how many mutated files")
    parser.add_argument("--seed", type=int, default=1, help="another one gives other files")
    options = parser.parse_args(arguments)
    started = time.monotonic()
    tally = Tally()
    sys.stdout.write("the largest file of every kind that the caps admit\n")
    async with await Sandbox.start() as sandbox:
        for name in largest.QUICK | largest.SLOW:
            megapixels, trial = await largest.largest(sandbox, name, default_presets())
            sys.stdout.write(f"  {name:42}{megapixels:5.1f} MP {trial.peak_memory >> 20:5} MiB  {trial.verdict}\n")
            if trial.verdict != "READY":
                tally.wrong.append(f"the largest {name}: {trial.verdict}: {trial.detail}")
    async with await Sandbox.start() as sandbox:
        processes = (sandbox.helper_process, _own_process())
        sys.stdout.write("files made to harm, and every sample cut at every percent\n")
        await run(sandbox, ((hostile_.name, hostile_.content) for hostile_ in hostile.files()), tally)
        await run(sandbox, cut(1), tally)
        sys.stdout.write(f"{tally.verdicts.total()} files; now {options.files} mutated ones, seed {options.seed}\n")
        files = mixed(options.files, options.seed)
        await run(sandbox, _first(files, options.files // 10), tally)
        before = resident(*processes)
        await run(sandbox, files, tally, options.files)
        after = resident(*processes)
        if sandbox.helper_process != processes[0]:
            tally.wrong.append("the helper has died")
        elif after > before + GROWTH:
            tally.wrong.append(f"memory grew from {before >> 20} to {after >> 20} MiB")
    _report(tally, time.monotonic() - started, before, after)
    return 1 if tally.wrong else 0


def _first(files: Iterator[tuple[str, bytes]], count: int) -> Iterator[tuple[str, bytes]]:
    for _ in range(count):
        yield next(files)


def _own_process() -> int:
    return int(Path("/proc/self").readlink().name)


def _report(tally: Tally, seconds: float, before: int, after: int) -> None:
    write = sys.stdout.write
    write(f"\n{tally.verdicts.total()} files in {seconds:.0f} s\n")
    formats = sorted({format_ for format_, _ in tally.by_format if format_ in mutation.seeds()})
    write(f"  {'':24}{'all':>7}" + "".join(f"{format_:>7}" for format_ in formats) + "\n")
    for verdict, count in tally.verdicts.most_common():
        row = "".join(f"{tally.by_format[format_, verdict]:7}" for format_ in formats)
        write(f"  {verdict:24}{count:7}{row}\n")
    write(f"slowest child: {tally.slowest[0]:.2f} CPU s ({tally.slowest[1]})\n")
    write(f"largest child: {tally.largest[0] >> 20} MiB ({tally.largest[1]})\n")
    write(f"this process and its helper: {before >> 20} MiB after a tenth, {after >> 20} MiB at the end\n")
    for fault in tally.wrong:
        write(f"WRONG {fault}\n")
    write("FAILED\n" if tally.wrong else "Every file ended as the contract says.\n")
