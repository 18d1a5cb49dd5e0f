"""The queue's core against closed forms, a naive reference, and the laws that any queue obeys."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.capacity.queueing import erlang_c, mg1_mean_wait, mmc_mean_wait, mmc_wait_beyond
from deploy.capacity.worker_queue import Queue

CUSTOMERS = 400_000
WARM_UP = 20_000
BATCHES = 20


def waits(servers: int, gaps: np.ndarray, services: np.ndarray) -> np.ndarray:
    """Waiting times of a queue with a constant number of servers, its beginning left out."""
    arrivals = np.cumsum(gaps)
    queue = Queue(arrivals, services)
    queue.advance(0.0)
    queue.add(servers)
    queue.advance(np.inf)
    sample: np.ndarray = (np.array(queue.done) - services - arrivals)[WARM_UP:]
    return sample


def assert_mean(sample: np.ndarray, expected: float, within: float = 0.06) -> None:
    """Waits follow each other closely, so the error is that of batch means; the seeds are fixed, the test is stable."""
    batches = sample[: len(sample) // BATCHES * BATCHES].reshape(BATCHES, -1).mean(axis=1)
    error = batches.std(ddof=1) / np.sqrt(BATCHES)
    assert abs(sample.mean() - expected) < 4 * error
    assert sample.mean() == pytest.approx(expected, rel=within)


@pytest.mark.parametrize(("servers", "load"), [(1, 0.5), (1, 0.8), (3, 0.8), (8, 0.9), (40, 0.95)])
def test_mean_wait_of_mmc_is_erlangs(servers: int, load: float) -> None:
    random = np.random.default_rng(11)
    rate = load * servers
    sample = waits(servers, random.exponential(1 / rate, CUSTOMERS), random.exponential(1.0, CUSTOMERS))
    assert_mean(sample, mmc_mean_wait(servers, rate, 1.0), within=0.1)


@pytest.mark.parametrize("wait", [0.0, 0.5, 1.0])
def test_share_of_long_waits_in_mmc_is_erlangs(wait: float) -> None:
    random = np.random.default_rng(12)
    sample = waits(4, random.exponential(1 / 3.2, CUSTOMERS), random.exponential(1.0, CUSTOMERS))
    assert_mean((sample > wait).astype(float), mmc_wait_beyond(4, 3.2, 1.0, wait))


@pytest.mark.parametrize("load", [0.3, 0.6, 0.85])
def test_mean_wait_of_md1_is_pollaczek_and_khinchines(load: float) -> None:
    random = np.random.default_rng(13)
    sample = waits(1, random.exponential(1 / load, CUSTOMERS), np.ones(CUSTOMERS))
    assert_mean(sample, mg1_mean_wait(load, 1.0, 0.0))


def test_mean_wait_of_mg1_is_pollaczek_and_khinchines() -> None:
    random = np.random.default_rng(14)
    sigma = np.sqrt(np.log1p(0.6**2))
    services = random.lognormal(-(sigma**2) / 2, sigma, CUSTOMERS)
    assert_mean(waits(1, random.exponential(1 / 0.7, CUSTOMERS), services), mg1_mean_wait(0.7, 1.0, 0.6))


def test_erlang_c_agrees_with_published_values_and_its_limits() -> None:
    assert erlang_c(1, 0.4) == pytest.approx(0.4)  # M/M/1: the load itself
    assert erlang_c(2, 1.0) == pytest.approx(1 / 3)  # by hand
    assert erlang_c(10, 8.0) == pytest.approx(0.4092, abs=5e-5)  # tables of the delay formula
    assert erlang_c(5, 0.0) == 0.0
    assert mg1_mean_wait(0.5, 1.0, 1.0) == pytest.approx(mmc_mean_wait(1, 0.5, 1.0))
    with pytest.raises(ValueError, match="more than 3 servers"):
        erlang_c(3, 3.0)
    with pytest.raises(ValueError, match="steady state"):
        mg1_mean_wait(1.0, 1.0, 0.0)


times = st.floats(0, 50, allow_nan=False)
jobs = st.lists(st.tuples(times, st.floats(0.01, 10)), min_size=1, max_size=60).map(sorted)


def serve(work: list[tuple[float, float]], servers: int) -> list[float]:
    queue = Queue([a for a, _ in work], [s for _, s in work])
    queue.advance(0.0)
    queue.add(servers)
    queue.advance(float("inf"))
    return list(queue.done)


@given(work=jobs, servers=st.integers(1, 6))
def test_every_image_is_done_when_a_naive_reference_says_so(work: list[tuple[float, float]], servers: int) -> None:
    free = [0.0] * servers
    expected = []
    for arrival, service in work:
        first = min(range(servers), key=free.__getitem__)
        free[first] = max(free[first], arrival) + service
        expected.append(free[first])
    assert serve(work, servers) == pytest.approx(expected)


@given(work=jobs, servers=st.integers(1, 6))
def test_one_more_server_makes_no_image_later(work: list[tuple[float, float]], servers: int) -> None:
    fewer, more = serve(work, servers), serve(work, servers + 1)
    starts = zip(
        sorted(f - s for f, (_, s) in zip(fewer, work, strict=True)),
        sorted(m - s for m, (_, s) in zip(more, work, strict=True)),
        strict=True,
    )
    assert all(later >= earlier - 1e-9 for later, earlier in starts)


@given(work=jobs, servers=st.integers(1, 6), factor=st.floats(1, 3))
def test_slower_service_makes_no_image_earlier(work: list[tuple[float, float]], servers: int, factor: float) -> None:
    slow = serve([(a, s * factor) for a, s in work], servers)
    assert all(later >= earlier - 1e-9 for later, earlier in zip(slow, serve(work, servers), strict=True))


changes = st.lists(
    st.tuples(times, st.sampled_from(["add", "retire", "interrupt"]), st.integers(0, 1000)), max_size=40
).map(sorted)


@given(work=jobs, events=changes)
def test_what_arrived_is_done_in_service_or_waiting_whatever_happens_to_the_servers(
    work: list[tuple[float, float]], events: list[tuple[float, str, int]]
) -> None:
    arrivals = np.array([a for a, _ in work])
    services = np.array([s for _, s in work])
    queue = Queue(arrivals, services)
    queue.advance(0.0)
    queue.add(2)
    for at, what, number in events:
        queue.advance(at)
        arrived = int(np.searchsorted(arrivals, at))
        given_out = int((~np.isnan(np.array(queue.done))).sum())
        assert queue.waiting(arrived) == arrived - given_out
        if what == "add":
            queue.add(1 + number % 3)
        elif what == "retire":
            queue.retire(number % 3)
        elif queue.servers:
            queue.interrupt(number, grace=0.5)
    queue.advance(60.0)
    queue.add(1)
    queue.advance(float("inf"))
    done = np.array(queue.done)
    assert not queue.pending
    assert not np.isnan(done).any()  # nothing is lost
    assert (done >= arrivals + services - 1e-9).all()


def test_an_interrupted_server_ends_what_it_can_and_hands_back_the_rest() -> None:
    queue = Queue([0.0, 0.0], [1.0, 9.0])
    queue.advance(0.0)
    queue.add(2)
    queue.advance(0.5)
    queue.interrupt(0, grace=2.0)  # the one that is free at 1.0
    queue.interrupt(0, grace=2.0)  # the other, busy until 9.0
    assert queue.done[0] == 1.0
    assert queue.handed_back == 1
    assert queue.waiting(2) == 1
    queue.advance(4.0)
    queue.add(1)
    queue.advance(100.0)
    assert queue.done[1] == 4.0 + 9.0


def test_a_server_that_comes_late_takes_what_waits_at_once() -> None:
    queue = Queue([1.0, 2.0, 3.0], [1.0, 1.0, 1.0])
    queue.advance(10.0)
    assert queue.waiting(3) == 3
    queue.add(1)
    queue.advance(11.5)
    assert list(queue.done)[:2] == [11.0, 12.0]
    assert queue.waiting(3) == 1


def test_a_busy_server_that_is_retired_ends_its_image() -> None:
    queue = Queue([0.0], [5.0])
    queue.advance(0.0)
    queue.add(1)
    queue.advance(1.0)
    assert queue.retire(1) == 5.0
    assert queue.done[0] == 5.0
    assert queue.servers == 0


def test_arrivals_without_service_times_are_refused() -> None:
    with pytest.raises(ValueError, match="service time"):
        Queue([1.0], [])
