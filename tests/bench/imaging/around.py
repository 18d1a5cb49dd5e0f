"""What the pipeline around the pixels adds: the real worker on LocalStack and PostgreSQL, our own processes counted.

`busy`, `alone`, `memory` and `backlog` watch a worker that runs as it does in production; `steps` takes it apart.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import statistics
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, AsyncExitStack, ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

import asyncpg
from darkroom.metadata.v1 import metadata_pb2 as pb

from deploy.local import localstack as launcher
from deploy.local.postgres import VOLATILE
from deploy.local.postgres import running as postgres_running
from image_svc.adapters import metadata as metadata_adapter
from image_svc.adapters.metadata import GrpcMetadata
from image_svc.domain.model import Job, Ready, StoredVariant
from image_svc.pipeline.types import Facts, Format
from metadata_svc import migrate
from metadata_svc.domain.image import State
from runtime.grpc_warm import WarmMethod
from tests.bench.imaging import accounts, job
from tests.bench.imaging.engine import Taken
from tests.bench.imaging.measure import on, say
from tests.bench.imaging.steps import LEASE, parts
from tests.support.image_stack import Service, Stack, free_port, stack
from tests.support.localstack import LocalStack
from tests.support.postgres import Database

_TIDY: Final = 0.05
_LOOK: Final = 0.05  # seconds between two looks at the worker's log
_LOTS: Final = 6  # workers, and processes that they are compared with: pairs that change places
_EDGE: Final = 4  # images at either end of a backlog that do not count, as the first ones of whoever is compared with
_FLEET: Final = 8  # workers' calls that metadata_svc has in hand at a time
_POLL: Final = 0.004  # seconds between two looks at an image's state, or at the worker's memory
# As it is set outside of tests; an emulator keeps the long poll of a worker that ended, so polls are short.
_PRODUCTION: Final[dict[str, Any]] = {"lease_seconds": 30, "heartbeat_seconds": 10, "receive_wait_seconds": 1}


Bare = Callable[[], AbstractContextManager[Callable[[Path], Taken]]]


@dataclass(frozen=True)
class Cost:
    """Of one image: CPU seconds by process."""

    worker: float
    helper: float
    child: float
    metadata: float
    pixels: float  # the same photo developed in process
    hops: float = 0.0  # of metadata_svc: what two calls take in which it does nothing

    @property
    def named(self) -> float:
        """CPU beyond the pixels of what target 2 names: queue, S3, gRPC at both ends, sandbox and hashing."""
        return self.worker + self.helper + self.hops + self.child - self.pixels

    @property
    def around(self) -> float:
        """And of metadata_svc's statements and its outbox."""
        return self.named + self.metadata - self.hops


@dataclass(frozen=True)
class Alone:
    """Of one image that comes alone: CPU, and seconds on the clock."""

    cost: Cost
    total: float  # from S3's answer to the PUT until the worker knows that the image is READY
    event: float  # of which until the worker has the message: S3's event, SQS's delivery
    storage: float  # of which S3's get and put, as the worker saw them
    bare: float  # the photo in process: on the clock
    added: float  # total beyond event, storage and bare, the median of the images
    ratio: float  # of total to bare, the same


@asynccontextmanager
async def world(folder: Path) -> AsyncIterator[Stack]:
    """LocalStack, PostgreSQL and metadata_svc; a worker starts when asked for."""
    with ExitStack() as servers:
        port = free_port()
        endpoint = f"http://127.0.0.1:{port}"
        os.environ.update(launcher.CREDENTIALS)  # for the clients in this process
        emulator = launcher.start(port, folder / "localstack", folder / "localstack.log")
        servers.callback(launcher.stop, emulator)
        settings = {**VOLATILE, "log_min_messages": "fatal"}
        url = servers.enter_context(postgres_running(folder / "postgres", settings=settings))
        database = await _database(url)
        launcher.wait(endpoint, alive=lambda: emulator.poll() is None)
        place = LocalStack(endpoint, launcher.REGION, folder / "localstack")
        async with stack(place, database, folder) as running:
            yield running


async def _database(url: str) -> Database:
    passwords = {"darkroom_app": "bench-app", "darkroom_maintenance": "bench-maintenance"}
    owner = await asyncpg.connect(url)
    await migrate.ensure_roles(owner, passwords)
    await migrate.apply(owner)
    await owner.close()
    parts = urlsplit(url)
    app, maintenance = (
        urlunsplit(parts._replace(netloc=f"{role}:{password}@{parts.hostname}:{parts.port}"))
        for role, password in passwords.items()
    )
    return Database(parts.path.lstrip("/"), url, app, maintenance)


