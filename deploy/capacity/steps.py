"""From hourly needs to few steps of minimum capacity that always cover them. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np


@dataclass(frozen=True)
class Span:
    """A level that is needed from `start` to `end`, local time."""

    start: datetime
    end: datetime
    level: int


@dataclass(frozen=True)
class Change:
    """From `at` on the minimum is `level`."""

    at: datetime
    level: int


def cheapest_cover(needs: Sequence[int], parts: int) -> list[tuple[int, int, int]]:
    """The cheapest staircase of at most `parts` steps that is nowhere below the needs: (first, after last, level).

    Exact, by dynamic programming over the last step's start; n hours and k parts cost n*n*k array operations.
    """
    count = len(needs)
    cost = np.full((count + 1, count + 1), np.inf)  # of one step, by start and end
    for start in range(count):
        levels = np.maximum.accumulate(needs[start:])
        cost[start, start + 1 :] = levels * np.arange(1, count - start + 1)
    best = np.full(count + 1, np.inf)
    best[0] = 0.0
    cuts = []
    for _ in range(min(parts, count)):
        through = best[:, None] + cost
        through[:, 0] = 0.0
        cuts.append(through.argmin(axis=0))
        best = np.minimum(best, through.min(axis=0))
    steps: list[tuple[int, int, int]] = []
    end = count
    for cut in reversed(cuts):
        if end == 0:
            break
        start = int(cut[end])
        steps.append((start, end, max(needs[start:end])))
        end = start
    return _merged(steps[::-1])


def _merged(steps: list[tuple[int, int, int]]) -> list[tuple[int, int, int]]:
    merged: list[tuple[int, int, int]] = []
    for start, end, level in steps:
        if merged and merged[-1][2] == level:
            merged[-1] = (merged[-1][0], end, level)
        else:
            merged.append((start, end, level))
    return merged


def changes(spans: Sequence[Span], floor: int, lead: timedelta, lag: timedelta) -> list[Change]:
    """The moments at which the minimum changes when every span holds from `lead` before it to `lag` after it.

    Where spans overlap the highest counts, so no step down can cut into a later step up. Strictly ordered; each change
    changes something; the last one is back at the floor.
    """
    wide = [Span(span.start - lead, span.end + lag, span.level) for span in spans if span.level > floor]
    moments = sorted({span.start for span in wide} | {span.end for span in wide})
    found: list[Change] = []
    before = floor
    for moment in moments:
        level = max((span.level for span in wide if span.start <= moment < span.end), default=floor)
        if level != before:
            found.append(Change(moment, level))
            before = level
    return found


def level_at(course: Sequence[Change], floor: int, moment: datetime) -> int:
    """The minimum in force at a moment."""
    level = floor
    for change in course:
        if change.at > moment:
            break
        level = change.level
    return level
