"""S3, SQS, metadata_svc and the sandbox as image_svc sees them, in memory, with their rules.

Each call passes two points, before and after its effect, at which a test can look, wait or strike. Several workers
can share one world; one that is dead has no more effects.
"""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import json
import os
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from image_svc.domain.model import (
    Attempt,
    Busy,
    Job,
    Message,
    Problem,
    Ready,
    Registered,
    Rendering,
    Retry,
    Settled,
    StoredVariant,
    Verdict,
)
from image_svc.pipeline.presets import Preset, default_presets
from image_svc.pipeline.types import Facts, Format, Used
from image_svc.ports import ObjectMissing, Original, ReceiptLost, StaleAttempt
from image_svc.sandbox import Developed, DevelopedVariant
from runtime.errors import DarkroomError, Kind

TENANT = "0190aaaa-0000-7000-8000-000000000001"
INCOMING = "incoming-test"
MAX_ATTEMPTS = 5
LATENCY = 0.01  # seconds of every call


@dataclass
class Row:
    """An image in metadata_svc."""

    image_id: str
    size: int
    sha256: bytes = b""
    content_type: str = "image/jpeg"
    presets: tuple[str, ...] = ()
    state: str = "AWAITING_UPLOAD"
    attempts: int = 0  # those that count
    attempt: int = 0  # the fence
    leased_until: float = 0.0
    verdict: Verdict | None = None
    problem: Problem | None = None
    original_removed: bool = False
    ordered_at: float = 0.0  # when the processing was last asked for anew
    purged: bool = False

    @property
    def key(self) -> str:
        return f"incoming/{TENANT}/{self.image_id}"

    @property
    def prefix(self) -> str:
        return f"media/{TENANT}/{self.image_id}/"


@dataclass
class Letter:
    """A message in the queue."""

    id: str
    body: str
    visible_at: float = 0.0
    receives: int = 0
    receipt: str = ""
    sent_at: float = field(default_factory=time.monotonic)
    hidden_for: list[float] = field(default_factory=list)


class World:
    """Everything outside of image_svc."""

    def __init__(self) -> None:
        self.rows: dict[str, Row] = {}
        self.originals: dict[str, bytes] = {}
        self.variants: dict[str, tuple[bytes, str]] = {}
        self.letters: dict[str, Letter] = {}
        self.history: list[str] = []
        self.dead: set[str] = set()
        self._frozen: dict[str, asyncio.Event] = {}
        self.strike: Callable[[str, str], Any] = lambda worker, point: None
        self.faults: dict[str, list[BaseException]] = {}
        self.delays: dict[str, list[float]] = {}
        self.poison: dict[bytes, list[BaseException]] = {}  # how the developing of this content ends, try by try
        self.develop_seconds = 1.0
        self.developing = 0
        self.most_developing = 0
        self.overlaps: list[int] = []
        self._ids = itertools.count(1)
        self._arrived = asyncio.Event()

    def register(self, content: bytes = b"photo", *, upload: bool = True, announced: bool = True, **row: Any) -> Row:
        """An image; uploaded, with its event on the queue, unless told otherwise."""
        number = next(self._ids)
        image_id = f"0190bbbb-0000-7000-8000-{number:012d}"
        row.setdefault("size", len(content))
        new = Row(image_id, sha256=hashlib.sha256(content).digest() if announced else b"", **row)
        self.rows[image_id] = new
        if upload:
            self.originals[new.key] = content
            self.post(event(new.key))
        return new

    def post(self, body: str) -> Letter:
        letter = Letter(f"m{next(self._ids)}", body)
        self.letters[letter.id] = letter
        self._arrived.set()
        return letter

    def order(self, row: Row, task: str) -> Letter:
        return self.post(
            json.dumps(
                {
                    "schema": f"darkroom.{task}/1",
                    "tenant_id": TENANT,
                    "image_id": row.image_id,
                    "original_key": row.key,
                    "media_prefix": row.prefix,
                }
            )
        )

    def of_key(self, key: str) -> Row | None:
        return next((row for row in self.rows.values() if row.key == key), None)

    def variants_of(self, row: Row) -> dict[str, bytes]:
        return {key: body for key, (body, _) in self.variants.items() if key.startswith(row.prefix)}

    async def point(self, worker: str, name: str) -> None:
        """An await point: a dead worker never gets past one."""
        if worker in self.dead:
            await asyncio.Event().wait()
        self.history.append(name)
        self.strike(worker, name)
        await asyncio.sleep(LATENCY / 2)
        if worker in self._frozen:
            await self._frozen[worker].wait()
        if worker in self.dead:
            await asyncio.Event().wait()

    def freeze(self, worker: str) -> None:
        """From now on none of its calls gets anywhere, until `thaw`."""
        self._frozen[worker] = asyncio.Event()

    def thaw(self, worker: str) -> None:
        self._frozen.pop(worker).set()

    @asynccontextmanager
    async def call(self, worker: str, name: str) -> AsyncIterator[None]:
        await self.point(worker, f"{name}:before")
        if self.delays.get(name):
            await asyncio.sleep(self.delays[name].pop(0))
        faults = self.faults.get(name)
        if faults:
            raise faults.pop(0)
        yield
        await self.point(worker, f"{name}:after")

    async def wait_for_letter(self, seconds: float) -> None:
        self._arrived.clear()
        now = time.monotonic()
        due = min((letter.visible_at for letter in self.letters.values()), default=now + seconds)
        try:
            async with asyncio.timeout(min(seconds, max(due - now, LATENCY))):
                await self._arrived.wait()
        except TimeoutError:
            return


