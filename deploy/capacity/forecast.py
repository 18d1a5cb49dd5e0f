"""The forecast as a rate: images per second for every minute of a month. Pure.

A month's images are spread over its days by weight (ordinary working day 1, peak day `peak_factor`, day of rest
`rest_day_factor`), a day's over its hours by the shape, and between two hours the rate moves in a straight line
during the first `ramp_minutes` of the later one. Days are cut at local midnight; Korea has no daylight saving time, and
elsewhere a day of 23 or 25 hours is treated as one of 24.
"""

from __future__ import annotations

from datetime import date
from typing import Literal

import numpy as np
import numpy.typing as npt

from deploy.capacity.business_calendar import is_working_day, month_days, peak_days
from deploy.capacity.inputs import Calendar, Forecast

Floats = npt.NDArray[np.float64]
DayKind = Literal["working", "peak", "rest"]

MINUTES_A_DAY = 24 * 60


def day_kinds(calendar: Calendar, year: int, month: int) -> dict[date, DayKind]:
    """What kind of day each of a month's days is, in order."""
    peaks = set(peak_days(calendar, year, month))
    kinds: dict[date, DayKind] = {}
    for day in month_days(year, month):
        kinds[day] = "peak" if day in peaks else "working" if is_working_day(calendar, day) else "rest"
    return kinds


def day_volumes(calendar: Calendar, forecast: Forecast, year: int, month: int) -> dict[date, float]:
    """Images by day; they add up to `images_per_month`."""
    weight = {"working": 1.0, "peak": forecast.peak_factor, "rest": forecast.rest_day_factor}
    kinds = day_kinds(calendar, year, month)
    total = sum(weight[kind] for kind in kinds.values())
    return {day: forecast.images_per_month * weight[kind] / total for day, kind in kinds.items()}


def month_rates(
    calendar: Calendar, forecast: Forecast, year: int, month: int, day_factors: Floats | None = None
) -> Floats:
    """Images per second for each minute of the month; `day_factors`, one a day, multiply the days' volumes."""
    kinds = day_kinds(calendar, year, month)
    volumes = np.array(list(day_volumes(calendar, forecast, year, month).values()))
    if day_factors is not None:
        volumes = volumes * day_factors
    shapes = {"rest": _shares(forecast.rest_hours), "working": _shares(forecast.working_hours)}
    hours = np.concatenate(
        [
            volume * shapes["rest" if kind == "rest" else "working"]
            for volume, kind in zip(volumes, kinds.values(), strict=True)
        ]
    )
    return _ramped(hours / 3600.0, forecast.ramp_minutes)


def _shares(hours: tuple[float, ...]) -> Floats:
    weights: Floats = np.asarray(hours, dtype=np.float64)
    shares: Floats = weights / weights.sum()
    return shares


def _ramped(levels: Floats, ramp: int) -> Floats:
    """Hourly levels as minutes, the change of level spread over the hour's first `ramp` minutes, volumes kept.

    A straight ramp takes (new - old)/2 x ramp from the hour; the whole is scaled back to the month's sum at the end.
    """
    before = np.concatenate([levels[:1], levels[:-1]])
    share = np.minimum((np.arange(60) + 0.5) / ramp, 1.0)
    minutes = before[:, None] + (levels - before)[:, None] * share[None, :]
    total = minutes.sum()
    scaled: Floats = minutes.ravel() * (levels.sum() * 60 / total if total > 0 else 1.0)
    return scaled
