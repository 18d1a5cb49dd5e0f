"""`make bench-imaging`: the default presets made of nine kinds of photo by Darkroom and its peers, in one run.

CPU is user and system time of an engine's process and its children. Times on a shared machine are noise, ratios of one
run are facts: each round has every engine on every photo in turn, a ratio is the median of its rounds' pairs.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Final

import uvloop

from deploy.setup.environments import ROOT
from tests.bench.imaging import chart, document, job, pictures, report, targets
from tests.bench.imaging.around import Around
from tests.bench.imaging.around import measured as measure_around
from tests.bench.imaging.engine import ENGINES
from tests.bench.imaging.measure import Bench, Results, say
from tests.bench.imaging.pictures import Photo
from tests.bench.imaging.targets import Verdict

_PICTURES: Final = ROOT / ".cache" / "bench-imaging"


def main() -> None:
    """Command line; see the module's docstring."""
    parser = argparse.ArgumentParser(prog="make bench-imaging", description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--images", type=int, default=40, help="one at a time through a worker")
    parser.add_argument("--backlog", type=int, default=120, help="waiting when a worker starts")
    parser.add_argument("--photos", default="", metavar="NAMES", help="separated by commas; default: all")
    parser.add_argument("--engines", default="", metavar="NAMES", help="separated by commas; default: all")
    parser.add_argument("--write", action="store_true", help="write docs/performance.md and its chart")
    parser.add_argument("--check", action="store_true", help="status 1 where a target is missed")
    options = parser.parse_args()
    wanted = [name for name in options.engines.split(",") if name]
    if wanted:
        wanted.append("pixels")  # which all are compared with
    photos = [p for p in pictures.photos(_PICTURES) if not options.photos or p.name in options.photos.split(",")]
    titles = {engine.name: engine.title for engine in ENGINES}
    with tempfile.TemporaryDirectory(prefix="darkroom-bench-") as name:
        bench = Bench(Path(name), photos, job.eager_presets(), pictures.tiny(_PICTURES))
        results = bench.rounds(options.rounds, wanted)
        say("memory, each in a new process")
        bench.memory(results)
        say("quality")
        bench.quality(results)
        found = targets.speed(results, photos, titles) + targets.likeness(results, photos)
        by_name = {photo.name: photo for photo in photos}
        for kind in ("24mp-jpeg", "24mp-progressive"):
            if photo := by_name.get(kind):
                found.append(targets.thumbnail(bench.thumbnail_alone(photo), photo))
        around, large = None, by_name.get("24mp-jpeg")
        if large and (usual := by_name.get("12mp-jpeg")):
            Path(name).chmod(0o755)  # PostgreSQL does not run as root
            measured = measure_around(
                Path(name), usual.file, large.file, count=options.images, waiting=options.backlog, bare=bench.bare
            )
            around = uvloop.run(measured)
            found += targets.around(around, usual.title, large.title)
    print(report.rates(results, photos))
    print()
    print(report.details(results, photos))
    print()
    if around:
        print(f"{report.around(around)}\n\n{report.clock(around)}\n")
    print(report.verdicts(found))
    for title in bench.left_out:
        print(f"\nWITHOUT {title}: it could not be installed; see above")
    if options.write:
        document.FIGURE.write_text(chart.draw(results, photos))
        document.write("imaging", _section(results, photos, found, around, bench.left_out))
    sys.exit(1 if options.check and not all(each.met for each in found) else 0)


_AROUND: Final = """What the pipeline around them adds to a 12 MP photo, counted in a running worker and metadata_svc on
LocalStack and PostgreSQL, which are not counted:"""


def _section(
    results: Results, photos: list[Photo], found: list[Verdict], around: Around | None, left_out: list[str]
) -> str:
    """What a run says in the document."""
    rounds = len(next(iter(results.values())).cpu)
    parts = [
        f"Measured on {document.machine()}; {rounds} rounds.",
        "![Images per CPU second of each engine on each photo](img/imaging.svg)",
        report.rates(results, photos),
        _AROUND,
        f"{report.around(around)}\n\n{report.clock(around)}" if around else "not measured in this run",
        "Where these stand against the targets:",
        report.verdicts(found),
        "<details><summary>Every engine on every photo: CPU, memory, bytes, quality</summary>",
        report.details(results, photos),
        "</details>",
    ]
    if left_out:
        parts.insert(1, f"Without {', '.join(left_out)}: not installed on this machine.")
    return "\n\n".join(parts)
