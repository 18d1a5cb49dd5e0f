"""The figure of `docs/scaling.md`, as SVG written by hand: three panels, no library. Pure: results in, text out.

Top: the month, what comes in against what the workers can do. Middle: the same in the peak. Below: time to READY.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from math import log10

import numpy as np

from deploy.capacity.business_calendar import month_days, peak_days
from deploy.capacity.compare import ALWAYS_ON, OBJECTIVE_SECONDS, REACTIVE, SCHEDULED, Comparison
from deploy.capacity.forecast import Floats
from deploy.capacity.inputs import Inputs
from deploy.capacity.simulation import Outcome

WIDTH, LEFT, RIGHT = 1120, 74, 24
INK, QUIET, LINES, PAPER = "#1f2933", "#52606d", "#e4e7eb", "#ffffff"
COLOURS = {REACTIVE: "#d9480f", SCHEDULED: "#0b7285", ALWAYS_ON: "#868e96"}
DASHES = {REACTIVE: "", SCHEDULED: "", ALWAYS_ON: "6 4"}
ORDER = (ALWAYS_ON, REACTIVE, SCHEDULED)  # the last is drawn on top
FONT = "font-family=\"system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif\""
MINUTES_A_DAY = 1440
SLOWEST = 300  # seconds, the lower panel's upper edge
WINDOW = 5  # minutes to a point in the lower panel


@dataclass(frozen=True)
class Panel:
    """A plotting area: minutes of the month from left to right, a value from below to above."""

    top: float
    height: float
    first: float
    last: float
    low: float
    high: float
    logarithmic: bool = False

    def x(self, minute: float) -> float:
        """Pixels from the left."""
        return LEFT + (minute - self.first) / (self.last - self.first) * (WIDTH - LEFT - RIGHT)

    def y(self, value: float) -> float:
        """Pixels from above; values beyond the range are drawn at its edge."""
        bounded = min(max(value, self.low), self.high)
        if self.logarithmic:
            share = (log10(bounded) - log10(self.low)) / (log10(self.high) - log10(self.low))
        else:
            share = (bounded - self.low) / (self.high - self.low)
        return self.top + self.height * (1 - share)


def draw(inputs: Inputs, comparison: Comparison) -> str:
    """The whole figure for one simulated month with the three strategies."""
    workload = comparison.workload
    days = month_days(workload.year, workload.month)
    peaks = [day.day - 1 for day in peak_days(inputs.calendar, workload.year, workload.month)]
    minutes = len(days) * MINUTES_A_DAY
    capacity = {
        name: outcome.tasks * inputs.policy.image_svc.vcpu * inputs.measured.rate_per_vcpu
        for name, outcome in comparison.outcomes.items()
    }
    ceiling = max(float(c.max()) for c in capacity.values()) * 1.08
    # A peak may be interrupted by days of rest: zoom on its last stretch.
    first_peak = peaks[-1]
    while first_peak - 1 in peaks:
        first_peak -= 1
    begin, end = first_peak * MINUTES_A_DAY + 6 * 60, (peaks[-1] + 1) * MINUTES_A_DAY
    month = Panel(112, 190, 0, minutes, 0, ceiling)
    peak = Panel(372, 210, begin, end, 0, ceiling)
    wait = Panel(652, 190, begin, end, 1, SLOWEST, logarithmic=True)
    parts = [
        *_title(inputs, comparison),
        *_heading(month, "The month: images per second that come in, and that the workers can do"),
        *_days(month, days[0].strftime("%b"), range(len(days)), every=1),
        *_grid(month, _nice(ceiling), "images/s"),
        *_load(month, workload.actual_rates, 30),
        *_lines(month, capacity, 10, steps=True),
        *_heading(peak, "The peak, closer"),
        *_days(peak, days[0].strftime("%b"), range(first_peak, peaks[-1] + 1), every=1, hours=True),
        *_grid(peak, _nice(ceiling), "images/s"),
        *_load(peak, workload.actual_rates, 5),
        *_lines(peak, capacity, 1, steps=True),
        *_heading(wait, f"Time to READY: the slowest of 100 images, every {WINDOW} minutes (seconds, logarithmic)"),
        *_days(wait, days[0].strftime("%b"), range(first_peak, peaks[-1] + 1), every=1, hours=True),
        *_grid(wait, (1, 3, 10, 30, 100, SLOWEST), "seconds"),
        *_objective(wait),
        *_lines(wait, {n: slow(o, minutes) for n, o in comparison.outcomes.items()}, WINDOW, steps=False),
    ]
    height = 900
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
        f'role="img" aria-label="Capacity and time to ready through a month under three strategies" {FONT}>\n'
        f'<rect width="{WIDTH}" height="{height}" fill="{PAPER}"/>\n' + "\n".join(parts) + "\n</svg>\n"
    )


def slow(outcome: Outcome, minutes: int) -> Floats:
    """The 99th percentile of the time to READY for the images put in each window; NaN where none was."""
    window = (outcome.workload.put // (60 * WINDOW)).astype(np.int64)
    order = np.lexsort((outcome.ready, window))
    counts = np.bincount(window, minlength=minutes // WINDOW)[: minutes // WINDOW]
    ends = np.cumsum(counts)
    ready = outcome.ready[order]
    index = np.maximum(ends - 1 - counts // 100, 0)
    values: Floats = np.where(counts > 0, ready[np.minimum(index, len(ready) - 1)], np.nan)
    return values


def _title(inputs: Inputs, comparison: Comparison) -> list[str]:
    workload = comparison.workload
    volume = f"{len(workload.put):,} images, seed {workload.seed}"
    factor = inputs.forecast.peak_factor
    parts = [
        _text(LEFT, 36, f"Month-end, simulated: {workload.year}-{workload.month:02d}", size=21, weight=650),
        _text(LEFT, 59, f"{volume}; the last {inputs.calendar.peak_working_days} working days at {factor:g}x", QUIET),
    ]
    x = 560.0
    for name in (SCHEDULED, REACTIVE, ALWAYS_ON):
        parts.append(_stroke(f"M{x} 31h26", name))
        parts.append(_text(x + 32, 36, name, size=14))
        x += 62 + 7.6 * len(name)
    parts.append('<rect x="560" y="49" width="26" height="12" fill="#ffd8a8"/>')
    parts.append(_text(592, 59, "what comes in", QUIET))
    return parts


def _heading(panel: Panel, text: str) -> list[str]:
    return [_text(LEFT, panel.top - 14, text, size=14, weight=600)]


def _days(panel: Panel, month: str, days: Sequence[int], *, every: int, hours: bool = False) -> list[str]:
    parts = []
    bottom = panel.top + panel.height
    for day in days:
        start = day * MINUTES_A_DAY
        if hours:
            for hour in (0, 6, 12, 18):
                if panel.first <= start + hour * 60 <= panel.last:
                    x = panel.x(start + hour * 60)
                    label = f"{month} {day + 1}" if hour == 0 else f"{hour:02d}:00"
                    parts.append(f'<path d="M{x:.1f} {panel.top}V{bottom}" stroke="{LINES}"/>')
                    if hour or panel.first <= start:
                        parts.append(_text(x, bottom + 18, label, QUIET, size=12, anchor="middle"))
        elif day % every == 0:
            parts.append(f'<path d="M{panel.x(start):.1f} {panel.top}V{bottom}" stroke="{LINES}"/>')
            middle = panel.x(start + MINUTES_A_DAY / 2)
            parts.append(_text(middle, bottom + 18, f"{day + 1}", QUIET, size=12, anchor="middle"))
    if hours:
        first = days[0]
        x = panel.x(panel.first)
        parts.append(_text(x, bottom + 34, f"{month} {first + 1}", INK, size=12, anchor="middle", weight=600))
    return parts


def _grid(panel: Panel, values: Sequence[float], unit: str) -> list[str]:
    parts = []
    for value in values:
        y = panel.y(value)
        parts.append(f'<path d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}" stroke="{LINES}"/>')
        parts.append(_text(LEFT - 8, y + 4, f"{value:g}", QUIET, size=12, anchor="end"))
    middle = panel.top + panel.height / 2
    parts.append(
        f'<text transform="translate(22 {middle}) rotate(-90)" text-anchor="middle" font-size="12" fill="{QUIET}">'
        f"{escape(unit)}</text>"
    )
    return parts


def _load(panel: Panel, rates: Floats, every: int) -> list[str]:
    """The actual rate as an area."""
    first, last = int(panel.first), int(panel.last)
    means = rates[first:last].reshape(-1, every).mean(axis=1)
    points = [f"{panel.x(first + (i + 0.5) * every):.1f} {panel.y(v):.1f}" for i, v in enumerate(means)]
    base = panel.top + panel.height
    path = f"M{panel.x(first):.1f} {base}L{'L'.join(points)}L{panel.x(last):.1f} {base}Z"
    return [f'<path d="{path}" fill="#ffd8a8"/>']


def _lines(panel: Panel, series: dict[str, Floats], every: int, *, steps: bool) -> list[str]:
    """One line a strategy. As steps the values are by minute and thinned to changes; else one per `every` minutes."""
    parts = []
    for name in ORDER:
        values = series[name]
        commands: list[str] = []
        previous = float("nan")
        for i, value in enumerate(values):
            minute = float(i) if steps else (i + 0.5) * every
            if not panel.first <= minute <= panel.last:
                continue
            if np.isnan(value):
                previous = float("nan")
            elif np.isnan(previous):
                commands.append(f"M{panel.x(minute):.1f} {panel.y(value):.1f}")
                previous = value
            elif not steps:
                commands.append(f"L{panel.x(minute):.1f} {panel.y(value):.1f}")
                previous = value
            elif value != previous:
                commands.append(f"H{panel.x(minute):.1f}V{panel.y(value):.1f}")
                previous = value
        if steps:
            commands.append(f"H{panel.x(panel.last):.1f}")
        parts.append(_stroke("".join(commands), name))
    return parts


def _objective(panel: Panel) -> list[str]:
    y = panel.y(OBJECTIVE_SECONDS)
    return [
        f'<path d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}" stroke="{INK}" stroke-width="1.2" stroke-dasharray="2 3"/>',
        _text(panel.x(panel.first + 13 * 60), y - 6, "objective: 99.9 % within 30 s", size=12),
    ]


def _nice(ceiling: float) -> list[float]:
    step = 10 ** int(log10(ceiling))
    while ceiling / step < 4:
        step /= 2
    return [step * i for i in range(int(ceiling / step) + 1)]


def _stroke(path: str, name: str) -> str:
    dash = f' stroke-dasharray="{DASHES[name]}"' if DASHES[name] else ""
    return f'<path d="{path}" fill="none" stroke="{COLOURS[name]}" stroke-width="2" stroke-linejoin="round"{dash}/>'


def _text(
    x: float, y: float, text: str, colour: str = INK, *, size: int = 13, anchor: str = "start", weight: int = 400
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" fill="{colour}" text-anchor="{anchor}" '
        f'font-weight="{weight}">{escape(text)}</text>'
    )
