"""The planner's simulation beside real workers: the same arrivals, and of the service only its measured times.

Workers with one slot each take images from a real queue. Of each image we know when its PUT was answered, when it was
READY by the database, and how long it was being developed. The simulation gets the moments of arrival and those times,
image by image, because on a shared machine they are other ones by the minute: if its queue behaves as ours does, waits
and times to READY come out alike.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from darkroom.metadata.v1 import metadata_pb2 as pb

from deploy.capacity.inputs import load
from deploy.capacity.simulation import Simulation, Strategy
from deploy.capacity.workload import Workload
from tests.support.image_stack import Service, Stack
from tests.support.pictures import picture

WARM_UP = 6
# Of the images, this share comes at random, as on any day; the rest at once, as a client sends a folder at month-end.
STEADY = 0.6
LOAD = 0.65


@dataclass(frozen=True)
class Seen:
    """What a run of real workers came to. Seconds; arrays by image, in the order of arrival."""

    processes: int
    arrival: np.ndarray
    ready: np.ndarray
    service: np.ndarray
    overhead: float

    @property
    def wait(self) -> np.ndarray:
        """Time to READY less the image's own developing and what surrounds it when nothing waits."""
        waited: np.ndarray = np.maximum(self.ready - self.service - self.overhead, 0.0)
        return waited


@dataclass(frozen=True)
class Line:
    """One figure, of the workers and of the simulation. Seconds."""

    name: str
    real: float
    simulated: float
    tolerance: float

    @property
    def agrees(self) -> bool:
        """Whether the two are alike."""
        return abs(self.real - self.simulated) <= self.tolerance


async def observe(running: Stack, processes: int, images: int, seed: int = 1) -> Seen:
    """Runs so many workers on so many images."""
    content = picture(seed=seed, size=(3200, 2400))
    workers = [await running.worker(slots=1, prefetch=1) for _ in range(processes)]
    alone = [await _alone(running, content, workers) for _ in range(WARM_UP)]
    services = [service for _, service in alone[1:]]
    overhead = float(np.median([ready - service for ready, service in alone[1:]]))
    random = np.random.default_rng(seed)
    steady = round(images * STEADY)
    gaps = random.exponential(float(np.mean(services)) / LOAD / processes, steady)
    at = np.concatenate([np.cumsum(gaps), np.full(images - steady, gaps.sum())])
    registered = [await running.register(content) for _ in range(images)]
    start = time.time() + 0.1

    async def put(image: pb.Image, moment: float) -> float:
        await asyncio.sleep(max(0.0, start + moment - time.time()))
        await running.place.s3.put_object(Bucket=running.place.incoming, Key=image.original_key, Body=content)
        return time.time()

    puts = np.array(await asyncio.gather(*map(put, registered, at)))
    settled = await running.settled(registered, within=600)
    assert {image.state for image in settled} == {pb.Image.READY}
    developed = _developed(workers)
    for worker in workers:
        await worker.stop()
    order = np.argsort(puts, kind="stable")
    ready = np.array([image.ready_at.ToNanoseconds() / 1e9 for image in settled])
    service = np.array([developed[image.id] for image in registered])
    return Seen(processes, (puts - puts.min())[order], (ready - puts)[order], service[order], overhead)


def compare(seen: Seen, *, faster: float = 1.0) -> list[Line]:
    """The figures side by side. `faster` distorts the service rate that the simulation is told: it must not agree then.

    The tolerance is a quarter of the figure, a service, because a worker takes a message ahead of its turn while one is
    free elsewhere, and half of what else an image costs, which varies, too.
    """
    wait, ready = _simulated(seen, faster)
    slack = float(seen.service.mean()) + 0.5 * seen.overhead
    lines = []
    for name, q, real, simulated in (
        ("wait p50", 50, seen.wait, wait),
        ("wait p90", 90, seen.wait, wait),
        ("READY p50", 50, seen.ready, ready),
        ("READY p90", 90, seen.ready, ready),
    ):
        expected = float(np.percentile(simulated, q))
        lines.append(Line(name, float(np.percentile(real, q)), expected, 0.25 * expected + slack))
    return lines


def table(seen: Sequence[Seen]) -> str:
    """The figures of several runs as a Markdown table."""
    rows = [
        "| workers | images | service, s | figure | real, s | simulated, s | tolerance, s |",
        "|---|---|---|---|---|---|---|",
    ]
    for one in seen:
        rows += [
            f"| {one.processes} | {len(one.ready)} | {one.service.mean():.3f} | {line.name} | {line.real:.2f} "
            f"| {line.simulated:.2f} | {line.tolerance:.2f} |"
            for line in compare(one)
        ]
    return "\n".join(rows)


def _simulated(seen: Seen, faster: float) -> tuple[np.ndarray, np.ndarray]:
    service = seen.service / faster
    policy = load().policy
    policy = policy.model_copy(
        update={
            "delays": policy.delays.model_copy(update={"io_seconds": seen.overhead}),
            "image_svc": policy.image_svc.model_copy(update={"vcpu": 1}),
            "spot": policy.spot.model_copy(update={"interruptions_per_task_hour": 0.0}),
        }
    )
    rates = np.zeros(int(seen.arrival[-1] // 60) + 1)
    workload = Workload(2027, 1, 0, seen.arrival, seen.arrival, service, rates, rates)
    constant = Strategy("constant", seen.processes, seen.processes, reactive=False)
    ready = Simulation(policy, workload, constant).run().ready
    return ready - service - seen.overhead, ready


async def _alone(running: Stack, content: bytes, workers: Sequence[Service]) -> tuple[float, float]:
    """Time to READY and service of an image that finds all workers idle."""
    image = await running.upload(content)
    put = time.time()
    (image,) = await running.settled([image])
    return image.ready_at.ToNanoseconds() / 1e9 - put, _developed(workers)[image.id]


def _developed(workers: Sequence[Service]) -> dict[str, float]:
    """Seconds in the sandbox, by image."""
    return {line["image_id"]: line["develop_ms"] / 1000 for worker in workers for line in worker.events("image ready")}