def event(key: str, bucket: str = INCOMING) -> str:
    """An S3 event as LocalStack and S3 send it."""
    return json.dumps(
        {
            "Records": [
                {
                    "eventVersion": "2.1",
                    "eventSource": "aws:s3",
                    "eventName": "ObjectCreated:Put",
                    "s3": {"bucket": {"name": bucket}, "object": {"key": key, "size": 1}},
                }
            ]
        }
    )


class FakeQueue:
    """SQS: at least once, visibility, receipts."""

    def __init__(self, world: World, worker: str = "w1") -> None:
        self.world = world
        self.worker = worker

    async def receive(self, *, most: int, wait: float, visibility: float) -> list[Message]:
        world = self.world
        async with world.call(self.worker, "receive"):
            until = time.monotonic() + wait
            while True:
                now = time.monotonic()
                due = [letter for letter in world.letters.values() if letter.visible_at <= now][:most]
                if due or now >= until:
                    break
                await world.wait_for_letter(until - now)
            for letter in due:
                letter.receives += 1
                letter.visible_at = now + visibility
                letter.receipt = f"{letter.id}/{letter.receives}"
            return [Message(letter.id, letter.receipt, letter.body, letter.receives, letter.sent_at) for letter in due]

    async def delete(self, receipts: Sequence[str]) -> list[str]:
        world = self.world
        async with world.call(self.worker, "delete"):
            for receipt in receipts:
                letter = world.letters.pop(receipt.partition("/")[0], None)
                if letter is not None:
                    world.history.append(f"deleted {letter.id}")
            return []

    async def keep(self, receipt: str, seconds: float) -> None:
        world = self.world
        async with world.call(self.worker, "keep"):
            letter = world.letters.get(receipt.partition("/")[0])
            if letter is None or letter.receipt != receipt or letter.visible_at <= time.monotonic():
                raise ReceiptLost(receipt)
            letter.visible_at = time.monotonic() + seconds
            letter.hidden_for.append(seconds)
            if seconds == 0:
                world._arrived.set()

    async def send(self, body: str) -> str:
        async with self.world.call(self.worker, "send"):
            return self.world.post(body).id


class _FakeOriginal:
    def __init__(self, content: bytes) -> None:
        self.size = len(content)
        self._content = content

    async def chunks(self) -> AsyncIterator[bytes]:
        for start in range(0, len(self._content), 2):
            yield self._content[start : start + 2]


