"""The SQL that this service speaks, by name: one file each in `sql/`. No other module holds SQL."""

from __future__ import annotations

from pathlib import Path
from typing import Final

_FOLDER: Final = Path(__file__).resolve().parent / "sql"


def load(folder: Path = _FOLDER) -> dict[str, str]:
    """Every statement, by the name of its file, without its leading comment (which is for readers)."""
    return {path.stem: _body(path.read_text()) for path in sorted(folder.glob("*.sql"))}


def _body(text: str) -> str:
    lines = text.splitlines()
    while lines and (not lines[0].strip() or lines[0].startswith("--")):
        lines.pop(0)
    return "\n".join(lines).strip()
