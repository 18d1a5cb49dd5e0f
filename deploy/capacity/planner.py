"""Makes the plan. Pure: inputs and a moment in, a `Plan` out.

Two layers. While the calendar knows the holidays, one-time `at(...)` actions raise and lower the minimum around each
month's peak days. From the first month that it does not know whole, recurring `cron(...)` actions take over by
themselves (they are in the plan from the beginning, with that day as their start): every month a window from before
any possible peak to the last day, at the peak's own level. The layers never act in the same month, so neither can
undo the other.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date, datetime, time, timedelta
from functools import lru_cache
from math import ceil
from zoneinfo import ZoneInfo

from deploy.capacity.business_calendar import (
    ONE_DAY,
    days_left,
    first_unknown_day,
    horizon_is_near,
    known_months,
    month_days,
    peak_days,
)
from deploy.capacity.forecast import Floats, month_rates
from deploy.capacity.inputs import Calendar, Forecast, Inputs
from deploy.capacity.plan import Action, Horizon, Plan, ServicePlan
from deploy.capacity.sizing import AURORA, Target, targets
from deploy.capacity.steps import Change, Span, changes, cheapest_cover, level_at

# Application Auto Scaling: scheduled actions per scalable target (Service Quotas L-95848B5F, not adjustable).
MAX_ACTIONS = 200
# One-time actions lie at least this far ahead: a deployment takes its time, and AWS takes none in the past.
DEPLOYMENT = timedelta(minutes=60)

Month = tuple[int, int]


class PlanError(Exception):
    """The inputs lead to a plan that breaks a rule of AWS or of ours; the text says which."""


def build(inputs: Inputs, as_of: datetime) -> Plan:
    """The plan as of a moment with a time zone. Raises `PlanError`."""
    if as_of.tzinfo is None:
        raise PlanError("as_of needs a time zone, e.g. 2026-12-01T09:00+09:00")
    calendar = inputs.calendar
    now = as_of.astimezone(ZoneInfo(calendar.time_zone)).replace(microsecond=0)
    months = known_months(calendar, now.date())
    services = tuple(_service_plan(inputs, target, months, now) for target in targets(inputs))
    plan = Plan(
        as_of=now,
        time_zone=calendar.time_zone,
        peak_days=tuple(day for month in months for day in peak_days(calendar, *month)),
        services=services,
        horizon=_horizon(inputs, now.date()),
    )
    verify(inputs, plan)
    return plan


def hourly_needs(inputs: Inputs, target: Target, month: Month) -> dict[date, list[int]]:
    """The level that each hour of a month's peak days needs, for the busiest minute in it."""
    hours = _hourly_rates(inputs.calendar, inputs.forecast, month)
    index = {day: i for i, day in enumerate(month_days(*month))}
    return {
        day: [target.need(float(rate)) for rate in hours[index[day] * 24 : index[day] * 24 + 24]]
        for day in peak_days(inputs.calendar, *month)
    }


def floor_level(inputs: Inputs, target: Target, months: list[Month]) -> int:
    """The minimum outside of peaks: what the busiest minute of an ordinary day needs, so that none needs a schedule."""
    level = target.need(0.0)
    for month in months:
        peaks = set(peak_days(inputs.calendar, *month))
        hours = _hourly_rates(inputs.calendar, inputs.forecast, month)
        for i, day in enumerate(month_days(*month)):
            if day not in peaks:
                level = max(level, target.need(float(hours[i * 24 : i * 24 + 24].max())))
    return level


def course(inputs: Inputs, target: Target, months: list[Month], floor: int) -> list[Change]:
    """Every change of the minimum from its floor around the months' peaks, with lead and lag; as few steps as AWS's
    limit asks for.
    """
    lead, lag = timedelta(minutes=target.lead_minutes), timedelta(minutes=inputs.policy.sizing.lag_minutes)
    for steps in range(inputs.policy.sizing.steps_per_day, 0, -1):
        found = changes(list(_spans(inputs, target, months, steps)), floor, lead, lag)
        if len(found) + _FALLBACK_ACTIONS < MAX_ACTIONS:
            return found
    raise PlanError(
        f"{target.name}: {len(found)} actions, AWS allows {MAX_ACTIONS}; bring the calendar's horizon nearer"
    )


def _spans(inputs: Inputs, target: Target, months: list[Month], steps_per_day: int) -> Iterator[Span]:
    for month in months:
        needs = hourly_needs(inputs, target, month)
        for run in _runs(list(needs)):
            start = datetime.combine(run[0], time())
            hours = [level for day in run for level in needs[day]]
            for first, after, level in cheapest_cover(hours, steps_per_day * len(run)):
                yield Span(start + timedelta(hours=first), start + timedelta(hours=after), level)


def _runs(days: list[date]) -> list[list[date]]:
    """Days in groups that follow each other without a gap."""
    runs: list[list[date]] = []
    for day in days:
        if runs and day - runs[-1][-1] == ONE_DAY:
            runs[-1].append(day)
        else:
            runs.append([day])
    return runs


@lru_cache(maxsize=64)
def _hourly_rates(calendar: Calendar, forecast: Forecast, month: Month) -> Floats:
    """Images per second in the busiest minute of each hour. Kept, because every service asks for every month."""
    hourly: Floats = month_rates(calendar, forecast, *month).reshape(-1, 60).max(axis=1)
    hourly.flags.writeable = False
    return hourly


_FALLBACK_ACTIONS = 3


