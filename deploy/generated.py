"""Blocks of documents that a command writes: `<!-- generated: name -->` to `<!-- end -->`; tests compare them."""

from __future__ import annotations

import re
from pathlib import Path


def block(document: str, name: str) -> str:
    """What stands in a block, without the lines of its marks. Raises ValueError where there is not exactly one."""
    found = _pattern(name).findall(document)
    if len(found) != 1:
        raise ValueError(f"{len(found)} blocks named {name!r}; one is wanted")
    return str(found[0][1])


def replaced(document: str, name: str, text: str) -> str:
    """The document with another text in that block."""
    block(document, name)
    return _pattern(name).sub(lambda match: f"{match[1]}{text.strip()}\n{match[3]}", document)


def write(path: Path, name: str, text: str) -> None:
    """Puts a text into a block of a file."""
    path.write_text(replaced(path.read_text(encoding="utf-8"), name, text), encoding="utf-8")


def _pattern(name: str) -> re.Pattern[str]:
    mark = rf"<!-- generated: {re.escape(name)}(?:;[^>]*)? -->\n"
    return re.compile(rf"({mark})(.*?)(<!-- end -->)", re.DOTALL)
