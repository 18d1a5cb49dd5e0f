"""Working days, peak days and the horizon, at the edges of the calendar."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.capacity.business_calendar import (
    days_left,
    first_unknown_day,
    horizon_is_near,
    is_working_day,
    known_months,
    month_days,
    next_month,
    peak_days,
)
from deploy.capacity.inputs import Calendar, Holiday, load

CALENDAR = load().calendar


def with_holidays(*days: str, horizon: str = "2040-12-31", peak_working_days: int = 3) -> Calendar:
    holidays = tuple(Holiday(date=date.fromisoformat(day), name=day, basis="law") for day in days)
    return CALENDAR.model_copy(
        update={
            "holidays": holidays,
            "horizon": date.fromisoformat(horizon),
            "peak_working_days": peak_working_days,
        }
    )


def days(*texts: str) -> list[date]:
    return [date.fromisoformat(text) for text in texts]


def test_the_last_working_days_step_over_a_weekend_at_the_months_end() -> None:
    assert peak_days(CALENDAR, 2027, 1) == days("2027-01-27", "2027-01-28", "2027-01-29")  # the 31st is a Sunday


def test_december_ends_the_year_and_its_substitute_holiday_is_no_working_day() -> None:
    assert peak_days(CALENDAR, 2027, 12) == days("2027-12-29", "2027-12-30", "2027-12-31")
    assert not is_working_day(CALENDAR, date(2027, 12, 27))
    assert next_month(2027, 12) == (2028, 1)


def test_seollal_at_the_end_of_january_moves_the_peak_before_the_holidays() -> None:
    assert peak_days(CALENDAR, 2028, 1) == days("2028-01-24", "2028-01-25", "2028-01-31")


def test_chuseok_at_the_end_of_september_moves_the_peak_before_the_holidays() -> None:
    calendar = with_holidays("2023-09-28", "2023-09-29", "2023-09-30")  # as it was in 2023: Thursday to Saturday
    assert peak_days(calendar, 2023, 9) == days("2023-09-25", "2023-09-26", "2023-09-27")


def test_february_ends_on_the_29th_in_a_leap_year() -> None:
    assert peak_days(CALENDAR, 2028, 2) == days("2028-02-25", "2028-02-28", "2028-02-29")
    assert peak_days(CALENDAR, 2027, 2) == days("2027-02-24", "2027-02-25", "2027-02-26")
    assert len(month_days(2028, 2)) == 29


def test_a_month_with_fewer_working_days_than_asked_for_gives_those_it_has() -> None:
    holidays = [day.isoformat() for day in month_days(2027, 3) if day.day > 2]
    assert peak_days(with_holidays(*holidays), 2027, 3) == days("2027-03-01", "2027-03-02")


def test_the_substitute_holidays_are_on_working_weekdays_and_near_their_holiday() -> None:
    by_law = [h.date for h in CALENDAR.holidays if h.basis == "law"]
    for holiday in CALENDAR.holidays:
        if holiday.basis == "substitute":
            assert holiday.date.weekday() < 5
            assert any(timedelta(0) < holiday.date - day <= timedelta(days=4) for day in by_law)


def test_every_year_of_the_calendar_has_the_holidays_with_fixed_dates() -> None:
    known = {h.date for h in CALENDAR.holidays}
    for month, day in [(1, 1), (3, 1), (5, 5), (6, 6), (7, 17), (8, 15), (10, 3), (10, 9), (12, 25)]:
        assert date(2027, month, day) in known
    assert date(2026, 12, 25) in known


def test_the_calendar_reaches_fifteen_months_ahead_of_its_making() -> None:
    assert len(known_months(CALENDAR, date(2026, 12, 1))) >= 15


def test_a_month_that_the_horizon_cuts_is_left_to_the_fallback() -> None:
    calendar = with_holidays(horizon="2027-05-30")
    assert known_months(calendar, date(2027, 3, 15)) == [(2027, 3), (2027, 4)]
    assert first_unknown_day(calendar) == date(2027, 5, 1)
    assert first_unknown_day(with_holidays(horizon="2027-05-31")) == date(2027, 6, 1)


def test_the_horizon_alarm_goes_on_when_fewer_than_sixty_days_are_left() -> None:
    assert first_unknown_day(CALENDAR) == date(2028, 3, 1)
    assert days_left(CALENDAR, date(2028, 1, 1)) == 60
    assert not horizon_is_near(CALENDAR, date(2028, 1, 1))
    assert horizon_is_near(CALENDAR, date(2028, 1, 2))
    assert horizon_is_near(CALENDAR, date(2030, 1, 1))
    assert known_months(CALENDAR, date(2028, 3, 1)) == []


@given(
    year=st.integers(2020, 2040),
    month=st.integers(1, 12),
    off=st.sets(st.integers(1, 28), max_size=12),
    count=st.integers(1, 10),
)
def test_peak_days_are_the_last_working_ones_in_order(year: int, month: int, off: set[int], count: int) -> None:
    holidays = [date(year, month, day).isoformat() for day in sorted(off)]
    calendar = with_holidays(*holidays, peak_working_days=count)
    found = peak_days(calendar, year, month)
    assert found == sorted(set(found))
    assert all(is_working_day(calendar, day) for day in found)
    assert len(found) <= count
    later = [day for day in month_days(year, month) if day not in found and day > found[0]] if found else []
    assert not any(is_working_day(calendar, day) for day in later)


@pytest.mark.parametrize(
    ("month", "latest"),
    [(1, 31), (2, 20), (9, 30), (10, 8)],  # Seollal is between January 20 and February 21, Chuseok from September 7 on
)
def test_the_fallback_opens_before_any_peak_that_seollal_or_chuseok_can_cause(month: int, latest: int) -> None:
    first_day = load().policy.fallback.first_day
    for year in range(2026, 2051):
        for first in range(15, latest + 1):
            run = [date(year, month, 1) + timedelta(days=first - 1 + i) for i in range(3)]
            if any(day.weekday() == 6 for day in run):  # a Sunday among them gives a substitute on the day after
                run.append(run[-1] + timedelta(days=1))
            calendar = with_holidays(*[day.isoformat() for day in run if day.month == month])
            assert peak_days(calendar, year, month)[0].day >= first_day
