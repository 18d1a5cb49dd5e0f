"""The tables of a run, in Markdown that reads well in a terminal too."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from tests.bench.imaging.around import Around
from tests.bench.imaging.engine import ENGINES
from tests.bench.imaging.measure import Results, ratio
from tests.bench.imaging.pictures import Photo
from tests.bench.imaging.targets import Verdict

_MB = 1_000_000


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table with even columns: the first to the left, the others to the right."""
    widths = [max(len(row[at]) for row in (head, *rows)) for at in range(len(head))]

    def line(cells: Sequence[str]) -> str:
        padded = [cell.ljust(width) if at == 0 else cell.rjust(width) for at, (cell, width) in _each(cells, widths)]
        return f"| {' | '.join(padded)} |"

    rule = ["-" * width if at == 0 else "-" * (width - 1) + ":" for at, width in enumerate(widths)]
    return "\n".join([line(head), f"| {' | '.join(rule)} |", *map(line, rows)])


def _each(cells: Sequence[str], widths: Sequence[int]) -> enumerate[tuple[str, int]]:
    return enumerate(zip(cells, widths, strict=True))


def rates(results: Results, photos: Sequence[Photo]) -> str:
    """Images per CPU second: engines down, photos across."""
    rows = []
    for engine in ENGINES:
        found = [results.get((photo.name, engine.name)) for photo in photos]
        if any(found):
            rows.append([engine.title, *(f"{each.rate:.2f}" if each else "-" for each in found)])
    return table(["images per CPU second", *(photo.title for photo in photos)], rows)


def details(results: Results, photos: Sequence[Photo]) -> str:
    """A row for each photo and engine."""
    rows = []
    for photo in photos:
        for engine in ENGINES:
            got = results.get((photo.name, engine.name))
            if got is None:
                continue
            spent = [1000 * each for each in got.cpu]
            row = [
                f"{photo.title}: {engine.title}",
                f"{statistics.median(spent):.0f}",
                f"{min(spent):.0f}-{max(spent):.0f}",
                f"{ratio(results, photo.name, 'pixels', engine.name):.2f}",
                f"{got.peak / _MB:.0f}",
                f"{(got.peak - got.base) / _MB:.0f}",
            ]
            quality = [f"{got.bytes / 1000:.0f}", f"{got.psnr:.2f}", f"{got.ssim:.4f}"] if got.quality else ["-"] * 3
            rows.append(row + quality)
    head = ["photo: engine", "CPU ms", "least-most", "to ours", "peak MB", "above base", "KB", "PSNR dB", "SSIM"]
    return table(head, rows)


def verdicts(found: Sequence[Verdict]) -> str:
    """One row a target: the worst and the best photo, and how many miss it."""
    rows = []
    for target in dict.fromkeys(each.target for each in found):
        same = [each for each in found if each.target == target]
        ordered = sorted(same, key=lambda each: -each.value if each.at_most else each.value)
        worst, best = ordered[0], ordered[-1]
        sign = "<=" if worst.at_most else ">="
        missed = [each.photo for each in same if not each.met]
        rows.append(
            [
                target,
                f"{sign} {_number(worst, worst.bound)}",
                f"{_number(worst, worst.value)} ({worst.photo})",
                f"{_number(best, best.value)}",
                f"MISSED on {len(missed)} of {len(same)}" if missed else "met",
            ]
        )
    return table(["target", "bound", "worst", "best", "verdict"], rows)


def _number(verdict: Verdict, value: float) -> str:
    digits = 4 if not verdict.unit else 2
    return f"{value:.{digits}f}{'' if verdict.unit == 'x' else ' '}{verdict.unit}".strip()


def around(found: Around) -> str:
    """What the pipeline around the pixels adds to one image, by part and by process."""
    cost = found.busy
    known = sum(found.parts.values())
    rows = [(f"worker, {part}", seconds) for part, seconds in found.parts.items()]
    rows += [
        ("worker, everything else (consumer, lease, logs)", cost.worker - known),
        ("sandbox: the helper's side, fork", cost.helper),
        ("sandbox: the child beyond the pixels", cost.child - cost.pixels),
        ("metadata_svc, gRPC: its side of begin, finish", cost.hops),
        ("together", cost.named),
        ("metadata_svc, beside: statements, outbox", cost.metadata - cost.hops),
        ("the pixels, in process", cost.pixels),
    ]
    return table(
        ["CPU of one image", "ms", "% of the pixels"],
        [[name, f"{1000 * seconds:.1f}", f"{100 * seconds / cost.pixels:.1f}"] for name, seconds in rows],
    )


def clock(found: Around) -> str:
    """What the figures are made of that the targets judge."""
    alone, busy = found.alone, found.busy
    return (
        f"With all of metadata_svc, which target 2 does not name, {100 * busy.around / busy.pixels:.1f} % lie around "
        "the pixels; of a photo that comes alone, to processes that have slept, "
        f"{100 * alone.cost.around / alone.cost.pixels:.1f} %. From S3's answer to its PUT until "
        f"READY: {alone.total * 1000:.0f} ms, of which {alone.bare * 1000:.0f} the pixels, "
        f"{alone.storage * 1000:.0f} S3's get and put, and {alone.event * 1000:.0f} the event on its way through S3 "
        "and SQS to the worker. "
        f"A backlog drained at {found.drained.rate:.1f} images a second; "
        f"{found.drained.share * 100:.0f} % of the CPU time that other processes left went into developing."
    )
