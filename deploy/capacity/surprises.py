"""Months that do not go as forecast: what the plan survives and what it does not. Pure and deterministic."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date

from deploy.capacity.business_calendar import is_working_day, month_days, peak_days
from deploy.capacity.compare import OBJECTIVE_SECONDS, REACTIVE, SCHEDULED, compare
from deploy.capacity.inputs import Inputs
from deploy.capacity.planner import Month
from deploy.capacity.report import grid, percent
from deploy.capacity.simulation import Drought

SEED = 1


@dataclass(frozen=True)
class Surprise:
    """What happens, unknown to the plan."""

    name: str
    day_factors: list[float]
    drought: Drought | None = None


def surprises(inputs: Inputs, month: Month) -> Iterator[Surprise]:
    """The cases, from harmless to hopeless."""
    days, peaks = month_days(*month), peak_days(inputs.calendar, *month)
    factor = inputs.forecast.peak_factor

    def peaks_times(times: float) -> list[float]:
        return [times if day in peaks else 1.0 for day in days]

    before = [day for day in days if day < peaks[0] and is_working_day(inputs.calendar, day)]
    noon = days.index(peaks[0]) * 86400.0 + 14 * 3600.0
    yield Surprise("as forecast", peaks_times(1.0))
    for times in (1.3, 1.6, 2.0, 3.0):
        yield Surprise(f"peak days {times:g}x the forecast", peaks_times(times))
    if before:
        yield Surprise("the peak begins a working day early", _one_more(days, before[-1], factor))
    yield Surprise("a peak day in the middle of the month", _one_more(days, _middle(inputs, days), factor))
    for minutes in (2, 10, 30):
        yield Surprise(
            f"no Spot at all for {minutes} min in the peak", peaks_times(1.0), Drought(noon, noon + minutes * 60)
        )


def _one_more(days: list[date], extra: date, factor: float) -> list[float]:
    return [factor if day == extra else 1.0 for day in days]


def _middle(inputs: Inputs, days: list[date]) -> date:
    working = [day for day in days if is_working_day(inputs.calendar, day)]
    return working[len(working) // 2]


def surprise_table(inputs: Inputs, month: Month) -> str:
    """Each case under reactive and under scheduled + reactive scaling."""
    body = []
    for case in surprises(inputs, month):
        found = compare(
            inputs, month, SEED, day_factors=case.day_factors, drought=case.drought, only=(REACTIVE, SCHEDULED)
        ).outcomes
        cells = [case.name]
        for name in (REACTIVE, SCHEDULED):
            outcome = found[name]
            cells += [
                percent(outcome.share_within(OBJECTIVE_SECONDS)),
                f"{outcome.percentile(99.9):,.0f}",
                f"{outcome.worst_backlog:,}",
            ]
        body.append(cells)
    head = ("what happens", f"{REACTIVE}", "p99.9 s", "backlog", f"{SCHEDULED}", "p99.9 s", "backlog")
    return grid(head, body)