class FakeStore:
    """S3: the two buckets."""

    def __init__(self, world: World, worker: str = "w1") -> None:
        self.world = world
        self.worker = worker

    @asynccontextmanager
    async def original(self, key: str) -> AsyncIterator[Original]:
        async with self.world.call(self.worker, "get"):
            if key not in self.world.originals:
                raise ObjectMissing(key)
            content = self.world.originals[key]
        yield _FakeOriginal(content)

    async def has_original(self, key: str) -> bool:
        async with self.world.call(self.worker, "head"):
            return key in self.world.originals

    async def has_variant(self, key: str) -> bool:
        async with self.world.call(self.worker, "head_variant"):
            return key in self.world.variants

    async def put_variant(self, key: str, body: bytes, content_type: str) -> int:
        async with self.world.call(self.worker, "put"):
            known = self.world.variants.setdefault(key, (body, content_type))
            assert known == (body, content_type), "the same key got other bytes"
            return len(known[0])

    async def remove_original(self, key: str) -> None:
        async with self.world.call(self.worker, "remove_original"):
            self.world.originals.pop(key, None)

    async def remove_variants(self, prefix: str) -> None:
        async with self.world.call(self.worker, "remove_variants"):
            for key in [key for key in self.world.variants if key.startswith(prefix)]:
                del self.world.variants[key]


class FakeMetadata:
    """metadata_svc: fenced attempts, counted in the row."""

    def __init__(self, world: World, worker: str = "w1") -> None:
        self.world = world
        self.worker = worker

    async def begin(self, key: str, lease: float) -> Job | Settled | Busy:
        async with self.world.call(self.worker, "begin"):
            row = self.world.of_key(key)
            if row is None or row.state in {"DELETED", "EXPIRED"} or row.original_removed:
                return Settled(True, row.prefix if row and row.state == "DELETED" else "")
            if row.state in {"READY", "REJECTED", "FAILED"}:
                return Settled(False, "")
            now = time.monotonic()
            if row.leased_until > now:
                return Busy(row.leased_until - now)
            if row.attempts >= MAX_ATTEMPTS:
                row.state = "FAILED"
                return Settled(False, "")
            row.state = "PROCESSING"
            row.attempts += 1
            row.attempt += 1
            row.leased_until = now + lease
            return Job(
                Attempt(TENANT, row.image_id, row.attempt),
                row.content_type,
                row.size,
                row.sha256,
                row.presets,
                row.prefix,
                "",
                row.verdict if isinstance(row.verdict, Ready) else None,
            )

    def _own(self, attempt: Attempt) -> Row:
        row = self.world.rows[attempt.image_id]
        if row.state != "PROCESSING" or row.attempt != attempt.number or row.leased_until == 0:
            raise StaleAttempt(f"attempt {attempt.number} of {attempt.image_id}")
        return row

    async def renew(self, attempt: Attempt, lease: float) -> None:
        async with self.world.call(self.worker, "renew"):
            self._own(attempt).leased_until = time.monotonic() + lease

    async def finish(self, attempt: Attempt, verdict: Verdict) -> None:
        async with self.world.call(self.worker, "finish"):
            row = self._own(attempt)
            if isinstance(verdict, Ready):
                missing = [one.key for one in verdict.variants if one.key not in self.world.variants]
                assert not missing, f"READY before its variants are there: {missing}"
                row.state = "READY"
            else:
                row.state = "REJECTED"
                row.problem = verdict
            row.verdict = verdict
            self.world.history.append(f"settled {row.image_id}")

    async def fail(self, attempt: Attempt, problem: Problem, *, final: bool) -> Retry | None:
        async with self.world.call(self.worker, "fail"):
            row = self._own(attempt)
            row.leased_until = 0
            if final or row.attempts >= MAX_ATTEMPTS:
                row.state = "FAILED"
                row.problem = problem
                return None
            return Retry(2.0**row.attempts)

    async def hand_back(self, attempt: Attempt) -> None:
        async with self.world.call(self.worker, "hand_back"):
            row = self._own(attempt)
            row.leased_until = 0
            row.attempts -= 1

    async def begin_rendering(
        self, tenant_id: str, image_id: str, preset: str, lease: float
    ) -> Rendering | StoredVariant:
        async with self.world.call(self.worker, "begin_rendering"):
            row = self.world.rows.get(image_id)
            if row is None:
                raise DarkroomError(Kind.NOT_FOUND, "no such image")
            if row.state != "READY" or row.original_removed:
                raise DarkroomError(Kind.GONE if row.state == "DELETED" else Kind.WRONG_STATE, row.state)
            assert isinstance(row.verdict, Ready)
            for variant in row.verdict.variants:
                if variant.name == preset:
                    return variant
            return Rendering(
                Attempt(tenant_id, image_id, row.attempt),
                row.key,
                row.content_type,
                row.size,
                row.verdict.sha256,
                row.prefix,
            )

    async def record_variant(self, attempt: Attempt, variant: StoredVariant) -> StoredVariant:
        async with self.world.call(self.worker, "record_variant"):
            row = self.world.rows[attempt.image_id]
            if row.state != "READY" or row.attempt != attempt.number:
                raise StaleAttempt(row.state)
            assert isinstance(row.verdict, Ready)
            assert variant.key in self.world.variants, "recorded before it is there"
            for known in row.verdict.variants:
                if known.name == variant.name:
                    return known
            row.verdict = replace(row.verdict, variants=(*row.verdict.variants, variant))
            return variant

    async def abandon(self, key: str, problem: Problem, sent_at: float) -> None:
        async with self.world.call(self.worker, "abandon"):
            row = self.world.of_key(key)
            if row is not None and row.state == "PROCESSING" and sent_at >= row.ordered_at:
                row.state = "FAILED"
                row.problem = problem

    async def expire_upload(self, tenant_id: str, image_id: str) -> None:
        async with self.world.call(self.worker, "expire_upload"):
            row = self.world.rows[image_id]
            if row.state == "AWAITING_UPLOAD":
                row.state = "EXPIRED"

    async def record_original_removal(self, tenant_id: str, image_id: str) -> None:
        async with self.world.call(self.worker, "record_original_removal"):
            row = self.world.rows[image_id]
            assert row.key not in self.world.originals, "recorded as removed while it is there"
            row.original_removed = True

    async def record_purge(self, tenant_id: str, image_id: str) -> None:
        async with self.world.call(self.worker, "record_purge"):
            self.world.rows[image_id].purged = True

    async def registered(self, tenant_id: str, image_id: str) -> Registered | None:
        async with self.world.call(self.worker, "registered"):
            row = self.world.rows.get(image_id)
            if row is None:
                return None
            return Registered(
                row.key,
                awaits_upload=row.state == "AWAITING_UPLOAD",
                expired=row.state == "EXPIRED",
                deleted=row.state == "DELETED",
                original_removed=row.original_removed,
            )


