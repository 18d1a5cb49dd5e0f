"""A month of images: when they are put, when their message arrives, how much CPU they cost. Deterministic by seed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from deploy.capacity.business_calendar import month_days
from deploy.capacity.forecast import Floats, month_rates
from deploy.capacity.inputs import Inputs, Measured


@dataclass(frozen=True)
class Workload:
    """Arrays of one entry per image, in order of arrival in the queue; seconds from the month's first midnight."""

    year: int
    month: int
    seed: int
    put: Floats
    arrival: Floats
    service: Floats
    forecast_rates: Floats  # images/s by minute, as planned
    actual_rates: Floats  # with the days' errors

    @property
    def seconds(self) -> float:
        """The month's length."""
        return len(self.forecast_rates) * 60.0


def arrivals(rates: Floats, random: np.random.Generator) -> Floats:
    """A Poisson process whose rate is constant within each minute: counts by minute, then places within it."""
    counts = random.poisson(rates * 60.0)
    minute = np.repeat(np.arange(len(rates)), counts)
    return np.sort(minute * 60.0 + random.random(len(minute)) * 60.0)


def services(measured: Measured, count: int, random: np.random.Generator) -> Floats:
    """CPU seconds (on one vCPU) of `count` images: the class by its share, log-normal around the class's mean."""
    means = np.array(measured.class_seconds)
    chosen = random.choice(len(means), size=count, p=np.array([c.share for c in measured.classes]))
    sigma = np.sqrt(np.log1p(measured.class_variation**2))
    spread: Floats = means[chosen] * np.exp(random.normal(-(sigma**2) / 2, sigma, size=count))
    return spread


def month_workload(
    inputs: Inputs, year: int, month: int, seed: int, day_factors: Sequence[float] | None = None
) -> Workload:
    """A month as it may come. `day_factors` multiply the days' volumes on top of the forecast's own error."""
    # One stream per purpose, so that a change in one leaves the others' draws as they were.
    for_days, for_arrivals, for_services, for_events = map(
        np.random.default_rng, np.random.SeedSequence([seed, year, month]).spawn(4)
    )
    days = len(month_days(year, month))
    sigma = inputs.forecast.day_error_sigma
    factors: Floats = np.exp(for_days.normal(-(sigma**2) / 2, sigma, size=days))
    if day_factors is not None:
        factors = factors * np.asarray(day_factors)
    planned = month_rates(inputs.calendar, inputs.forecast, year, month)
    actual = month_rates(inputs.calendar, inputs.forecast, year, month, factors)
    put = arrivals(actual, for_arrivals)
    delays = inputs.policy.delays
    delay = delays.event_median_seconds * np.exp(for_events.normal(0.0, delays.event_sigma, size=len(put)))
    arrival = put + delay
    order = np.argsort(arrival, kind="stable")
    return Workload(
        year=year,
        month=month,
        seed=seed,
        put=put[order],
        arrival=arrival[order],
        service=services(inputs.measured, len(put), for_services),
        forecast_rates=planned,
        actual_rates=actual,
    )
