"""Makes one variant of an image that is READY, on demand.

The bytes go where the worker would have put them (`image_svc.variants.key_of`), so that two tasks which make the same
variant at once do no harm; within one task, the second waits for the first. The row takes the variant only if the image
is still the one that it was made of.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

import structlog

from image_svc import variants
from image_svc.domain.model import Rendering, StoredVariant
from image_svc.pipeline.presets import Preset
from image_svc.ports import Developer, Metadata, ObjectStore, StaleAttempt, Unreachable
from image_svc.presets import Presets
from image_svc.render.turns import Turns
from image_svc.sandbox import Developed, Killed, SandboxError, TimedOut
from image_svc.worker.source import Sources

_log = structlog.get_logger(__name__)


class UnknownPreset(Exception):  # noqa: N818 - what the caller asked for
    """There is no preset of this name."""


class NotMade(Exception):  # noqa: N818 - says what became of it
    """The variant could not be made, through no fault of the file: another try may."""


@dataclass(frozen=True, slots=True)
class RenderLimits:
    """Seconds: of one rendering once it has a slot, and beyond them, in which a write under way may still arrive."""

    render: float
    margin: float


class Renderer:
    """Renders presets. `turns` bounds how many at a time, and how many wait."""

    def __init__(
        self,
        metadata: Metadata,
        store: ObjectStore,
        developer: Developer,
        presets: Presets,
        *,
        turns: Turns,
        limits: RenderLimits,
    ) -> None:
        self._metadata = metadata
        self._store = store
        self._developer = developer
        self._presets = presets
        self._turns = turns
        self._limits = limits
        self._sources = Sources()
        self._running: dict[tuple[str, str, Preset], asyncio.Task[StoredVariant]] = {}

    async def render(self, tenant_id: str, image_id: str, name: str) -> StoredVariant:
        """The image's variant of that preset. A caller that goes away leaves the work to whoever asks next.

        Raises `UnknownPreset`, `PresetsUncertain`, `QueueFull`, `Rejected`, `ObjectMissing`, `StaleAttempt`,
        `Unreachable`, `NotMade`, and `DarkroomError` for an image that is not there or not READY.
        """
        found = await self._presets.find([name])
        if not found:
            raise UnknownPreset(name)
        key = (tenant_id, image_id, found[0])
        task = self._running.get(key)
        if task is None:
            task = asyncio.create_task(self._rendered(tenant_id, image_id, found[0]), name=f"render {image_id} {name}")
            self._running[key] = task
            task.add_done_callback(lambda done: self._ended(key, done))
        return await asyncio.shield(task)

    async def close(self) -> None:
        """Ends what is under way: its callers are gone, or told to come again."""
        tasks = list(self._running.values())
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def _ended(self, key: tuple[str, str, Preset], task: asyncio.Task[StoredVariant]) -> None:
        self._running.pop(key, None)
        if not task.cancelled():
            task.exception()  # whoever asked may have gone

    async def _rendered(self, tenant_id: str, image_id: str, preset: Preset) -> StoredVariant:
        asked = time.monotonic()
        with structlog.contextvars.bound_contextvars(tenant_id=tenant_id, image_id=image_id, preset=preset.name):
            async with self._turns.one(tenant_id):
                started = time.monotonic()
                try:
                    async with asyncio.timeout(self._limits.render):
                        stored = await self._made(tenant_id, image_id, preset)
                except TimeoutError as error:
                    raise NotMade("rendering took too long") from error
            _log.info(
                "variant rendered",
                wait_ms=round((started - asked) * 1000, 1),
                render_ms=round((time.monotonic() - started) * 1000, 1),
                size=stored.size,
            )
            return stored

    async def _made(self, tenant_id: str, image_id: str, preset: Preset) -> StoredVariant:
        lease = self._limits.render + self._limits.margin
        begun = await self._metadata.begin_rendering(tenant_id, image_id, preset.name, lease)
        if isinstance(begun, StoredVariant):
            return begun
        with self._sources.one() as source:
            async with self._store.original(begun.original_key) as original:
                await source.fill(original, size=begun.size, sha256=begun.sha256)
            with await self._developed(begun, source.fd, preset) as developed:
                key = variants.key_of(begun.media_prefix, preset, sha256=source.sha256, build=self._developer.build)
                stored = await variants.store(self._store, key, developed.variants[0])
        try:
            return await self._metadata.record_variant(begun.attempt, stored)
        except StaleAttempt:
            await self._tidy(begun)
            raise

    async def _developed(self, begun: Rendering, fd: int, preset: Preset) -> Developed:
        try:
            return await self._developer.develop(fd, begun.content_type, [preset])
        except (TimedOut, Killed) as error:
            _log.warning("not rendered; once more", reason=repr(error))
        try:
            return await self._developer.develop(fd, begun.content_type, [preset])
        except (TimedOut, Killed, SandboxError) as error:
            raise NotMade("rendering was cut off") from error

    async def _tidy(self, begun: Rendering) -> None:
        """A deletion that overtook us may have purged before our variant was there. It purges once more after our
        lease; this only makes it sooner.
        """
        try:
            known = await self._metadata.registered(begun.attempt.tenant_id, begun.attempt.image_id)
            if known is None or known.deleted:
                await self._store.remove_variants(begun.media_prefix)
        except Unreachable as error:
            _log.warning("rendering not tidied up", reason=str(error))
