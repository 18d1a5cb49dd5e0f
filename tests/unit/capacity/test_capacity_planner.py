"""The plan as AWS would run it: replayed action by action, by an interpreter that knows nothing of the planner."""

from __future__ import annotations

import re
from calendar import monthrange
from datetime import date, datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deploy.capacity.business_calendar import month_days, peak_days
from deploy.capacity.forecast import month_rates
from deploy.capacity.inputs import Inputs, load
from deploy.capacity.plan import Plan, ServicePlan
from deploy.capacity.planner import MAX_ACTIONS, PlanError, build, verify
from deploy.capacity.sizing import SERVICES, targets, tasks_for

SEOUL = ZoneInfo("Asia/Seoul")
BEFORE = datetime(2026, 11, 24, 9, 0, tzinfo=SEOUL)
INPUTS = load()


@cache
def default_plan(as_of: datetime = BEFORE) -> Plan:
    return build(INPUTS, as_of)


def volume(images: int, peak_factor: float = 10.0) -> Inputs:
    forecast = INPUTS.forecast.model_copy(update={"images_per_month": images, "peak_factor": peak_factor})
    return INPUTS.model_copy(update={"forecast": forecast})


def firings(service: ServicePlan, begin: datetime, end: datetime) -> list[tuple[datetime, float]]:
    """Every moment at which AWS would set a minimum between two moments, with the minimum."""
    found = []
    for action in service.actions:
        once = re.fullmatch(r"at\((.+)\)", action.schedule)
        again = re.fullmatch(r"cron\((\d+) (\d+) (\S+) \* \? \*\)", action.schedule)
        if once:
            found.append((datetime.fromisoformat(once[1]).replace(tzinfo=SEOUL), action.minimum))
            continue
        assert again, f"an expression that AWS may not know: {action.schedule}"
        day = begin.date()
        while day <= end.date():
            last = monthrange(day.year, day.month)[1]
            first, _, to = again[3].partition("-")
            if day.day == last if again[3] == "L" else int(first) <= day.day <= int(to):
                at = datetime(day.year, day.month, day.day, int(again[2]), int(again[1]), tzinfo=SEOUL)
                if action.start is None or at >= action.start:
                    found.append((at, action.minimum))
            day += timedelta(days=1)
    return sorted((at, minimum) for at, minimum in found if begin < at <= end)


def minimum_at(service: ServicePlan, deployed: datetime, moment: datetime) -> float:
    fired = firings(service, deployed, moment)
    return fired[-1][1] if fired else service.initial


def busiest_hours(inputs: Inputs, month: tuple[int, int]) -> dict[datetime, float]:
    rates = month_rates(inputs.calendar, inputs.forecast, *month).reshape(-1, 60).max(axis=1)
    begin = datetime(*month, 1, tzinfo=SEOUL)
    return {begin + timedelta(hours=hour): float(rate) for hour, rate in enumerate(rates)}


def assert_covered(inputs: Inputs, plan: Plan, months: list[tuple[int, int]]) -> None:
    """In every hour of the months each service's minimum carries that hour's busiest minute."""
    for target in targets(inputs):
        service = plan.service(target.name)
        end = datetime(*months[-1], monthrange(*months[-1])[1], 23, 59, tzinfo=SEOUL)
        fired = firings(service, plan.as_of, end)
        for month in months:
            for hour, rate in busiest_hours(inputs, month).items():
                if hour < plan.as_of:
                    continue
                last = [minimum for at, minimum in fired if at <= hour]
                minimum = last[-1] if last else service.initial
                assert minimum >= target.need(rate) * target.size_of_level, (target.name, hour)


def test_every_hour_of_the_calendar_is_covered_when_the_actions_are_replayed() -> None:
    months = [(2026, 12), (2027, 2), (2027, 9), (2027, 12), (2028, 1), (2028, 2)]
    assert_covered(INPUTS, default_plan(), months)
    assert_covered(volume(60_000_000), build(volume(60_000_000), BEFORE), months)


def test_a_step_up_fires_before_its_hour_by_the_lead_time() -> None:
    service = default_plan().service("image_svc")
    lead = INPUTS.policy.sizing.lead_minutes
    needs = {t.name: t for t in targets(INPUTS)}["image_svc"]
    nine = datetime(2026, 12, 29, 9, tzinfo=SEOUL)
    assert minimum_at(service, BEFORE, nine - timedelta(minutes=lead)) >= needs.need(
        busiest_hours(INPUTS, (2026, 12))[nine]
    )


def test_outside_of_peaks_the_minimum_is_the_floor() -> None:
    for service in default_plan().services:
        for day in (date(2026, 12, 15), date(2027, 1, 20), date(2027, 9, 15)):
            noon = datetime(day.year, day.month, day.day, 12, tzinfo=SEOUL)
            assert minimum_at(service, BEFORE, noon) == service.floor