@dataclass
class _Samples:
    """Of images that went through workers, one by one: CPU seconds of the processes, and what else was seen."""

    worker: list[float] = field(default_factory=list)
    helper: list[float] = field(default_factory=list)
    metadata: list[float] = field(default_factory=list)
    times: list[_Times] = field(default_factory=list)
    alone: list[Taken] = field(default_factory=list)


async def busy(running: Stack, photo: Path, count: int, bare: Bare) -> Cost:
    """Images of a backlog: CPU is what a month's end costs, and an idle system's costs nothing.

    A worker with one core drains it; meanwhile, on the other core, a process of its own develops the photo again and
    again, so that both meet the same neighbours. Then another two change places: one core may be slower than the other
    for minutes, which the mean of both ratios is free of. What a worker takes is compared with its own children, on its
    own core. metadata_svc is counted while it serves a fleet, and not one worker, for which it would wake up each time.
    """
    workers, helpers, children, pixels = [], [], [], []
    cores = sorted(os.sched_getaffinity(0))
    content = photo.read_bytes()
    metadata = await fleet(running, content, count)
    hops = await two_hops(running, count)
    for lot in range(_LOTS):
        for _ in range(count // _LOTS + 2 * _EDGE):
            await running.upload(content)
        already = await _ready(running)
        with ExitStack() as processes:
            with on(cores[(lot + 1) % len(cores)]):
                alone = processes.enter_context(bare())
            for _ in range(_EDGE):  # its heap is new, too
                alone(photo)
            with on(cores[lot % len(cores)]):
                worker = await running.worker(**_PRODUCTION)
            await _until(running, already + _EDGE)
            first, before = await _ready(running), _now(worker)
            watched = asyncio.create_task(_until(running, already + count // _LOTS + _EDGE))
            bare_ones = []
            while not watched.done():
                bare_ones.append((await asyncio.to_thread(alone, photo)).cpu)
            spent, last = _now(worker) - before, await _ready(running)
            await _until(running, already + count // _LOTS + 2 * _EDGE)
            lines = worker.events("image ready")
            await worker.stop()
        own = [line["child_cpu_seconds"] for line in lines[_EDGE:-_EDGE]]
        workers.append(spent.worker / (last - first) / statistics.fmean(own))
        helpers.append(spent.helper / (last - first) / statistics.fmean(own))
        children.append(statistics.median(own) / statistics.median(bare_ones))  # of those that ran at the same time
        pixels += bare_ones
    usual = statistics.median(pixels)
    child = usual * statistics.median(map(statistics.geometric_mean, zip(children[::2], children[1::2], strict=True)))
    return Cost(
        worker=child * statistics.median(workers),
        helper=child * statistics.median(helpers),
        child=child,
        metadata=metadata,
        pixels=usual,
        hops=hops,
    )


async def fleet(running: Stack, content: bytes, count: int) -> float:
    """CPU seconds of metadata_svc for each image that many workers begin and finish; what it uses when nobody calls is
    taken off.
    """
    assert running.metadata_service is not None
    process = running.metadata_service.process.pid
    images = iter([await running.register(content) for _ in range(count)])
    presets = job.eager_presets()
    async with AsyncExitStack() as exits:
        channel = await metadata_adapter.channel(exits, f"ipv4:127.0.0.1:{running.metadata_port}")
        metadata = GrpcMetadata(channel, 5.0)

        async def one_worker() -> None:
            for image in images:
                begun = await metadata.begin(image.original_key, LEASE)
                assert isinstance(begun, Job)
                variants = tuple(
                    StoredVariant(each.name, begun.media_prefix + each.name, each.content_type, 640, 480, 40_000)
                    for each in presets
                )
                facts = Facts(Format.JPEG, 4000, 3000, 1, bytes(24), "#808080", 7)
                await metadata.finish(begun.attempt, Ready(facts, hashlib.sha256(content).digest(), variants))

        (idle,) = await _idle((process,))
        started, before = time.monotonic(), accounts.times(process)[0]
        await asyncio.gather(*(one_worker() for _ in range(_FLEET)))
        while await running.owner.fetchval("SELECT EXISTS (SELECT FROM darkroom.outbox)"):
            await asyncio.sleep(_LOOK)
        return (accounts.times(process)[0] - before - idle * (time.monotonic() - started)) / count


async def two_hops(running: Stack, count: int) -> float:
    """CPU seconds of metadata_svc for two calls with nothing in them, made as begin and finish are."""
    assert running.metadata_service is not None
    process = running.metadata_service.process.pid
    method = "darkroom.metadata.v1.MetadataService/BatchGetImages"
    async with AsyncExitStack() as exits:
        channel = await metadata_adapter.channel(exits, f"ipv4:127.0.0.1:{running.metadata_port}")
        nothing = WarmMethod(channel, method, pb.BatchGetImagesRequest, pb.BatchGetImagesResponse)
        calls = iter(range(2 * count))

        async def one_worker() -> None:
            for _ in calls:
                await nothing(pb.BatchGetImagesRequest(), 5.0)

        (idle,) = await _idle((process,))
        started, before = time.monotonic(), accounts.times(process)[0]
        await asyncio.gather(*(one_worker() for _ in range(_FLEET)))
        return (accounts.times(process)[0] - before - idle * (time.monotonic() - started)) / count


async def alone(running: Stack, photo: Path, count: int, bare: Bare) -> Alone:
    """One image at a time through a running worker; what its processes use when nothing comes is taken off.

    `bare` gives a process that develops a photo: after each image and on the same core, so that both meet the same
    machine. Several of both one after the other, each on the next core, because where its memory came to lie makes a
    process some percent faster or slower for all its life, and a helper's children with it.
    """
    taken = _Samples()
    cores = sorted(os.sched_getaffinity(0))
    for lot in range(_LOTS):
        with ExitStack() as processes:
            with on(cores[lot % len(cores)]):
                worker = await running.worker(**_PRODUCTION)
                alone = processes.enter_context(bare())
            images = count * (lot + 1) // _LOTS - count * lot // _LOTS
            await _sampled(taken, _Lot(running, worker, alone), photo, images)
            await worker.stop()
    pairs = list(zip(taken.times, taken.alone, strict=True))
    pixels = statistics.median(each.cpu for each in taken.alone)
    beyond = statistics.median(each.child - own.cpu for each, own in pairs)
    return Alone(
        Cost(
            worker=statistics.median(taken.worker),
            helper=statistics.median(taken.helper),
            child=pixels + beyond,  # of pairs, because a shared machine is now faster and now slower
            metadata=statistics.median(taken.metadata),
            pixels=pixels,
        ),
        total=statistics.median(each.total for each in taken.times),
        event=statistics.median(each.event for each in taken.times),
        storage=statistics.median(each.storage for each in taken.times),
        bare=statistics.median(each.wall for each in taken.alone),
        added=statistics.median(each.total - each.event - each.storage - own.wall for each, own in pairs),
        ratio=statistics.median(each.total / own.wall for each, own in pairs),
    )


@dataclass(frozen=True)
class _Lot:
    running: Stack
    worker: Service
    bare: Callable[[Path], Taken]


async def _sampled(to: _Samples, lot: _Lot, photo: Path, count: int) -> None:
    """Adds so many images of one worker and one bare process."""
    running, worker, bare = lot.running, lot.worker, lot.bare
    content = photo.read_bytes()
    assert running.metadata_service is not None
    pids = worker.process.pid, running.metadata_service.process.pid
    for _ in range(3):
        await _through(running, content)
    for _ in range(_EDGE):
        bare(photo)
    idle = await _idle(pids)
    for _ in range(count):
        image = await running.register(content)
        before, before_metadata = accounts.spent(pids[0]), accounts.times(pids[1])[0]
        started = time.monotonic()
        to.times.append(await _timed(running, worker, content, image))
        await asyncio.sleep(_TIDY)  # the message's deletion, and what follows the commit
        spent = accounts.spent(pids[0]) - before
        lasted = time.monotonic() - started
        to.worker.append(spent.worker - idle[0] * lasted)
        to.helper.append(spent.helper)
        to.metadata.append(accounts.times(pids[1])[0] - before_metadata - idle[1] * lasted)
        to.alone.append(bare(photo))


@dataclass(frozen=True)
class _Times:
    """Of one image, in seconds: see `Alone`. The child's CPU is that of its end: /proc has it in ticks of 10 ms."""

    total: float
    event: float
    storage: float
    child: float


async def _timed(running: Stack, worker: Service, content: bytes, image: pb.Image) -> _Times:
    """By the worker's own line about the image, whose stages follow each other without a gap: looking at the database
    all the while would take its share of the cores.
    """
    await running.place.s3.put_object(Bucket=running.place.incoming, Key=image.original_key, Body=content)
    answered = time.time()  # all clocks are this machine's
    async with asyncio.timeout(60):
        while image.id.encode() not in worker.log.read_bytes():  # cheaply, beside what is measured
            await asyncio.sleep(_LOOK)
        while not (lines := [line for line in worker.events("image ready") if line["image_id"] == image.id]):
            await asyncio.sleep(_LOOK)
    (line,) = lines
    total = datetime.fromisoformat(line["time"]).timestamp() - answered
    stages = {name: value / 1000 for name, value in line.items() if name.endswith("_ms")}
    storage = stages["fetch_ms"] + stages["store_ms"]
    return _Times(total, total - sum(stages.values()), storage, line["child_cpu_seconds"])


async def _through(running: Stack, content: bytes) -> None:
    """Takes a photo all the way to READY."""
    image = await running.upload(content)
    started = time.monotonic()
    while True:
        state = await running.owner.fetchval("SELECT state FROM darkroom.images WHERE id = $1::uuid", image.id)
        if state == State.READY:
            return
        if state in {State.FAILED, State.REJECTED} or time.monotonic() - started > 60:
            raise RuntimeError(f"the photo is {State(state).name}")
        await asyncio.sleep(_POLL)


async def _idle(pids: tuple[int, ...], seconds: float = 4.0) -> tuple[float, ...]:
    """CPU seconds a second of each process when nothing comes."""
    before = [accounts.times(pid)[0] for pid in pids]
    await asyncio.sleep(seconds)
    return tuple((accounts.times(pid)[0] - then) / seconds for pid, then in zip(pids, before, strict=True))


async def memory(running: Stack, worker: Service, photo: Path, count: int) -> int:
    """The most memory, in bytes, of worker, helper and child together while one photo is in hand."""
    most = 0
    content = photo.read_bytes()
    for _ in range(count):
        image = asyncio.create_task(_through(running, content))
        while not image.done():
            most = max(most, accounts.memory(worker.process.pid))
            await asyncio.sleep(_POLL)
        image.result()
    return most


@dataclass(frozen=True)
class Drained:
    """How a backlog went: images a second, and of the CPU time that other processes left, what went into developing."""

    rate: float
    share: float


async def backlog(running: Stack, photo: Path, count: int) -> Drained:
    """Fills the queue before a worker starts, and watches the worker empty it, but for the first and last twentieth."""
    content = photo.read_bytes()
    for _ in range(count):
        await running.upload(content)
    already = await _ready(running)
    worker = await running.worker(**_PRODUCTION)
    edge = max(count // 20, 1)
    await _until(running, already + edge)
    first, started, idle, before = await _ready(running), time.monotonic(), accounts.idle(), _now(worker)
    await _until(running, already + count - edge)
    last, ended, idle_after, after = await _ready(running), time.monotonic(), accounts.idle(), _now(worker)
    used = after - before
    await _until(running, already + count)
    await worker.stop()
    left = used.all + idle_after - idle
    return Drained((last - first) / (ended - started), (used.helper + used.children) / left)


def _now(worker: Service) -> accounts.Spent:
    return accounts.spent(worker.process.pid)


async def _ready(running: Stack) -> int:
    return int(await running.owner.fetchval("SELECT count(*) FROM darkroom.images WHERE state = $1", State.READY))


async def _until(running: Stack, count: int) -> None:
    async with asyncio.timeout(300):
        while await _ready(running) < count:
            await asyncio.sleep(0.05)


@dataclass(frozen=True)
class Around:
    """All of it: seconds of CPU by part and by process, one image at a time, bytes of memory, a backlog."""

    parts: dict[str, float]
    busy: Cost
    alone: Alone
    memory: int
    drained: Drained


async def measured(folder: Path, photo: Path, large: Path, *, count: int, waiting: int, bare: Bare) -> Around:
    """Measures `count` images one at a time and a backlog of `waiting`; memory with the `large` photo."""
    async with world(folder) as running:
        say("around the pixels: step by step")
        by_step = await parts(running, photo, count)
        say("around the pixels: workers with a backlog")
        loaded = await busy(running, photo, count * 3, bare)
        say("around the pixels: workers, one photo at a time")
        one_by_one = await alone(running, photo, count, bare)
        worker = await running.worker(**_PRODUCTION)
        most = await memory(running, worker, large, 5)
        await worker.stop()
        say("around the pixels: a backlog")
        return Around(by_step, loaded, one_by_one, most, await backlog(running, photo, waiting))
