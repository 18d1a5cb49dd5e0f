"""Protobuf to domain and back. The batch paths go from row to message directly, without an object in between."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

import msgspec
from darkroom.metadata.v1 import metadata_pb2 as pb
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from metadata_svc.domain.image import Facts, Image, Problem, Variant, etag
from metadata_svc.domain.keys import original_key
from metadata_svc.rows import tags_of, unsigned, variants_of
from runtime.errors import DarkroomError, Kind

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def timestamp(moment: datetime) -> Timestamp:
    """A time with a zone, exactly: no float on the way, which would round some up to another second."""
    found = Timestamp()
    _set(found, moment)
    return found


def duration(length: timedelta) -> Duration:
    """A length of time that is not negative."""
    return Duration(seconds=length.days * 86_400 + length.seconds, nanos=length.microseconds * 1000)


def timedelta_of(length: Duration, pointer: str) -> timedelta:
    """A length of time, which must be positive."""
    found = timedelta(seconds=length.seconds, microseconds=length.nanos // 1000)
    if found <= timedelta(0):
        raise DarkroomError(Kind.MALFORMED, "must be longer than nothing", pointer=pointer)
    return found


def uuid_of(text: str, pointer: str) -> UUID:
    """An id in its canonical text form."""
    try:
        found = UUID(text)
    except ValueError:
        found = None
    if found is None or str(found) != text:
        raise DarkroomError(Kind.MALFORMED, "not a UUID in its canonical form", pointer=pointer)
    return found


def fill(image: pb.Image, row: Mapping[str, Any]) -> None:
    """Fills an empty image from a row of image_view, in place: a message that is made apart is copied once more."""
    image.id = image_id = str(row["id"])
    image.tenant_id = tenant_id = str(row["tenant_id"])
    image.state = row["state"]
    image.filename = row["filename"]
    image.content_type = row["content_type"]
    image.size = row["size"]
    image.upload_method = row["upload_method"]
    image.original_key = original_key(tenant_id, image_id)
    image.etag = etag(row["revision"])
    _set(image.upload_expires_at, row["upload_expires_at"])
    _set(image.created_at, row["created_at"])
    _set(image.updated_at, row["updated_at"])
    if row["original_removed_at"] is not None:
        image.original_removed = True
    if row["sha256"]:
        image.sha256 = row["sha256"]
    if row["presets"]:
        image.presets.extend(row["presets"])
    if row["tags"]:
        image.tags.update(tags_of(row))
    if row["ready_at"] is not None:
        _set(image.ready_at, row["ready_at"])
    if row["format"] is not None:
        facts = image.facts
        facts.format = row["format"]
        facts.width = row["width"]
        facts.height = row["height"]
        facts.frames = row["frames"]
        facts.thumbhash = row["thumbhash"] or b""
        facts.color = row["color"] or ""
        facts.perceptual_hash = unsigned(row["perceptual_hash"] or 0)
        facts.sha256 = row["sha256"] or b""
    if row["variants"]:
        for variant in variants_of(row):
            image.variants.add(
                name=variant.name,
                key=variant.key,
                content_type=variant.content_type,
                width=variant.width,
                height=variant.height,
                size=variant.size,
            )
    if row["problem_type"] is not None:
        image.problem.type = row["problem_type"]
        image.problem.title = row["problem_title"]
        image.problem.detail = row["problem_detail"]


def _set(stamp: Timestamp, moment: datetime) -> None:
    since = moment - _EPOCH
    stamp.seconds = since.days * 86_400 + since.seconds
    stamp.nanos = since.microseconds * 1000


def image_of(image: Image) -> pb.Image:
    """An image of the domain."""
    tenant_id, image_id = str(image.tenant_id), str(image.id)
    message = pb.Image(
        id=image_id,
        tenant_id=tenant_id,
        state=pb.Image.State.ValueType(image.state),
        filename=image.filename,
        content_type=image.content_type,
        size=image.size,
        sha256=image.sha256,
        upload_method=pb.UploadMethod.ValueType(image.upload_method),
        presets=image.presets,
        original_key=original_key(tenant_id, image_id),
        upload_expires_at=timestamp(image.upload_expires_at),
        variants=map(variant_message, image.variants),
        tags=image.tags,
        etag=image.etag,
        created_at=timestamp(image.created_at),
        updated_at=timestamp(image.updated_at),
        original_removed=image.original_removed_at is not None,
    )
    if image.ready_at is not None:
        message.ready_at.CopyFrom(timestamp(image.ready_at))
    if image.facts is not None:
        message.facts.CopyFrom(facts_message(image.facts, image.sha256))
    if image.problem is not None:
        problem = image.problem
        message.problem.CopyFrom(pb.Problem(type=problem.type, title=problem.title, detail=problem.detail))
    return message


def facts_message(facts: Facts, sha256: bytes) -> pb.Facts:
    """Facts, with the measured content of the image."""
    return pb.Facts(
        format=facts.format,
        width=facts.width,
        height=facts.height,
        frames=facts.frames,
        thumbhash=facts.thumbhash,
        color=facts.color,
        perceptual_hash=facts.perceptual_hash,
        sha256=sha256,
    )


def variant_message(variant: Variant) -> pb.Variant:
    """A variant."""
    return pb.Variant(
        name=variant.name,
        key=variant.key,
        content_type=variant.content_type,
        width=variant.width,
        height=variant.height,
        size=variant.size,
    )


def variant_of(message: pb.Variant) -> Variant:
    """A variant of the domain."""
    return Variant(message.name, message.key, message.content_type, message.width, message.height, message.size)


def facts_of(message: pb.Facts) -> Facts:
    """Facts of the domain. Raises MALFORMED for what the database would refuse."""
    if len(message.sha256) not in (0, 32):
        raise DarkroomError(Kind.MALFORMED, "must be 32 bytes, or empty", pointer="/ready/facts/sha256")
    if not message.format:
        raise DarkroomError(Kind.MALFORMED, "must be set", pointer="/ready/facts/format")
    return Facts(
        format=message.format,
        width=message.width,
        height=message.height,
        frames=message.frames,
        thumbhash=message.thumbhash,
        color=message.color,
        perceptual_hash=message.perceptual_hash,
        sha256=message.sha256,
    )


def problem_of(message: pb.Problem) -> Problem:
    """A problem of the domain; one that names no reason is our own fault. Decoders quote the file: PostgreSQL's texts
    hold no NUL, so that becomes the replacement character.
    """
    return Problem(
        _storable(message.type) or "processing_failed",
        _storable(message.title) or "The image could not be processed",
        _storable(message.detail) or "The fault is ours; the original is kept.",
    )


def _storable(text: str) -> str:
    return text.replace("\x00", "\ufffd")


def limits_of(row: Mapping[str, Any]) -> pb.Limits:
    """A tenant's limits, out of any row that has them."""
    return pb.Limits(
        max_image_bytes=row["max_image_bytes"],
        max_images=row["max_images"],
        max_bytes=row["max_bytes"],
        requests_per_second=row["requests_per_second"],
    )


def json_of(tags: Mapping[str, str]) -> str:
    """Tags as the JSON object that the database takes."""
    return msgspec.json.encode(dict(tags)).decode()
