"""Asks what is to become of what lies in the buckets, and does it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import ParamSpec, TypeVar

import structlog

from image_svc.reconcile.listing import stretches
from image_svc.reconcile.model import (
    Bucket,
    Missing,
    Object,
    Outcome,
    Page,
    Report,
    Upload,
    UploadPage,
    Verdict,
    Version,
)
from image_svc.reconcile.ports import Backlog, Inventory, Judge
from image_svc.reconcile.versions import superfluous
from image_svc.worker.patience import patiently

_P = ParamSpec("_P")
_T = TypeVar("_T")

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Limits:
    """As `ReconcileSettings` explains them; times are seconds."""

    page: int
    rate: float
    minimum_age: float
    deletions: int
    repairs: int
    backlog: int
    patience: float


class _Stopped(Exception):  # noqa: N818 - a decision, not an error
    """A budget is spent: more would be to do than a sound system ever has."""


class Reconciler:
    """One run. With `dry_run` it looks and asks, and changes nothing."""

    def __init__(self, inventory: Inventory, judge: Judge, backlog: Backlog, limits: Limits, *, dry_run: bool) -> None:
        self._inventory = inventory
        self._judge = judge
        self._backlog = backlog
        self._limits = limits
        self._minimum_age = timedelta(seconds=limits.minimum_age)
        self._deletions = limits.deletions
        self._repairs = limits.repairs
        self._next_page = 0.0
        self._give_orders = False
        self.report = Report(dry_run)

    async def run(self) -> Report:
        """Goes through everything once. The report says if a budget ended it early; raises `Unreachable`."""
        waiting = await self._tried(self._backlog.waiting)
        self._give_orders = waiting <= self._limits.backlog
        try:
            await self._uploads()
            for bucket in Bucket:
                await self._objects(bucket)
        except _Stopped as reason:
            self.report.stopped = str(reason)
        return self.report

    async def _uploads(self) -> None:
        # The next page is asked for by the last upload of this one, which must not be gone by then.
        page: UploadPage | None = await self._tried(self._inventory.uploads, None, self._limits.page)
        while page is not None:
            await self._pace(len(page.uploads))
            after = page.after
            following = None if after is None else await self._tried(self._inventory.uploads, after, self._limits.page)
            if page.uploads:
                await self._judge_uploads(page.uploads)
            page = following

    async def _judge_uploads(self, uploads: Sequence[Upload]) -> None:
        now = datetime.now(UTC)
        aged = [(upload, (now - upload.begun).total_seconds()) for upload in uploads]
        verdicts = await self._tried(self._judge.compare_uploads, aged, minimum_age=self._limits.minimum_age)
        for upload, verdict in zip(uploads, verdicts, strict=True):
            if verdict is Verdict.REMOVE:
                self._spend_deletions(1)
                if not self.report.dry_run:
                    await self._tried(self._inventory.abort, upload)
                self.report.uploads_aborted += 1
                _log.info("upload aborted", key=upload.key, upload_id=upload.id)

    async def _objects(self, bucket: Bucket) -> None:
        async def page(after: tuple[str, str] | None) -> Page:
            found = await self._tried(self._inventory.page, bucket, after, self._limits.page)
            self.report.versions += len(found.versions)
            await self._pace(len(found.versions))
            return found

        position = ""
        async for objects, last in stretches(page):
            position = await self._stretch(bucket, position, objects, last=last)

    async def _stretch(self, bucket: Bucket, position: str, objects: Sequence[Object], *, last: bool) -> str:
        """Puts one stretch right, call by call, where there are more rows to it than one call reads."""
        report = self.report
        now = datetime.now(UTC)
        bare = [found for found in objects if not found.there]
        litter = [version for found in bare for version in self._old(found, Verdict.REMOVE, now)]
        await self._remove(bucket, litter)
        report.versions_removed += len(litter)
        left = [(found, (now - found.modified).total_seconds()) for found in objects if found.there]
        while True:
            comparison = await self._tried(
                self._judge.compare,
                bucket,
                position,
                left,
                last=last,
                minimum_age=self._limits.minimum_age,
                give_orders=self._give_orders,
                dry_run=report.dry_run,
            )
            goes: list[Version] = []
            undecided = []
            for (found, age), verdict in zip(left, comparison.verdicts, strict=True):
                match verdict:
                    case Verdict.UNDECIDED:
                        undecided.append((found, age))
                        continue
                    case Verdict.ORDERED:
                        report.ordered += 1
                old = self._old(found, verdict, now)
                goes += old
                if verdict is not Verdict.REMOVE:
                    report.versions_removed += len(old)
                elif old and bucket is Bucket.INCOMING:
                    report.originals_removed += 1
                elif old:
                    report.variants_removed += 1
            await self._remove(bucket, goes)
            for missing in comparison.missing:
                await self._missing(bucket, missing)
            left, position = undecided, comparison.position
            if comparison.done:
                return position

    def _old(self, found: Object, verdict: Verdict, now: datetime) -> list[Version]:
        return superfluous(found, verdict, now, self._minimum_age)

    async def _remove(self, bucket: Bucket, versions: Sequence[Version]) -> None:
        if not versions:
            return
        self._spend_deletions(len(versions))
        if not self.report.dry_run:
            await self._tried(self._inventory.remove, bucket, versions)
        for version in versions:
            _log.info(
                "object would be removed" if self.report.dry_run else "object removed",
                bucket=bucket.name,
                key=version.key,
                version=version.id,
            )

    async def _missing(self, bucket: Bucket, missing: Missing) -> None:
        """Looks again, one by one: a listing is older than the row that it was compared with."""
        lost = [key for key in missing.keys if not await self._tried(self._inventory.has, bucket, key)]
        if not lost:
            return
        if self._repairs == 0:
            raise _Stopped(f"more than {self._limits.repairs} rows name objects that are not there")
        self._repairs -= 1
        found = Missing(missing.tenant_id, missing.image_id, tuple(lost))
        outcome = await self._tried(self._judge.record_missing, bucket, found, dry_run=self.report.dry_run)
        if outcome is Outcome.REMADE:
            self.report.remade += 1
        elif outcome is Outcome.FORGOTTEN:
            self.report.forgotten += 1

    async def _tried(self, call: Callable[_P, Awaitable[_T]], *arguments: _P.args, **named: _P.kwargs) -> _T:
        return await patiently(lambda: call(*arguments, **named), self._limits.patience)

    def _spend_deletions(self, count: int) -> None:
        if count > self._deletions:
            raise _Stopped(f"more than {self._limits.deletions} removals would be needed")
        self._deletions -= count

    async def _pace(self, count: int) -> None:
        """Waits until looking at so many more is within the rate."""
        now = time.monotonic()
        await asyncio.sleep(max(0.0, self._next_page - now))
        self._next_page = max(now, self._next_page) + count / self._limits.rate
