import argparse
import asyncio
import os
import shutil
import sys
from collections import Counter
from pathlib import Path

from tests.sheet import page, poster, shot
from tests.support.corpus import files

_FOLDER = Path(".local/contact-sheet")


def main() -> int:
    """Develops what the command line names, or the corpus; returns 1 where a file ended neither READY nor REJECTED."""
    parser = argparse.ArgumentParser(prog="make contact-sheet")
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE", help="default: tests/data and the demo's photos")
    parser.add_argument("-o", "--output", type=Path, default=_FOLDER, metavar="DIR")
    options = parser.parse_args()
    variants = options.output / "variants"
    shutil.rmtree(variants, ignore_errors=True)
    variants.mkdir(parents=True)
    rows = asyncio.run(shot.develop(options.files or list(files()), variants))
    (options.output / "index.html").write_text(page.render(rows, options.output))
    poster.draw(rows).save(options.output / "sheet.png")
    verdicts = Counter(row.verdict for row in rows)
    print(", ".join(f"{count} {verdict}" for verdict, count in verdicts.items()))
    for name in ("index.html", "sheet.png"):
        print(os.path.relpath(options.output / name))
    return 1 if verdicts["FAILED"] else 0


if __name__ == "__main__":
    sys.exit(main())
