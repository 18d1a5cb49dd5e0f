"""What the reconciler is told: a row against the objects of its image, both ways. Pure, one row at a time.

An object that no row needs goes. An object that its row still awaits is given to the workers. An object that a row
names and S3 does not have is made again, or no longer named. Whatever is young is left alone: it may be in the hands of
a worker, or its message in the queue.
"""

from __future__ import annotations

from collections.abc import Collection
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from uuid import UUID

from metadata_svc.domain.decision import Decision, booked, change, changed
from metadata_svc.domain.events import PROCESS, Message
from metadata_svc.domain.image import SETTLED, Image, State
from metadata_svc.domain.keys import original_key
from metadata_svc.domain.rules import Rules


@dataclass(frozen=True, slots=True)
class Standing:
    """As much of a row as the comparison needs. `variants` are keys."""

    tenant_id: UUID
    id: UUID
    state: State
    updated_at: datetime
    upload_expires_at: datetime
    original_removed_at: datetime | None
    variants: frozenset[str]

    @property
    def original(self) -> str:
        """Key of the original, whether it is there or not."""
        return original_key(self.tenant_id, self.id)


class Verdict(Enum):
    """What is to be done about an object."""

    KEEP = "keep"
    REMOVE = "remove"
    ORDER = "order"


class Outcome(Enum):
    """What comes of objects that a row names and that are not there."""

    NONE = "none"
    REMADE = "remade"
    FORGOTTEN = "forgotten"


def on_original(row: Standing | None, age: timedelta, minimum_age: timedelta) -> Verdict:
    """On an original that has been there for `age`."""
    if row is None or row.state in (State.DELETED, State.EXPIRED) or row.original_removed_at is not None:
        return Verdict.REMOVE
    if row.state is State.AWAITING_UPLOAD and age >= minimum_age:
        return Verdict.ORDER
    return Verdict.KEEP


def on_variant(row: Standing | None, key: str, now: datetime, rules: Rules) -> Verdict:
    """On an object under an image's media prefix."""
    if row is None or row.state in (State.AWAITING_UPLOAD, State.EXPIRED, State.DELETED):
        return Verdict.REMOVE
    if row.state is State.PROCESSING or key in row.variants:
        return Verdict.KEEP
    # Another set has taken its place; URLs that were signed for it may still be in use.
    return Verdict.REMOVE if row.updated_at + rules.superseded_after <= now else Verdict.KEEP


def on_upload(row: Standing | None, age: timedelta, minimum_age: timedelta, now: datetime, rules: Rules) -> Verdict:
    """On a multipart upload that was begun `age` ago and is not complete."""
    if age < minimum_age:
        return Verdict.KEEP
    if row is not None and row.state is State.AWAITING_UPLOAD and now < row.upload_expires_at + rules.upload_grace:
        return Verdict.KEEP
    return Verdict.REMOVE


def missing_original(row: Standing, there: AbstractSet[str], now: datetime, minimum_age: timedelta) -> bool:
    """Whether the row says that its original is kept, and it is not `there`."""
    return _rests(row, now, minimum_age) and row.original_removed_at is None and row.original not in there


def missing_variants(row: Standing, there: AbstractSet[str], now: datetime, minimum_age: timedelta) -> frozenset[str]:
    """The variants that a READY row names and that are not `there`."""
    if row.state is not State.READY or not _rests(row, now, minimum_age):
        return frozenset()
    return row.variants - there


def hasten(image: Image | None, now: datetime) -> Decision[bool]:
    """Lets the sweeper give an image to the workers now whose upload is there and unnoticed. False: it is at it."""
    if image is None or image.state is not State.AWAITING_UPLOAD:
        return Decision(False)
    if image.due_at is not None and image.due_at <= now:
        return Decision(False)
    return Decision(True, change(image, booked(image, due_at=now)))


def record_missing_original(image: Image | None, now: datetime) -> Decision[Outcome]:
    """Records as removed what is not there."""
    if image is None or image.state not in SETTLED or image.original_removed_at is not None:
        return Decision(Outcome.NONE)
    after = changed(image, now, original_removed_at=now, due_at=None)
    return Decision(Outcome.FORGOTTEN, change(image, after))


def record_missing_variants(
    image: Image | None, keys: Collection[str], now: datetime, rules: Rules
) -> Decision[Outcome]:
    """Takes lost variants out of the row, and has them made again where the original is there."""
    if image is None or image.state is not State.READY:
        return Decision(Outcome.NONE)
    left = tuple(variant for variant in image.variants if variant.key not in keys)
    if len(left) == len(image.variants):
        return Decision(Outcome.NONE)
    if image.original_removed_at is not None:
        return Decision(Outcome.FORGOTTEN, change(image, changed(image, now, variants=left)))
    after = changed(
        image,
        now,
        state=State.PROCESSING,
        variants=left,
        ready_at=None,
        counted=0,
        held_until=None,
        due_at=now + rules.stuck_after,
    )
    return Decision(Outcome.REMADE, change(image, after, Message(PROCESS)))


def _rests(row: Standing, now: datetime, minimum_age: timedelta) -> bool:
    """Whether the row has a verdict, and has been as it is for long enough."""
    return row.state in SETTLED and row.updated_at + minimum_age <= now