class FakeDeveloper:
    """The sandbox: takes its time and makes bytes that depend on the source and the preset alone."""

    build = "build-1"

    def __init__(self, world: World, worker: str = "w1") -> None:
        self.world = world
        self.worker = worker

    async def develop(self, source_fd: int, announced_content_type: str | None, presets: Sequence[Preset]) -> Developed:
        world = self.world
        world.developing += 1
        world.most_developing = max(world.most_developing, world.developing)
        world.overlaps.append(world.developing)
        try:
            async with world.call(self.worker, "develop"):
                await asyncio.sleep(world.develop_seconds)
                content = os.pread(source_fd, 1 << 20, 0)
                if world.poison.get(content):
                    raise world.poison[content].pop(0)
                return Developed(
                    Facts(Format.JPEG, 4, 3, 1, b"thumb", "#808080", 7),
                    tuple(_variant(content, preset) for preset in presets),
                    Used(cpu_seconds=0.1, wall_seconds=0.1, peak_memory=1),
                )
        finally:
            world.developing -= 1


def _variant(content: bytes, preset: Preset) -> DevelopedVariant:
    body = hashlib.sha256(content + preset.name.encode()).digest()
    fd = os.memfd_create("variant")
    os.write(fd, body)
    return DevelopedVariant(preset.name, "image/webp", "webp", preset.width, preset.height, len(body), fd=fd)


PRESETS = default_presets()
