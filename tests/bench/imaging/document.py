"""Sections of `docs/performance.md` that a run writes: what stands between two markers."""

from __future__ import annotations

import os
import platform
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from deploy.setup.environments import ROOT

DOCUMENT: Final = ROOT / "docs" / "performance.md"
FIGURE: Final = ROOT / "docs" / "img" / "imaging.svg"


def replaced(text: str, section: str, content: str) -> str:
    """The text with new content between `<!-- section:begin -->` and `:end`. Raises ValueError without them."""
    begin, end = f"<!-- {section}:begin -->", f"<!-- {section}:end -->"
    pattern = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
    if len(pattern.findall(text)) != 1:
        raise ValueError(f"there is not exactly one section {section!r}")
    return pattern.sub(lambda _: f"{begin}\n{content.strip()}\n{end}", text)


def write(section: str, content: str, document: Path = DOCUMENT) -> None:
    """Writes a section."""
    document.write_text(replaced(document.read_text(), section, content))


def machine() -> str:
    """When and on what kind of machine, in words that name nobody."""
    cores = len(os.sched_getaffinity(0))
    widest = "with AVX2" if " avx2 " in Path("/proc/cpuinfo").read_text() else "without AVX2"
    now = datetime.now(UTC).strftime("%d %B %Y").lstrip("0")
    return f"{now}, a shared {platform.machine()} machine {widest}, {cores} cores, Python {platform.python_version()}"
