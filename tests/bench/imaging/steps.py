"""A worker's steps one by one in this process, with the worker's own adapters, so that their CPU can be told apart."""

from __future__ import annotations

import asyncio
import hashlib
import os
import statistics
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final

from image_svc.adapters import metadata as metadata_adapter
from image_svc.adapters.metadata import GrpcMetadata
from image_svc.domain.messages import Created, parse
from image_svc.domain.model import Job, Message, Ready, StoredVariant
from image_svc.pipeline.fingerprint import fingerprint
from image_svc.pipeline.presets import Preset
from image_svc.sandbox import Developed, DevelopedVariant, Sandbox
from image_svc.worker.source import Sources
from tests.bench.imaging import job
from tests.support.image_stack import Stack

LEASE: Final = 30.0  # seconds
_ROUND: Final = 8  # images: a second's, of a worker with one core
_RECEIVED: Final = 2  # of them at a time: `ConsumerLimits.refill`
QUEUE, GET, HASH, SANDBOX, PUT, RPC = (
    "queue: receive, delete",
    "S3: get",
    "SHA-256 of the original",
    "sandbox: the worker's side",
    "S3: put, four variants with their SHA-256",
    "gRPC: begin, finish",
)
_PARTS: Final = (QUEUE, GET, HASH, SANDBOX, PUT, RPC)


class Steps:
    """A worker's steps by hand. `cpu` has this process's CPU seconds an image of each, a value a round."""

    def __init__(self, running: Stack, metadata: GrpcMetadata, sandbox: Sandbox) -> None:
        self._running, self._metadata, self._sandbox = running, metadata, sandbox
        self._presets = job.eager_presets()
        self._sources = Sources()
        self.cpu: dict[str, list[float]] = {part: [] for part in _PARTS}

    async def round(self, content: bytes) -> None:
        """Uploads images and takes them all the way, as a worker with a backlog does: it receives some at a time, and
        deletes at once what a second has brought.
        """
        spent = dict.fromkeys(_PARTS, 0.0)
        for _ in range(_ROUND):
            await self._running.upload(content)
        done: list[str] = []
        clock = _Clock(spent)
        while len(done) < _ROUND:
            messages = await self._running.place.queue.receive(most=_RECEIVED, wait=20, visibility=LEASE)
            clock.lap(QUEUE)
            for message in messages:
                await self._process(message, content, clock)
                done.append(message.receipt)
        assert not await self._running.place.queue.delete(done)
        clock.lap(QUEUE)
        spent[GET] -= spent[HASH]  # it was hashed while it came
        for part, seconds in spent.items():
            self.cpu[part].append(seconds / _ROUND)

    async def _process(self, message: Message, content: bytes, clock: _Clock) -> None:
        place = self._running.place
        (item,) = parse(message.body, bucket=place.incoming)
        assert isinstance(item, Created)
        begun = await self._metadata.begin(item.key, LEASE)
        assert isinstance(begun, Job)
        clock.lap(RPC)
        with self._sources.one() as source:
            async with place.store.original(item.key) as original:
                await source.fill(original, size=begun.size, sha256=begun.sha256)
            clock.lap(GET)
            hashlib.sha256(content).digest()
            clock.lap(HASH)
            with await self._sandbox.develop(source.fd, begun.content_type, self._presets) as developed:
                clock.lap(SANDBOX)
                variants = await self._store(begun, source.sha256, developed)
                clock.lap(PUT)
        await self._metadata.finish(begun.attempt, Ready(developed.facts, source.sha256, variants))
        clock.lap(RPC)

    async def _store(self, begun: Job, sha256: bytes, developed: Developed) -> tuple[StoredVariant, ...]:
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(self._store_one(begun, sha256, preset, made))
                for preset, made in zip(self._presets, developed.variants, strict=True)
            ]
        return tuple(task.result() for task in tasks)

    async def _store_one(self, begun: Job, sha256: bytes, preset: Preset, made: DevelopedVariant) -> StoredVariant:
        name = f"{preset.name}.{fingerprint(sha256, preset, self._sandbox.build)}.{made.extension}"
        key = begun.media_prefix + name
        await self._running.place.store.put_variant(key, os.pread(made.fd, made.size, 0), made.content_type)
        return StoredVariant(preset.name, key, made.content_type, made.width, made.height, made.size)


class _Clock:
    """Adds this process's CPU time since the last lap to a part's."""

    def __init__(self, spent: dict[str, float]) -> None:
        self._spent = spent
        self._last = time.process_time()

    def lap(self, part: str) -> None:
        now = time.process_time()
        self._spent[part] += now - self._last
        self._last = now


async def parts(running: Stack, photo: Path, count: int) -> dict[str, float]:
    """CPU seconds an image of each step, of the process that takes it: medians of rounds, `count` images in all."""
    async with AsyncExitStack() as exits:
        channel = await metadata_adapter.channel(exits, f"ipv4:127.0.0.1:{running.metadata_port}")
        sandbox = await exits.enter_async_context(await Sandbox.start())
        steps = Steps(running, GrpcMetadata(channel, 5.0), sandbox)
        content = photo.read_bytes()
        greeting = await running.place.queue.receive(most=1, wait=5, visibility=LEASE)  # S3's test event
        await running.place.queue.delete([message.receipt for message in greeting])
        for _ in range(count // _ROUND + 1):
            await steps.round(content)
        return {part: statistics.median(values[1:]) for part, values in steps.cpu.items()}
