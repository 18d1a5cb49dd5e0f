"""Working days, peak days and the calendar's horizon. Pure: dates in, dates out."""

from __future__ import annotations

from datetime import date, timedelta

from deploy.capacity.inputs import Calendar

ONE_DAY = timedelta(days=1)


def month_days(year: int, month: int) -> list[date]:
    """Every day of a month, in order."""
    day = date(year, month, 1)
    days = []
    while day.month == month:
        days.append(day)
        day += ONE_DAY
    return days


def next_month(year: int, month: int) -> tuple[int, int]:
    """The month after a month."""
    return (year + 1, 1) if month == 12 else (year, month + 1)


def is_working_day(calendar: Calendar, day: date) -> bool:
    """Neither a weekday of rest nor a holiday."""
    return day.weekday() not in calendar.rest_weekdays and all(h.date != day for h in calendar.holidays)


def peak_days(calendar: Calendar, year: int, month: int) -> list[date]:
    """The month's last working days, in order; fewer when the month has no more."""
    working = [day for day in month_days(year, month) if is_working_day(calendar, day)]
    return working[-calendar.peak_working_days :]


def last_month(calendar: Calendar) -> tuple[int, int]:
    """The last month that the calendar knows whole."""
    after = calendar.horizon + ONE_DAY
    if after.day == 1:
        return calendar.horizon.year, calendar.horizon.month
    first = calendar.horizon.replace(day=1) - ONE_DAY
    return first.year, first.month


def known_months(calendar: Calendar, as_of: date) -> list[tuple[int, int]]:
    """The months from that of `as_of` to the last one known whole; none when the calendar has run out."""
    month, last = (as_of.year, as_of.month), last_month(calendar)
    months = []
    while month <= last:
        months.append(month)
        month = next_month(*month)
    return months


def first_unknown_day(calendar: Calendar) -> date:
    """The day from which the fallback serves: the first of the month after the last one known whole."""
    year, month = next_month(*last_month(calendar))
    return date(year, month, 1)


def days_left(calendar: Calendar, as_of: date) -> int:
    """Days until the fallback takes over; negative once it has."""
    return (first_unknown_day(calendar) - as_of).days


def horizon_is_near(calendar: Calendar, as_of: date) -> bool:
    """Whether the calendar must be renewed now."""
    return days_left(calendar, as_of) < calendar.horizon_alarm_days