def _service_plan(inputs: Inputs, target: Target, months: list[Month], now: datetime) -> ServicePlan:
    reference = _a_year(months, (now.year, now.month))
    floor = floor_level(inputs, target, reference)
    whole = course(inputs, target, months, floor)
    needs = [level for month in reference for day in hourly_needs(inputs, target, month).values() for level in day]
    peak = max([floor, *needs])
    maximum = ceil(peak * inputs.policy.sizing.max_over_peak)
    if target.ceiling is not None:
        maximum = target.ceiling
    unit = target.size_of_level

    def action(name: str, schedule: str, level: int, start: datetime | None = None) -> Action:
        return Action(
            name=name,
            schedule=schedule,
            time_zone=inputs.calendar.time_zone,
            minimum=level * unit,
            maximum=maximum * unit,
            start=start,
        )

    earliest = now.replace(tzinfo=None) + DEPLOYMENT
    ahead = [change for change in whole if change.at > earliest]
    levels = [level_at(whole, floor, now.replace(tzinfo=None))]
    levels += [change.level for change in whole if now.replace(tzinfo=None) < change.at <= earliest]
    initial, then = max(levels), levels[-1]
    if then != initial:  # a step down falls into the deployment: it comes right after
        ahead.insert(0, Change(earliest.replace(second=0) + timedelta(minutes=1), then))
    ahead = [change for i, change in enumerate(ahead) if i == 0 or change.at > ahead[i - 1].at]

    actions = [
        action(f"{target.name}-{change.at:%Y%m%dT%H%M}", f"at({change.at:%Y-%m-%dT%H:%M:%S})", change.level)
        for change in ahead
    ]
    zone = ZoneInfo(inputs.calendar.time_zone)
    begins: datetime | None = datetime.combine(first_unknown_day(inputs.calendar), time(), zone)
    if begins is not None and begins <= now:
        begins = None
    window = inputs.policy.fallback
    night = max([floor, *_closed_needs(inputs, target, reference)])
    days = f"{window.first_day}-31"
    for name, schedule, level in (
        ("opens", f"cron({_clock(window.opens)} {days} * ? *)", peak),
        ("night", f"cron({_clock(window.closes)} {days} * ? *)", night),
        ("ends", "cron(55 23 L * ? *)", floor),
    ):
        actions.append(action(f"{target.name}-fallback-{name}", schedule, level, begins))
    return ServicePlan(
        service=target.name,
        unit=target.unit,
        mechanism="eventbridge-scheduler" if target.name == AURORA else "application-autoscaling",
        floor=floor * unit,
        initial=initial * unit,
        peak=peak * unit,
        maximum=maximum * unit,
        actions=tuple(actions),
    )


def _a_year(known: list[Month], present: Month) -> list[Month]:
    """The known months, at least twelve: a calendar that has run out still says what peaks look like, holidays unknown,
    and the fewer days a month has to work in, the higher are they.
    """
    months = list(known) or [present]
    while len(months) < 12:
        year, month = months[-1]
        months.append((year, month + 1) if month < 12 else (year + 1, 1))
    return months


def _clock(moment: time) -> str:
    return f"{moment.minute} {moment.hour}"


def _closed_needs(inputs: Inputs, target: Target, months: list[Month]) -> Iterator[int]:
    """What peak days need in the hours in which the fallback's window is closed."""
    window = inputs.policy.fallback
    for month in months:
        for levels in hourly_needs(inputs, target, month).values():
            for hour, level in enumerate(levels):
                if hour * 60 < window.opens.hour * 60 + window.opens.minute or hour >= window.closes.hour:
                    yield level


def _horizon(inputs: Inputs, today: date) -> Horizon:
    calendar = inputs.calendar
    begins = datetime.combine(first_unknown_day(calendar), time(), ZoneInfo(calendar.time_zone))
    return Horizon(
        fallback_from=begins.date(),
        days_left=days_left(calendar, today),
        alarm_days=calendar.horizon_alarm_days,
        due=horizon_is_near(calendar, today),
        expression=f"({int(begins.timestamp())} - EPOCH(m1)) / 86400",
    )


def verify(inputs: Inputs, plan: Plan) -> None:
    """The rules that a plan must keep whatever the inputs; `PlanError` names the one that is broken."""
    covered: Mapping[str, Target] = {target.name: target for target in targets(inputs)}
    for service in plan.services:
        where = service.service
        if not service.floor <= service.initial <= service.peak <= service.maximum:
            raise PlanError(f"{where}: floor <= initial <= peak <= maximum is broken: {service}")
        if len(service.actions) > MAX_ACTIONS:
            raise PlanError(f"{where}: {len(service.actions)} actions, AWS allows {MAX_ACTIONS}")
        one_time = [a.schedule for a in service.actions if a.schedule.startswith("at(")]
        if one_time != sorted(set(one_time)):
            raise PlanError(f"{where}: one-time actions out of order")
        if sum(a.schedule.startswith("cron(") for a in service.actions) != _FALLBACK_ACTIONS:
            raise PlanError(f"{where}: the recurring fallback is missing")
        for action in service.actions:
            if not service.floor <= action.minimum <= action.maximum == service.maximum:
                raise PlanError(f"{where}: {action.name}: floor <= minimum <= maximum is broken")
        if covered[where].unit != service.unit:
            raise PlanError(f"{where}: unit {service.unit}")
    early = [day for day in plan.peak_days if day.day < inputs.policy.fallback.first_day]
    if early:
        raise PlanError(f"the fallback opens on day {inputs.policy.fallback.first_day}, but a peak began on {early[0]}")
