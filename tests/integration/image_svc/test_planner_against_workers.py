"""The planner's simulation waits as real workers do. `make plan-check` runs more images and documents what it saw."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from deploy import generated
from tests.support.image_stack import ROOT, Stack
from tests.support.planner_check import Seen, compare, observe, table

IMAGES = int(os.environ.get("PLAN_CHECK_IMAGES", "32"))
DOCUMENT = Path(ROOT / "docs" / "scaling.md")
_seen: list[Seen] = []


@pytest.mark.parametrize("processes", [1, 2])
async def test_the_simulation_waits_as_real_workers_do_and_would_not_with_another_rate(
    running: Stack, processes: int
) -> None:
    seen = await observe(running, processes, IMAGES)
    print(f"\n{table([seen])}")
    lines = compare(seen)
    assert all(line.agrees for line in lines), lines
    for wrong in (0.6, 1.7):
        assert not all(line.agrees for line in compare(seen, faster=wrong)), f"{wrong} times the rate goes unnoticed"
    _seen.append(seen)
    if "PLAN_CHECK_IMAGES" in os.environ:
        generated.write(DOCUMENT, "workers", table(_seen))
