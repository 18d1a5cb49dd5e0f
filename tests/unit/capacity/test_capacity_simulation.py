"""The simulated month: conservation, monotone laws, AWS's delays, and the targets that the policy must hold."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deploy.capacity.autoscaling import LaunchRate, TargetTracking
from deploy.capacity.compare import (
    ALWAYS_ON,
    OBJECTIVE_SECONDS,
    REACTIVE,
    SCHEDULED,
    Comparison,
    compare,
    leanest_always_on,
    meets_objective,
)
from deploy.capacity.inputs import Inputs, Policy, load
from deploy.capacity.money import fleet_cost
from deploy.capacity.queueing import mmc_mean_wait
from deploy.capacity.simulation import Drought, Outcome, Simulation, Strategy
from deploy.capacity.workload import Workload, arrivals, month_workload

INPUTS = load()
QUIET = INPUTS.policy.model_copy(
    update={"spot": INPUTS.policy.spot.model_copy(update={"interruptions_per_task_hour": 0.0, "on_demand_share": 0.0})}
)


def volume(images: int) -> Inputs:
    return INPUTS.model_copy(update={"forecast": INPUTS.forecast.model_copy(update={"images_per_month": images})})


def steady(rate: float, hours: float, service: Sequence[float] | None = None, seed: int = 5) -> Workload:
    """Images at a constant rate; a message is in the queue when its image is put."""
    random = np.random.default_rng(seed)
    rates = np.full(int(hours * 60), rate)
    put = arrivals(rates, random)
    times = random.exponential(1.0, len(put)) if service is None else np.resize(np.asarray(service), len(put))
    return Workload(2027, 1, seed, put, put, times, rates, rates)


def run(workload: Workload, strategy: Strategy, policy: Policy = QUIET, drought: Drought | None = None) -> Outcome:
    return Simulation(policy, workload, strategy, drought).run()


def always(tasks: int) -> Strategy:
    return Strategy(ALWAYS_ON, tasks, tasks, reactive=False)


@cache
def month(seed: int) -> Comparison:
    return compare(INPUTS, (2026, 12), seed, only=(REACTIVE, SCHEDULED, ALWAYS_ON))


def same(one: Outcome, two: Outcome) -> bool:
    return bool((one.ready == two.ready).all()) and one.task_hours == two.task_hours


@pytest.mark.parametrize("seed", [1, 2])
def test_a_month_with_a_tenfold_peak_is_ready_in_time_at_a_third_of_the_price(seed: int) -> None:
    """The target of the design: 99.9 % READY within 30 s at no more than 35 % of always-on's Fargate compute."""
    found = month(seed).outcomes
    scheduled, always_on = (fleet_cost(INPUTS, found[name]) for name in (SCHEDULED, ALWAYS_ON))
    assert len(month(seed).workload.put) > 2_500_000
    assert found[SCHEDULED].share_within(30.0) >= 0.999
    assert scheduled.total <= 0.35 * always_on.total  # with one on-demand task and Spot
    assert scheduled.all_on_demand <= 0.35 * always_on.all_on_demand  # and without Spot


def test_half_an_hour_without_any_spot_in_the_peak_keeps_the_objective() -> None:
    peak = Drought(28 * 86400.0 + 14 * 3600, 28 * 86400.0 + 14.5 * 3600)
    outcome = compare(INPUTS, (2026, 12), 1, drought=peak, only=[SCHEDULED]).outcomes[SCHEDULED]
    assert meets_objective(outcome)


def test_reactive_scaling_alone_misses_the_objective() -> None:
    assert not meets_objective(month(1).outcomes[REACTIVE])
    assert month(1).outcomes[REACTIVE].worst_backlog > 20 * month(1).outcomes[SCHEDULED].worst_backlog


def test_every_image_of_the_month_is_done_under_every_strategy() -> None:
    for outcome in month(1).outcomes.values():
        assert outcome.unfinished == 0
        assert len(outcome.ready) == len(month(1).workload.put)
        assert outcome.ready.min() > 0


def test_the_same_seed_gives_the_same_month_and_another_seed_another() -> None:
    small = volume(30_000)
    one, two, other = (compare(small, (2027, 2), seed) for seed in (1, 1, 2))
    for name in (REACTIVE, SCHEDULED, ALWAYS_ON):
        assert same(one.outcomes[name], two.outcomes[name])
    assert len(one.workload.put) != len(other.workload.put)


