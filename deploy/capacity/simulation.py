"""Discrete-event simulation of the worker fleet through a month.

Events: a scheduled action, a data point of the metric and the decision on it, a task that is ready, a Spot
interruption. Between two events the queue's core serves images exactly (see `worker_queue`). What is simulated:
message delay, waiting, service on one vCPU per process, reactive scaling with all its delays, scheduled minimums,
launch rate, start time, Spot interruptions with hand-back, scale-in (a task ends what it has). What is not: S3, the
database and the API services, which are sized, not simulated; a lost zone; retries of failed images.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Literal

import numpy as np

from deploy.capacity.autoscaling import LaunchRate, TargetTracking
from deploy.capacity.forecast import Floats
from deploy.capacity.inputs import Policy
from deploy.capacity.worker_queue import Queue
from deploy.capacity.workload import Workload

# After the month's end, the longest time to let the queue run empty.
DRAIN_SECONDS = 6 * 3600.0


@dataclass(frozen=True)
class Strategy:
    """How the fleet is scaled: a course of minimums, a maximum, and whether target tracking is on."""

    name: str
    initial: int
    maximum: int
    reactive: bool
    minimums: Sequence[tuple[float, int]] = ()  # (second of the month, minimum from then on)


@dataclass(frozen=True)
class Drought:
    """A time in which there is no Spot capacity: every Spot task is taken at its start, none starts before its end."""

    start: float
    end: float


@dataclass
class Outcome:
    """What a month came to. `ready` has one entry per image: seconds from the PUT's answer to READY."""

    strategy: Strategy
    workload: Workload
    ready: Floats
    backlog: Floats  # waiting images at each minute
    tasks: Floats  # running tasks at each minute
    worst_backlog: int = 0
    on_demand_hours: float = 0.0
    spot_hours: float = 0.0
    interruptions: int = 0
    handed_back: int = 0

    @property
    def unfinished(self) -> int:
        """Images that were not done when the drain after the month ended."""
        return int(np.isnan(self.ready).sum())

    @property
    def task_hours(self) -> float:
        """Task hours paid for within the month."""
        return self.on_demand_hours + self.spot_hours

    def percentile(self, q: float) -> float:
        """Seconds to READY that `q` percent of the images stay within; an unfinished image counts as endless."""
        return float(np.percentile(np.nan_to_num(self.ready, nan=np.inf), q, method="inverted_cdf"))

    def share_within(self, seconds: float) -> float:
        """Share of the images that were READY within so many seconds."""
        return float(np.count_nonzero(self.ready <= seconds) / len(self.ready)) if len(self.ready) else 1.0


_Kind = Literal["minimum", "point", "decide", "ready", "interrupt", "drought"]


@dataclass
class _Fleet:
    """Tasks by kind. `starting` ones are paid for, too: Fargate bills from the image's pull."""

    running: dict[bool, int] = field(default_factory=lambda: {True: 0, False: 0})  # by "is Spot"
    starting: dict[bool, int] = field(default_factory=lambda: {True: 0, False: 0})
    cancelled: dict[bool, int] = field(default_factory=lambda: {True: 0, False: 0})
    paid: dict[bool, float] = field(default_factory=lambda: {True: 0.0, False: 0.0})  # task seconds

    @property
    def total(self) -> int:
        """All tasks that are paid for."""
        return sum(self.running.values()) + sum(self.starting.values())

    def of(self, *, spot: bool) -> int:
        """Tasks of one kind, running or starting."""
        return self.running[spot] + self.starting[spot]

    def pay(self, seconds: float) -> None:
        for spot in (True, False):
            self.paid[spot] += seconds * self.of(spot=spot)


