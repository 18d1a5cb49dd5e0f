"""The strategies that are compared, and the months they are compared on. Pure and deterministic by seed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta

from deploy.capacity.business_calendar import next_month
from deploy.capacity.inputs import Inputs
from deploy.capacity.planner import Month, course, floor_level, hourly_needs
from deploy.capacity.simulation import Drought, Outcome, Simulation, Strategy
from deploy.capacity.sizing import targets
from deploy.capacity.steps import level_at
from deploy.capacity.workload import Workload, month_workload

REACTIVE = "reactive only"
SCHEDULED = "scheduled + reactive"
ALWAYS_ON = "always on"
LEANEST = "always on, leanest"

# The service objective: share of the images that are READY within so many seconds.
OBJECTIVE_SECONDS = 30.0
OBJECTIVE_SHARE = 0.999


@dataclass(frozen=True)
class Comparison:
    """One month under every strategy, by name."""

    workload: Workload
    outcomes: dict[str, Outcome]


def strategies(inputs: Inputs, month: Month) -> tuple[Strategy, ...]:
    """Reactive only, scheduled and reactive, and always on at the level that the plan gives the month's peak."""
    worker = next(target for target in targets(inputs) if target.name == "image_svc")
    months = [_previous(month), month, next_month(*month)]
    floor = floor_level(inputs, worker, months)
    peak = max(level for levels in hourly_needs(inputs, worker, month).values() for level in levels)
    maximum = max(peak, round(peak * inputs.policy.sizing.max_over_peak))
    whole = course(inputs, worker, months, floor)
    begin, end = (datetime.combine(date(*m, 1), time()) for m in (month, next_month(*month)))
    changes = [((c.at - begin) / timedelta(seconds=1), c.level) for c in whole if begin < c.at < end]
    return (
        Strategy(REACTIVE, floor, maximum, reactive=True),
        Strategy(SCHEDULED, level_at(whole, floor, begin), maximum, reactive=True, minimums=changes),
        Strategy(ALWAYS_ON, peak, peak, reactive=False),
    )


def _previous(month: Month) -> Month:
    return (month[0] - 1, 12) if month[1] == 1 else (month[0], month[1] - 1)


def compare(
    inputs: Inputs,
    month: Month,
    seed: int,
    *,
    day_factors: Sequence[float] | None = None,
    drought: Drought | None = None,
    only: Sequence[str] = (REACTIVE, SCHEDULED, ALWAYS_ON),
) -> Comparison:
    """Simulates one month under the strategies named in `only`, all with the same images."""
    workload = month_workload(inputs, *month, seed, day_factors)
    outcomes = {
        strategy.name: Simulation(inputs.policy, workload, strategy, drought).run()
        for strategy in strategies(inputs, month)
        if strategy.name in only
    }
    return Comparison(workload, outcomes)


def meets_objective(outcome: Outcome) -> bool:
    """Whether enough of the images were READY in time."""
    return outcome.share_within(OBJECTIVE_SECONDS) >= OBJECTIVE_SHARE


def leanest_always_on(inputs: Inputs, workload: Workload, up_to: int) -> Outcome:
    """The smallest constant fleet that meets the objective in this very month, known only afterwards.

    Found by bisection: more tasks never serve an image later. Returns that of `up_to` tasks if none does.
    """
    low, high = 1, up_to
    best = Simulation(inputs.policy, workload, Strategy(LEANEST, high, high, reactive=False)).run()
    while low < high:
        middle = (low + high) // 2
        outcome = Simulation(inputs.policy, workload, Strategy(LEANEST, middle, middle, reactive=False)).run()
        if meets_objective(outcome):
            high, best = middle, outcome
        else:
            low = middle + 1
    return best