def test_the_recurring_fallback_is_always_there_and_ends_on_the_last_day() -> None:
    for as_of in (BEFORE, datetime(2028, 2, 1, tzinfo=SEOUL), datetime(2029, 7, 1, tzinfo=SEOUL)):
        for service in default_plan(as_of).services:
            recurring = [a.schedule for a in service.actions if a.schedule.startswith("cron(")]
            assert recurring == ["cron(30 7 20-31 * ? *)", "cron(30 23 20-31 * ? *)", "cron(55 23 L * ? *)"]
            assert all(a.time_zone == "Asia/Seoul" for a in service.actions)


def test_the_fallback_sleeps_while_the_calendar_lasts_and_wakes_the_day_after() -> None:
    plan = default_plan()
    wakes = datetime(2028, 3, 1, tzinfo=SEOUL)
    for service in plan.services:
        assert all(a.start == wakes for a in service.actions if a.schedule.startswith("cron("))
        # The peak's last step down may lie minutes after midnight; no other one-time action is in the fallback's time.
        late = [a for a in service.actions if a.schedule.startswith("at(2028-03") and a.minimum > service.floor]
        assert not late


@pytest.mark.parametrize("month", [(2028, 3), (2028, 4), (2028, 12), (2029, 2), (2030, 9)])
def test_when_the_calendar_has_run_out_the_fallback_alone_carries_every_possible_peak_day(
    month: tuple[int, int],
) -> None:
    for plan in (default_plan(), default_plan(datetime(*month, 1, tzinfo=SEOUL))):
        for service in plan.services:
            for day in month_days(*month):
                if day.day >= 20:
                    at_nine = datetime(day.year, day.month, day.day, 9, tzinfo=SEOUL)
                    assert minimum_at(service, plan.as_of, at_nine) == service.peak
            after = datetime(*month, monthrange(*month)[1], 23, 59, tzinfo=SEOUL)
            assert minimum_at(service, plan.as_of, after) == service.floor


def test_when_the_calendar_has_run_out_a_real_month_is_still_covered() -> None:
    assert_covered(INPUTS, build(INPUTS, datetime(2029, 1, 10, tzinfo=SEOUL)), [(2029, 2)])


def test_a_deployment_within_a_peak_keeps_the_peaks_minimum() -> None:
    for service in default_plan(datetime(2026, 12, 30, 14, 0, tzinfo=SEOUL)).services:
        earlier = default_plan().service(service.service)
        assert service.initial == minimum_at(earlier, BEFORE, datetime(2026, 12, 30, 14, 0, tzinfo=SEOUL))
    assert default_plan(datetime(2026, 12, 30, 14, 0, tzinfo=SEOUL)).service("image_svc").initial > 2


def test_a_step_down_that_falls_into_the_deployment_comes_right_after_it() -> None:
    ends = [at for at, m in firings(default_plan().service("image_svc"), BEFORE, BEFORE + timedelta(days=60)) if m == 2]
    as_of = ends[1] - timedelta(minutes=20)
    service = default_plan(as_of).service("image_svc")
    assert service.initial > service.floor
    assert minimum_at(service, as_of, as_of + timedelta(minutes=61)) == service.floor


@pytest.mark.parametrize("minute", range(0, 24 * 60, 97))
def test_one_time_actions_always_lie_ahead_of_the_deployment(minute: int) -> None:
    as_of = datetime(2026, 12, 30, tzinfo=SEOUL) + timedelta(minutes=minute)
    service = default_plan(as_of).service("image_svc")
    assert all(at > as_of + timedelta(minutes=59) for at, _ in firings(service, BEFORE, as_of + timedelta(days=40)))


def test_actions_stay_within_the_quota_by_taking_fewer_steps() -> None:
    sizing = INPUTS.policy.sizing.model_copy(update={"steps_per_day": 24})
    inputs = volume(100_000_000).model_copy(update={"policy": INPUTS.policy.model_copy(update={"sizing": sizing})})
    plan = build(inputs, BEFORE)
    assert all(len(service.actions) <= MAX_ACTIONS for service in plan.services)
    assert_covered(inputs, plan, [(2026, 12)])


def test_a_calendar_too_long_for_the_quota_is_refused_with_the_reason() -> None:
    calendar = INPUTS.calendar.model_copy(update={"horizon": date(2040, 12, 31)})
    with pytest.raises(PlanError, match="AWS allows 200"):
        build(INPUTS.model_copy(update={"calendar": calendar}), BEFORE)


def test_a_fallback_that_opens_too_late_for_a_known_peak_is_refused() -> None:
    fallback = INPUTS.policy.fallback.model_copy(update={"first_day": 25})
    policy = INPUTS.policy.model_copy(update={"fallback": fallback})
    with pytest.raises(PlanError, match="the fallback opens on day 25"):
        build(INPUTS.model_copy(update={"policy": policy}), BEFORE)