class Simulation:
    """One month with one strategy. Make it, `run` it, drop it."""

    def __init__(self, policy: Policy, workload: Workload, strategy: Strategy, drought: Drought | None = None) -> None:
        self._policy = policy
        self._workload = workload
        self._strategy = strategy
        self._drought = drought
        self._processes = policy.image_svc.vcpu
        self._queue = Queue(workload.arrival, workload.service)
        self._fleet = _Fleet()
        self._tracking = TargetTracking(policy.tracking)
        self._launches = LaunchRate(policy.delays.launch_burst, policy.delays.launch_rate)
        # The same seed for every strategy: they meet the same month; only their own luck with tasks differs.
        self._random = np.random.default_rng([workload.seed, 7])
        self._events: list[tuple[float, int, _Kind, float]] = []
        self._order = count()
        self._now = 0.0
        self._minimum = strategy.initial
        self._desired = strategy.initial
        self._interruptions = 0

    def run(self) -> Outcome:
        """Serves the month. A fleet of `initial` tasks is there at its beginning."""
        end = self._workload.seconds
        self._begin()
        backlog: list[float] = []
        tasks: list[float] = []
        while self._events and (self._events[0][0] < end or self._queue.pending):
            at, _, kind, value = heapq.heappop(self._events)
            if at > end + DRAIN_SECONDS:
                break
            self._queue.advance(at)
            self._fleet.pay(max(0.0, min(at, end) - min(self._now, end)))
            self._now = at
            if kind == "point":
                waiting = self._waiting()
                if at < end:
                    backlog.append(waiting)
                    tasks.append(sum(self._fleet.running.values()))
                self._point(waiting)
            elif kind == "decide":
                self._want(self._tracking.decide(at, value, self._desired))
            elif kind == "minimum":
                self._minimum = int(value)
                self._want(max(self._desired, self._minimum))
            elif kind == "ready":
                self._ready(spot=bool(value))
            elif kind == "interrupt":
                self._interrupt()
            else:
                while self._fleet.running[True]:
                    self._interrupt()
        self._queue.advance(end + DRAIN_SECONDS)
        self._fleet.pay(max(0.0, end - min(self._now, end)))
        done = np.frombuffer(self._queue.done, dtype=np.float64)
        return Outcome(
            strategy=self._strategy,
            workload=self._workload,
            ready=done + self._policy.delays.io_seconds - self._workload.put,
            backlog=np.array(backlog),
            tasks=np.array(tasks),
            worst_backlog=_worst_backlog(self._workload.arrival, done - self._workload.service),
            on_demand_hours=self._fleet.paid[False] / 3600,
            spot_hours=self._fleet.paid[True] / 3600,
            interruptions=self._interruptions,
            handed_back=self._queue.handed_back,
        )

    def _begin(self) -> None:
        self._queue.advance(0.0)
        base = self._on_demand_of(self._strategy.initial)
        self._fleet.running = {False: base, True: self._strategy.initial - base}
        self._queue.add(self._strategy.initial * self._processes)
        for at, minimum in self._strategy.minimums:
            self._push(at + self._policy.delays.scheduled_action_seconds, "minimum", minimum)
        self._push(float(self._policy.tracking.period_seconds), "point", 0.0)
        if self._drought is not None:
            self._push(self._drought.start, "drought", 0.0)

    def _push(self, at: float, kind: _Kind, value: float) -> None:
        heapq.heappush(self._events, (at, next(self._order), kind, value))

    def _waiting(self) -> int:
        return self._queue.waiting(int(np.searchsorted(self._workload.arrival, self._now)))

    def _point(self, waiting: int) -> None:
        """A period is over: its data point, the decision a little later, and the next period's interruptions."""
        period = float(self._policy.tracking.period_seconds)
        self._push(self._now + period, "point", 0.0)
        if self._strategy.reactive:
            metric = waiting / max(1, sum(self._fleet.running.values()))
            self._push(self._now + self._policy.tracking.metric_delay_seconds, "decide", metric)
        hazard = self._fleet.running[True] * self._policy.spot.interruptions_per_task_hour * period / 3600
        for _ in range(self._random.poisson(hazard)):
            self._push(self._now + self._random.random() * period, "interrupt", 0.0)

    def _want(self, tasks: int) -> None:
        self._desired = max(self._minimum, min(tasks, self._strategy.maximum))
        while self._fleet.total < self._desired:
            self._launch()
        while self._fleet.total > self._desired:
            self._stop()

    def _launch(self) -> None:
        fleet, delays = self._fleet, self._policy.delays
        spot = fleet.of(spot=False) >= self._on_demand_of(fleet.total + 1)
        at = self._launches.launch(self._now)
        if spot and self._drought is not None and self._drought.start <= at < self._drought.end:
            at = self._drought.end
        factor = max(0.3, self._random.normal(1.0, delays.task_start_variation))
        fleet.starting[spot] += 1
        self._push(at + delays.task_start_seconds * factor, "ready", float(spot))

    def _stop(self) -> None:
        """The kind there is too much of, starting before running. A running task ends its images (task protection)."""
        fleet = self._fleet
        spot = fleet.of(spot=True) > 0 and fleet.of(spot=False) <= self._on_demand_of(fleet.total - 1)
        if fleet.starting[spot]:
            fleet.starting[spot] -= 1
            fleet.cancelled[spot] += 1
            return
        fleet.running[spot] -= 1
        free = self._queue.retire(self._processes)
        fleet.paid[spot] += max(0.0, min(free, self._workload.seconds) - self._now)

    def _on_demand_of(self, tasks: int) -> int:
        """On-demand tasks among so many, by the capacity provider strategy: the base, then the share of the rest."""
        base = min(tasks, self._policy.spot.on_demand_base)
        return base + int((tasks - base) * self._policy.spot.on_demand_share)

    def _ready(self, *, spot: bool) -> None:
        fleet = self._fleet
        if fleet.cancelled[spot]:
            fleet.cancelled[spot] -= 1
            return
        fleet.starting[spot] -= 1
        fleet.running[spot] += 1
        self._queue.add(self._processes)

    def _interrupt(self) -> None:
        """AWS takes a Spot task. SIGTERM comes two minutes ahead: the worker stops intake and hands back at once."""
        if not self._fleet.running[True]:
            return
        self._fleet.running[True] -= 1
        self._interruptions += 1
        for _ in range(self._processes):
            self._queue.interrupt(int(self._random.integers(1 << 30)), self._policy.delays.handback_seconds)
        self._want(self._desired)


def _worst_backlog(arrival: Floats, start: Floats) -> int:
    """The most images that ever waited at once, seen at the moments of arrival. `start` may hold NaN (never)."""
    if not len(arrival):
        return 0
    starts = np.sort(start)  # NaN last
    started = np.searchsorted(starts, arrival, side="right")
    return int((np.arange(1, len(arrival) + 1) - started).max())
