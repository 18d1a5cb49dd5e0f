"""One attempt at one image: fetch, develop, store, record; the message goes last.

A worker may die between any two of these steps. Keys are made from content, so that a repeated run writes the same
bytes under the same keys; the row that makes them visible is written once all are there, by the newest attempt only.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from functools import partial

import structlog

from image_svc import variants
from image_svc.domain import problems
from image_svc.domain.model import (
    Busy,
    Disposition,
    Done,
    Job,
    Later,
    Problem,
    Ready,
    Settled,
    StoredVariant,
    Verdict,
    registered_at,
)
from image_svc.pipeline.presets import Preset
from image_svc.pipeline.types import Rejected, Used
from image_svc.ports import Developer, Metadata, ObjectMissing, ObjectStore, StaleAttempt, Unreachable
from image_svc.presets import Presets
from image_svc.sandbox import Developed, DevelopedVariant, Killed, SandboxError, TimedOut
from image_svc.worker.hold import Hold, Interrupted, Why
from image_svc.worker.patience import patiently, seen_through
from image_svc.worker.slots import Slots
from image_svc.worker.source import Source, Sources
from runtime import trace

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class JobLimits:
    """Seconds: of one whole attempt, and of waiting for a dependency that does not answer."""

    job: float
    patience: float


class _GivenUp(Exception):  # noqa: N818 - a decision of ours
    """What was retried alone failed alone, too: another attempt would only repeat it."""


class _Stages:
    """How long each stage of a job took, in milliseconds, and what the sandbox's child used, for the job's log line."""

    def __init__(self) -> None:
        self.figures: dict[str, float] = {}
        self._last = time.monotonic()

    def end(self, name: str) -> None:
        """The stage that ended just now."""
        now = time.monotonic()
        self.figures[f"{name}_ms"] = round((now - self._last) * 1000, 1)
        self._last = now

    def used(self, used: Used) -> None:
        """What the child used that gave a verdict."""
        self.figures["child_cpu_seconds"] = round(used.cpu_seconds, 4)
        self.figures["child_peak_bytes"] = used.peak_memory


class Jobs:
    """Processes uploaded objects. `slots` bounds how many are developed at a time."""

    def __init__(
        self,
        metadata: Metadata,
        store: ObjectStore,
        developer: Developer,
        presets: Presets,
        *,
        slots: Slots,
        limits: JobLimits,
    ) -> None:
        self._metadata = metadata
        self._store = store
        self._developer = developer
        self._presets = presets
        self._slots = slots
        self._limits = limits
        self._sources = Sources()

    async def process(self, key: str, hold: Hold) -> Disposition:
        """Makes an attempt at the object `key`, if one is due. Raises what concerns the message, not the image:
        `Interrupted`, `StaleAttempt`, `Unreachable`.
        """
        stages = _Stages()
        begun = await hold.interruptible(self._begin(key, hold))
        stages.end("begin")
        match begun:
            case Busy(retry_after):
                _log.info("another attempt is running", key=key, seconds=round(retry_after, 1))
                return Later(retry_after)
            case Settled():
                await hold.interruptible(self._tidy(key, begun))
                return Done()
            case Job():
                token = trace.current.set(trace.continued(begun.traceparent))
                hold.attempt = begun.attempt
                try:
                    with structlog.contextvars.bound_contextvars(
                        image_id=begun.attempt.image_id,
                        tenant_id=begun.attempt.tenant_id,
                        attempt=begun.attempt.number,
                    ):
                        return await self._attempt(begun, key, hold, stages)
                finally:
                    hold.attempt = None
                    trace.current.reset(token)

    async def _begin(self, key: str, hold: Hold) -> Job | Settled | Busy:
        # Not cut: an attempt that began unknown to us could not be handed back.
        return await patiently(
            lambda: seen_through(self._metadata.begin(key, hold.rhythm.lease)), self._limits.patience
        )

    async def _tidy(self, key: str, settled: Settled) -> None:
        _log.info("nothing to do", key=key, remove_object=settled.remove_object)
        if settled.remove_object:
            await patiently(lambda: self._store.remove_original(key), self._limits.patience)
        if settled.media_prefix:
            await patiently(lambda: self._store.remove_variants(settled.media_prefix), self._limits.patience)

    async def _attempt(self, job: Job, key: str, hold: Hold, stages: _Stages) -> Disposition:
        try:
            verdict = await hold.interruptible(self._verdict(job, key, stages))
        except Interrupted as order:
            await self._let_go(job, order.why)
            raise
        except Exception as error:
            final = isinstance(error, _GivenUp)
            problem = problems.failed(_cause(error))
            _log.warning("attempt failed", reason=problem.detail, final=final, exc_info=error, **stages.figures)
            return await self._report_failure(job, hold, problem, final=final)
        try:
            await hold.interruptible(
                patiently(lambda: seen_through(self._metadata.finish(job.attempt, verdict)), self._limits.patience)
            )
        except Interrupted as order:
            await self._let_go(job, order.why)
            raise
        except StaleAttempt:
            await self._let_go(job, Why.STALE)
            raise
        stages.end("record")
        if isinstance(verdict, Problem):
            _log.info("image rejected", reason=verdict.type, detail=verdict.detail, **stages.figures)
        else:
            _log.info("image ready", variants=len(verdict.variants), bytes=job.size, **stages.figures)
        return Done()

    async def _report_failure(self, job: Job, hold: Hold, problem: Problem, *, final: bool) -> Disposition:
        try:
            retry = await hold.interruptible(
                patiently(
                    lambda: seen_through(self._metadata.fail(job.attempt, problem, final=final)),
                    self._limits.patience,
                )
            )
        except Interrupted as order:
            await self._let_go(job, order.why)
            raise
        except StaleAttempt:
            await self._let_go(job, Why.STALE)
            raise
        return Done() if retry is None else Later(retry.after)

    async def _let_go(self, job: Job, why: Why) -> None:
        """Ends an attempt without a verdict. What goes wrong here costs time, not the image: the lease runs out."""
        try:
            if why is Why.DRAINING:
                await self._metadata.hand_back(job.attempt)
                return
            known = await self._metadata.registered(job.attempt.tenant_id, job.attempt.image_id)
            if known is None or known.deleted:
                # The deletion overtook us, and its purge may have been there before our variants were.
                await self._store.remove_variants(job.media_prefix)
        except (StaleAttempt, Unreachable) as error:
            _log.warning("attempt not tidied up", reason=str(error))
        except Exception:
            _log.exception("attempt not tidied up")

    async def _verdict(self, job: Job, key: str, stages: _Stages) -> Verdict:
        try:
            async with asyncio.timeout(self._limits.job):
                wanted = await self._wanted(job)
                there = await self._there(job, wanted)
                presets = [preset for preset in wanted if preset.name not in there]
                if job.before is not None and not presets:
                    stages.end("compare")
                    return Ready(job.before.facts, job.before.sha256, tuple(there[one.name] for one in wanted))
                with self._sources.one() as source:
                    await patiently(lambda: self._fetch(job, key, source), self._limits.patience)
                    stages.end("fetch")
                    with await self._develop(job, source.fd, presets, stages) as developed:
                        stages.used(developed.used)
                        made = await self._store_all(job, source.sha256, presets, developed)
                    stages.end("store")
                    have = there | {variant.name: variant for variant in made}
                    return Ready(developed.facts, source.sha256, tuple(have[preset.name] for preset in wanted))
        except Rejected as verdict:
            if verdict.used:
                stages.used(verdict.used)
            return problems.rejected(verdict.reason, verdict.detail)

    async def _wanted(self, job: Job) -> list[Preset]:
        """What was asked for, and what was rendered on demand since: what a tenant could fetch it still can."""
        wanted = self._presets.eager()
        if job.presets:
            wanted = await self._presets.find(job.presets, asked_at=registered_at(job.attempt.image_id))
        names = {preset.name for preset in wanted}
        had = [] if job.before is None else [variant.name for variant in job.before.variants]
        return wanted + self._presets.known(name for name in had if name not in names)

    async def _there(self, job: Job, wanted: list[Preset]) -> dict[str, StoredVariant]:
        """The variants of an earlier run that would come out the same, and lie where they should."""
        if job.before is None:
            return {}
        before = {variant.key: variant for variant in job.before.variants}
        found = {}
        for preset in wanted:
            key = variants.key_of(job.media_prefix, preset, sha256=job.before.sha256, build=self._developer.build)
            if key in before and await patiently(partial(self._store.has_variant, key), self._limits.patience):
                found[preset.name] = before[key]
        return found

    async def _fetch(self, job: Job, key: str, source: Source) -> None:
        async with self._store.original(key) as original:
            await source.fill(original, size=job.size, sha256=job.sha256)

    async def _develop(self, job: Job, fd: int, presets: list[Preset], stages: _Stages) -> Developed:
        async with self._slots.one():
            stages.end("wait")
            try:
                return await self._developer.develop(fd, job.content_type, presets)
            except (TimedOut, Killed) as error:
                _log.warning("not developed; once more, alone", reason=repr(error))
            finally:
                stages.end("develop")
        async with self._slots.all():
            try:
                return await self._developer.develop(fd, job.content_type, presets)
            except (TimedOut, Killed) as error:
                raise _GivenUp from error
            finally:
                stages.end("develop_alone")

    async def _store_all(
        self, job: Job, sha256: bytes, presets: list[Preset], developed: Developed
    ) -> tuple[StoredVariant, ...]:
        made = {variant.preset: variant for variant in developed.variants}
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self._store_one(job, sha256, one, made[one.name])) for one in presets]
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from None
        return tuple(task.result() for task in tasks)

    async def _store_one(self, job: Job, sha256: bytes, preset: Preset, made: DevelopedVariant) -> StoredVariant:
        key = variants.key_of(job.media_prefix, preset, sha256=sha256, build=self._developer.build)
        return await patiently(lambda: variants.store(self._store, key, made), self._limits.patience)


def _cause(error: Exception) -> str:
    """What a client may know of a failure of ours."""
    match error.__cause__ if isinstance(error, _GivenUp) else error:
        case ObjectMissing():
            return "The uploaded file was not there any more"
        case Unreachable():
            return "The storage did not answer"
        case TimedOut() | TimeoutError():
            return "Processing took too long"
        case Killed() | SandboxError():
            return "Processing was cut off"
        case _:
            return "Processing met an error of ours"
