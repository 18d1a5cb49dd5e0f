"""What the reconciler needs from outside. Every call raises `Unreachable` where it gets no sound answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from image_svc.reconcile.model import (
    Bucket,
    Comparison,
    Missing,
    Object,
    Outcome,
    Page,
    Upload,
    UploadPage,
    Verdict,
    Version,
)


class Inventory(Protocol):
    """What lies in the buckets."""

    async def page(self, bucket: Bucket, after: tuple[str, str] | None, most: int) -> Page:
        """Some versions of objects, beyond `after`."""
        ...

    async def uploads(self, after: tuple[str, str] | None, most: int) -> UploadPage:
        """Some multipart uploads to the incoming bucket, beyond `after`."""
        ...

    async def has(self, bucket: Bucket, key: str) -> bool:
        """Whether an object is there now."""
        ...

    async def remove(self, bucket: Bucket, versions: Sequence[Version]) -> None:
        """Removes these versions. Harmless where one is gone."""
        ...

    async def abort(self, upload: Upload) -> None:
        """Aborts a multipart upload. Harmless where it is gone."""
        ...


class Judge(Protocol):
    """metadata_svc. Ages are seconds."""

    async def compare(
        self,
        bucket: Bucket,
        position: str,
        objects: Sequence[tuple[Object, float]],
        *,
        last: bool,
        minimum_age: float,
        give_orders: bool,
        dry_run: bool,
    ) -> Comparison:
        """Compares the next objects, each with its age, with the rows from `position` on."""
        ...

    async def compare_uploads(
        self, uploads: Sequence[tuple[Upload, float]], *, minimum_age: float
    ) -> Sequence[Verdict]:
        """A verdict, KEEP or REMOVE, for each upload, given with its age."""
        ...

    async def record_missing(self, bucket: Bucket, missing: Missing, *, dry_run: bool) -> Outcome:
        """Records that S3 does not have what a row names."""
        ...


class Backlog(Protocol):
    """The image queue."""

    async def waiting(self) -> int:
        """About how many messages wait in it."""
        ...
