"""The tenant-facing half of the state machine: what an owner may do with its image."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from metadata_svc.domain.decision import Decision, change, changed
from metadata_svc.domain.events import PROCESS, PURGE, Message, event_of
from metadata_svc.domain.image import Image, State
from metadata_svc.domain.rules import Rules
from runtime.errors import DarkroomError, Kind


@dataclass(frozen=True, slots=True)
class Deletion:
    """Names a removal; the same however often the image is deleted."""

    receipt: UUID
    deleted_at: datetime


def update(image: Image | None, tags: Mapping[str, str], expected_etag: str, now: datetime) -> Decision[Image]:
    """Replaces the tags, if the image still has the expected etag (empty: whatever it has)."""
    image = _alive(image)
    if expected_etag and expected_etag != image.etag:
        raise DarkroomError(Kind.ETAG_MISMATCH, f"the image has changed: its etag is {image.etag} now")
    if dict(image.tags) == dict(tags):
        return Decision(image)
    after = changed(image, now, tags=dict(tags))
    return Decision(after, change(image, after, tags=tags))


def renew_upload(image: Image | None, now: datetime, time_to_live: timedelta, rules: Rules) -> Decision[Image]:
    """Moves the upload deadline, never to an earlier time: an older ticket may still be good."""
    image = _alive(image)
    if image.state is not State.AWAITING_UPLOAD:
        raise DarkroomError(Kind.WRONG_STATE, f"the image is {image.state.name}; only one that awaits its upload can")
    expires_at = max(image.upload_expires_at, now + time_to_live)
    after = changed(image, now, upload_expires_at=expires_at, due_at=expires_at + rules.upload_grace)
    return Decision(after, change(image, after))


def reprocess(image: Image | None, now: datetime, rules: Rules) -> Decision[Image]:
    """Orders the processing of a READY or FAILED image anew. One in work stays as it is: it is what was asked for.

    Facts and variants stay, and can be fetched, until the new ones take their place.
    """
    image = _alive(image)
    if image.state is State.PROCESSING:
        return Decision(image)
    if image.state not in (State.READY, State.FAILED):
        raise DarkroomError(
            Kind.WRONG_STATE, f"the image is {image.state.name}; only one that is READY or FAILED is processed again"
        )
    # A removal that is ordered and not yet reported, or about to be, would take the original from under the worker.
    going = image.due_at is not None and image.due_at <= now + rules.reorder_after
    if image.original_removed_at is not None or going:
        when = "was removed" if image.original_removed_at is not None else "is being removed"
        raise DarkroomError(Kind.WRONG_STATE, f"the original {when}, as the tenant's policy asks")
    after = changed(
        image,
        now,
        state=State.PROCESSING,
        problem=None,
        ready_at=None,
        ordered_at=now,
        counted=0,
        due_at=now + rules.stuck_after,
    )
    return Decision(after, change(image, after, Message(PROCESS)))


def delete(image: Image | None, now: datetime, receipt: UUID, rules: Rules) -> Decision[Deletion]:
    """Turns an image in any state into a tombstone: its events end here, whatever is under way comes too late.

    The purge is ordered at once. Objects can still come into being while an attempt or a rendering runs or a ticket is
    good; `purge_after` says until when, and the purge after that is the last.
    """
    if image is None:
        raise DarkroomError(Kind.NOT_FOUND, "no such image")
    if image.state is State.DELETED and image.receipt is not None and image.deleted_at is not None:
        return Decision(Deletion(image.receipt, image.deleted_at))
    purge_after = now
    if image.running and image.held_until is not None:
        purge_after = max(purge_after, image.held_until + rules.late_write_margin)
    if image.render_until is not None:
        purge_after = max(purge_after, image.render_until + rules.late_write_margin)
    if image.state is not State.EXPIRED:
        purge_after = max(purge_after, image.upload_expires_at + rules.removal_margin)
    after = changed(
        image,
        now,
        state=State.DELETED,
        deleted_at=now,
        receipt=receipt,
        purge_after=purge_after,
        due_at=now + rules.reorder_after,
    )
    return Decision(Deletion(receipt, now), change(image, after, event_of(after), Message(PURGE)))


def _alive(image: Image | None) -> Image:
    if image is None:
        raise DarkroomError(Kind.NOT_FOUND, "no such image")
    if image.state is State.DELETED:
        raise DarkroomError(Kind.GONE, "the image was deleted")
    return image