def test_the_months_images_follow_the_forecast() -> None:
    exact = INPUTS.model_copy(
        update={"forecast": INPUTS.forecast.model_copy(update={"day_error_sigma": 0.0, "images_per_month": 500_000})}
    )
    workload = month_workload(exact, 2026, 12, 3)
    assert len(workload.put) == pytest.approx(500_000, abs=4 * 500_000**0.5)
    by_day = np.bincount((workload.put // 86400).astype(int), minlength=31)
    assert by_day[28] / by_day[14] == pytest.approx(10.0, rel=0.1)  # a peak day against a Tuesday
    assert by_day[12] / by_day[14] == pytest.approx(0.2, rel=0.1)  # a Sunday
    assert workload.service.mean() == pytest.approx(INPUTS.measured.seconds_per_image, rel=0.01)
    assert (np.diff(workload.arrival) >= 0).all()


def test_the_whole_simulation_waits_as_erlang_says_when_nothing_changes() -> None:
    workload = steady(rate=6.4, hours=24.0)
    waited = run(workload, always(8)).ready - workload.service - QUIET.delays.io_seconds
    batches = waited[: len(waited) // 20 * 20].reshape(20, -1).mean(axis=1)
    expected = mmc_mean_wait(8, 6.4, 1.0)
    assert abs(waited.mean() - expected) < 4 * batches.std(ddof=1) / 20**0.5
    assert waited.mean() == pytest.approx(expected, rel=0.1)


def test_task_hours_of_a_constant_fleet_are_tasks_times_hours() -> None:
    outcome = run(steady(1.0, 10.0), always(4))
    assert outcome.task_hours == pytest.approx(40.0)
    assert outcome.on_demand_hours == pytest.approx(10.0)
    assert outcome.spot_hours == pytest.approx(30.0)


def test_reactive_scale_out_takes_about_four_minutes() -> None:
    delays = QUIET.delays.model_copy(update={"task_start_variation": 0.0})
    workload = steady(rate=20.0, hours=0.5, service=[1.0])
    outcome = run(workload, Strategy(REACTIVE, 2, 50, reactive=True), QUIET.model_copy(update={"delays": delays}))
    first = int(np.argmax(outcome.tasks > 2)) + 1  # the data point of minute n is the n-th
    assert 4 <= first <= 5


def test_a_scheduled_minimum_has_its_tasks_ready_well_within_the_lead() -> None:
    workload = steady(rate=1.0, hours=1.0)
    outcome = run(workload, Strategy(SCHEDULED, 2, 40, reactive=True, minimums=[(600.0, 20)]))
    assert outcome.tasks[9] == 2
    assert outcome.tasks[12] == 20  # three minutes later at the most
    assert INPUTS.policy.sizing.lead_minutes > 3


def test_scale_in_is_gradual_and_never_below_the_minimum() -> None:
    outcome = run(steady(0.5, 6.0), Strategy(SCHEDULED, 20, 40, reactive=True, minimums=[(3600.0, 5)]))
    drops = np.diff(outcome.tasks)
    assert outcome.tasks[:59].min() == 20
    assert drops.min() >= -2
    assert outcome.tasks[-1] == 5


def test_interrupted_tasks_hand_their_images_back_and_are_replaced() -> None:
    spot = INPUTS.policy.spot.model_copy(update={"interruptions_per_task_hour": 2.0})
    long = steady(rate=0.9, hours=12.0, service=[8.0])
    outcome = run(long, always(12), INPUTS.policy.model_copy(update={"spot": spot}))
    assert outcome.interruptions > 100
    assert outcome.handed_back > 20
    assert outcome.unfinished == 0
    assert outcome.tasks.mean() > 11


def test_more_interruptions_never_lower_the_tail_but_lose_nothing() -> None:
    workload = steady(rate=5.0, hours=24.0)
    found = []
    for rate in (0.0, 0.2, 1.0):
        spot = INPUTS.policy.spot.model_copy(update={"interruptions_per_task_hour": rate})
        found.append(run(workload, always(7), INPUTS.policy.model_copy(update={"spot": spot})))
    assert [o.unfinished for o in found] == [0, 0, 0]
    tails = [o.percentile(99.9) for o in found]
    assert tails == sorted(tails)


def test_a_time_without_spot_leaves_the_on_demand_tasks_alone() -> None:
    workload = steady(rate=1.0, hours=3.0, service=[0.5])
    outcome = run(workload, always(4), drought=Drought(3600.0, 5400.0))
    assert outcome.tasks[75] == 1  # the base
    assert outcome.tasks[-1] == 4
    assert outcome.unfinished == 0


def test_a_share_of_on_demand_tasks_is_kept_through_a_time_without_spot() -> None:
    spot = QUIET.spot.model_copy(update={"on_demand_share": 0.5})
    outcome = run(
        steady(1.0, 3.0), always(11), QUIET.model_copy(update={"spot": spot}), drought=Drought(3600.0, 5400.0)
    )
    assert outcome.tasks[75] == 6  # the base and half of the ten others
    assert outcome.on_demand_hours == pytest.approx(18.0)


def test_the_leanest_constant_fleet_is_the_smallest_that_meets_the_objective() -> None:
    workload = month_workload(volume(1_000_000), 2026, 12, 1)
    leanest = leanest_always_on(INPUTS, workload, up_to=8)
    size = leanest.strategy.initial
    assert meets_objective(leanest)
    assert not meets_objective(run(workload, always(size - 1), INPUTS.policy))


@settings(max_examples=25, deadline=None)
@given(rate=st.floats(0.1, 6), tasks=st.integers(1, 8), seed=st.integers(0, 1000))
def test_one_more_task_never_raises_a_percentile_or_lowers_the_bill(rate: float, tasks: int, seed: int) -> None:
    workload = steady(rate, 0.5, seed=seed)
    few, many = run(workload, always(tasks)), run(workload, always(tasks + 1))
    assert many.task_hours > few.task_hours
    assert many.worst_backlog <= few.worst_backlog
    if few.unfinished == 0 and len(few.ready):
        assert (many.ready - few.ready).mean() <= 1e-9


@settings(max_examples=25, deadline=None)
@given(
    rate=st.floats(0.1, 20),
    bounds=st.tuples(st.integers(1, 6), st.integers(6, 30)),
    minimums=st.lists(st.tuples(st.floats(1, 3600), st.integers(1, 6)), max_size=5).map(sorted),
    hazard=st.floats(0, 20),
    seed=st.integers(0, 1000),
)
def test_whatever_happens_images_are_conserved_and_the_fleet_keeps_its_bounds(
    rate: float, bounds: tuple[int, int], minimums: list[tuple[float, int]], hazard: float, seed: int
) -> None:
    spot = INPUTS.policy.spot.model_copy(update={"interruptions_per_task_hour": hazard})
    workload = steady(rate, 1.0, service=[0.3, 0.5, 4.0], seed=seed)
    initial, maximum = bounds
    strategy = Strategy(SCHEDULED, initial, maximum, reactive=True, minimums=minimums)
    outcome = run(workload, strategy, INPUTS.policy.model_copy(update={"spot": spot}))
    assert len(outcome.ready) == len(workload.put)
    assert outcome.unfinished <= outcome.worst_backlog
    assert (outcome.ready[~np.isnan(outcome.ready)] >= 0.3).all()
    assert outcome.tasks.min() >= 0
    assert outcome.tasks.max() <= maximum
    assert outcome.task_hours <= maximum * 1.0 + 1e-6 + 60 * outcome.interruptions / 3600


def test_an_unfinished_image_counts_as_endless_never_as_fast() -> None:
    hopeless = run(steady(rate=20.0, hours=8.0, service=[1.0]), always(1))
    assert hopeless.unfinished > 0
    assert hopeless.percentile(99.9) == np.inf
    assert hopeless.share_within(OBJECTIVE_SECONDS) < 0.01


def test_target_tracking_acts_after_three_points_above_and_fifteen_below() -> None:
    tracking = TargetTracking(INPUTS.policy.tracking)
    assert [tracking.decide(60.0 * i, 90.0, 4) for i in range(3)] == [4, 4, 12]
    again = TargetTracking(INPUTS.policy.tracking)
    decisions = [again.decide(60.0 * i, 0.0, 40) for i in range(15)]
    assert decisions == [40] * 14 + [36]
    assert again.decide(960.0, 0.0, 36) == 36  # the cool-down of a scale-in


def test_the_same_backlog_does_not_add_tasks_twice_while_a_scale_out_cools_down() -> None:
    tracking = TargetTracking(INPUTS.policy.tracking)
    for i in range(3):
        wanted = tracking.decide(60.0 * i, 60.0, 10)
    assert wanted == 20
    assert tracking.decide(180.0, 60.0, 20) == 20
    assert tracking.decide(200.0, 90.0, 20) == 30  # but a larger one does


def test_a_point_between_the_thresholds_starts_both_counts_anew() -> None:
    tracking = TargetTracking(INPUTS.policy.tracking)
    metrics = [60.0, 60.0, 29.0, 60.0, 60.0]
    assert [tracking.decide(60.0 * i, m, 4) for i, m in enumerate(metrics)] == [4] * 5


def test_launches_come_in_a_burst_and_then_at_the_rate() -> None:
    launches = LaunchRate(burst=100, rate=20.0)
    moments = [launches.launch(10.0) for _ in range(160)]
    assert moments[:100] == [10.0] * 100
    assert moments[-1] == pytest.approx(13.0)
    assert launches.launch(100.0) == 100.0
