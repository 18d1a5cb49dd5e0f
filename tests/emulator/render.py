"""Writes docs/emulator.md from the table: `python -m tests.emulator.render`."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path
from typing import Final

from tests.emulator.table import TABLE

DOCUMENT: Final = Path(__file__).parents[2] / "docs" / "emulator.md"

_HEAD: Final = """# What the emulator shows, and what it does not

The cluster on one machine and the tests run on LocalStack 4.13.1. It is not AWS. Each line below is a behaviour of AWS
that Darkroom has to do with, and whether LocalStack behaves the same. `tests/emulator` asks a running LocalStack for
every one of them, so a newer one, or AWS itself, that answers otherwise is noticed. This file is written from the same
table by `python -m tests.emulator.render`.

Where the answer is **no**, a passing test on one machine proves nothing about that point: the last column says what
does.
"""


def rendered() -> str:
    """The document's text."""
    parts = [_HEAD]
    for area, rows in groupby(TABLE, key=lambda row: row.area):
        parts.append(f"\n## {area}\n\n| | on AWS | here too | so |\n|---|---|---|---|\n")
        parts += [f"| {row.name} | {row.aws} | {'yes' if row.same else '**no**'} | {row.follows} |\n" for row in rows]
    return "".join(parts)


if __name__ == "__main__":
    DOCUMENT.write_text(rendered())
