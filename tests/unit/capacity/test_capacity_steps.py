"""The staircase of minimum capacities covers every need, as cheaply as the number of steps admits."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import combinations, pairwise

from hypothesis import given
from hypothesis import strategies as st

from deploy.capacity.steps import Change, Span, changes, cheapest_cover, level_at

BEGIN = datetime(2027, 1, 1)  # noqa: DTZ001 - plans are made in local time
needs = st.lists(st.integers(0, 30), min_size=1, max_size=9)


def cost(steps: list[tuple[int, int, int]]) -> int:
    return sum((after - first) * level for first, after, level in steps)


@given(needs=needs, parts=st.integers(1, 9))
def test_a_cover_is_whole_nowhere_below_the_needs_and_has_no_more_steps_than_allowed(
    needs: list[int], parts: int
) -> None:
    steps = cheapest_cover(needs, parts)
    assert len(steps) <= parts
    covered = [level for first, after, level in steps for _ in range(after - first)]
    assert len(covered) == len(needs)
    assert all(level >= need for level, need in zip(covered, needs, strict=True))


@given(needs=needs, parts=st.integers(1, 9))
def test_no_other_cover_is_cheaper(needs: list[int], parts: int) -> None:
    count = len(needs)
    best = min(
        sum(max(needs[a:b]) * (b - a) for a, b in zip((0, *cuts), (*cuts, count), strict=True))
        for number in range(min(parts, count))
        for cuts in combinations(range(1, count), number)
    )
    assert cost(cheapest_cover(needs, parts)) == best


@given(needs=needs)
def test_more_steps_never_cost_more_and_enough_steps_cost_just_the_needs(needs: list[int]) -> None:
    costs = [cost(cheapest_cover(needs, parts)) for parts in range(1, len(needs) + 1)]
    assert costs == sorted(costs, reverse=True)
    assert costs[-1] == sum(needs)


spans = st.lists(
    st.tuples(st.integers(0, 200), st.integers(1, 30), st.integers(1, 20)).map(
        lambda s: Span(BEGIN + timedelta(hours=s[0]), BEGIN + timedelta(hours=s[0] + s[1]), s[2])
    ),
    max_size=12,
)


@given(spans=spans, floor=st.integers(0, 10), lead=st.integers(0, 180), lag=st.integers(0, 60))
def test_the_course_keeps_every_span_from_its_lead_to_its_lag(
    spans: list[Span], floor: int, lead: int, lag: int
) -> None:
    course = changes(spans, floor, timedelta(minutes=lead), timedelta(minutes=lag))
    moments = [change.at for change in course]
    assert moments == sorted(set(moments))
    levels = [floor, *[change.level for change in course]]
    assert all(before != after for before, after in pairwise(levels))
    assert levels[-1] == floor
    assert min(levels) == floor
    for span in spans:
        moment = span.start - timedelta(minutes=lead)
        while moment < span.end + timedelta(minutes=lag):
            assert level_at(course, floor, moment) >= span.level
            moment += timedelta(minutes=30)


def test_a_step_down_never_cuts_into_the_lead_of_the_next_step_up() -> None:
    hour = timedelta(hours=1)
    low, high = Span(BEGIN, BEGIN + hour, 5), Span(BEGIN + hour, BEGIN + 2 * hour, 9)
    course = changes([low, high], 2, lead=timedelta(minutes=15), lag=timedelta(minutes=5))
    assert course == [
        Change(BEGIN - timedelta(minutes=15), 5),
        Change(BEGIN + timedelta(minutes=45), 9),
        Change(BEGIN + timedelta(minutes=125), 2),
    ]