def test_the_same_inputs_give_the_same_bytes_and_they_read_back() -> None:
    one, two = build(load(), BEFORE), build(load(), BEFORE)
    assert one.model_dump_json() == two.model_dump_json()
    assert Plan.model_validate_json(one.model_dump_json()).model_dump_json() == one.model_dump_json()


def test_a_moment_without_a_time_zone_is_refused() -> None:
    with pytest.raises(PlanError, match="time zone"):
        build(INPUTS, BEFORE.replace(tzinfo=None))


def test_the_same_moment_in_another_time_zone_is_the_same_plan() -> None:
    elsewhere = BEFORE.astimezone(ZoneInfo("America/New_York"))
    assert build(INPUTS, elsewhere).model_dump_json() == default_plan().model_dump_json()


def test_the_horizon_alarm_computes_the_days_left_from_a_metrics_time_stamps() -> None:
    horizon = default_plan().horizon
    assert not horizon.due
    found = re.fullmatch(r"\((\d+) - EPOCH\(m1\)\) / 86400", horizon.expression)
    assert found
    midnight = datetime(2026, 11, 24, tzinfo=SEOUL).timestamp()
    assert (int(found[1]) - midnight) / 86400 == horizon.days_left == 463
    assert default_plan(datetime(2028, 1, 2, tzinfo=SEOUL)).horizon.due
    assert default_plan(datetime(2029, 7, 1, tzinfo=SEOUL)).horizon.days_left < 0


def test_aurora_is_planned_in_half_acus_and_by_eventbridge() -> None:
    aurora = build(volume(30_000_000), BEFORE).service("aurora")
    assert aurora.mechanism == "eventbridge-scheduler"
    assert aurora.unit == "acu"
    assert aurora.peak > aurora.floor
    assert all((a.minimum * 2).is_integer() and a.maximum == 16 for a in aurora.actions)


def test_every_service_is_planned_for_itself() -> None:
    plan = build(volume(100_000_000), BEFORE)
    assert {s.service for s in plan.services} == {*SERVICES, "aurora"}
    assert len({plan.service(name).peak for name in SERVICES}) > 1


@settings(max_examples=12, deadline=None)
@given(
    images=st.integers(1, 200_000_000),
    factor=st.floats(1, 40),
    day=st.dates(date(2026, 11, 1), date(2028, 6, 30)),
    hour=st.integers(0, 23),
)
def test_whatever_the_forecast_and_the_day_of_deployment_the_plan_covers_its_first_months(
    images: int, factor: float, day: date, hour: int
) -> None:
    inputs = volume(images, factor)
    plan = build(inputs, datetime(day.year, day.month, day.day, hour, 30, tzinfo=SEOUL))
    verify(inputs, plan)
    following = (day.year, day.month + 1) if day.month < 12 else (day.year + 1, 1)
    assert_covered(inputs, plan, [following])


def test_where_no_month_is_known_the_shortest_of_the_next_ones_is_covered() -> None:
    inputs = volume(1_623_456, 3.0)  # of which March, with more days to work in, needs a task less than April
    plan = build(inputs, datetime(2028, 3, 1, 0, 30, tzinfo=SEOUL))
    assert_covered(inputs, plan, [(2028, month) for month in range(3, 13)])


@pytest.mark.parametrize("month", [(2027, 6), (2027, 12), (2028, 1), (2028, 2)])
def test_where_few_months_are_known_the_floor_is_that_of_those_after_them(month: tuple[int, int]) -> None:
    inputs = volume(42_000_000, 3.0)
    plan = build(inputs, datetime(*month, 5, 9, 30, tzinfo=SEOUL))
    verify(inputs, plan)
    assert_covered(inputs, plan, [month, *((2028, after) for after in range(3, 13))])


@given(load_=st.floats(0, 500), more=st.floats(0, 100), minimum=st.integers(1, 5))
def test_more_load_never_needs_fewer_tasks(load_: float, more: float, minimum: int) -> None:
    sizing = INPUTS.policy.sizing
    few, many = (tasks_for(x, 1, 0.7, minimum, sizing) for x in (load_, load_ + more))
    assert minimum <= few <= many
    assert few * 0.7 >= load_ * sizing.forecast_margin - 1e-6
    assert (few - 1) * sizing.max_utilisation_less_one >= load_ - 1e-6


def test_the_known_peak_days_are_in_the_plan() -> None:
    plan = default_plan()
    assert [d for d in plan.peak_days if d.year == 2028] == [
        *peak_days(INPUTS.calendar, 2028, 1),
        *peak_days(INPUTS.calendar, 2028, 2),
    ]
