"""Rows of the database to images of the domain, and changes of the domain to columns."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final

import msgspec

from metadata_svc.domain.image import Facts, Image, OriginalPolicy, Problem, State, UploadMethod, Variant

_variants: Final = msgspec.json.Decoder(tuple[Variant, ...])
_tags: Final = msgspec.json.Decoder(dict[str, str])
_encoder: Final = msgspec.json.Encoder()

_SIGN: Final = 1 << 63
_WRAP: Final = 1 << 64


def signed(value: int) -> int:
    """An unsigned 64-bit number as PostgreSQL's signed bigint with the same bits."""
    return value - _WRAP if value >= _SIGN else value


def unsigned(value: int) -> int:
    """The reverse of `signed`."""
    return value + _WRAP if value < 0 else value


def variants_of(row: Mapping[str, Any]) -> tuple[Variant, ...]:
    """The variants of a row of image_view."""
    return _variants.decode(row["variants"]) if row["variants"] else ()


def tags_of(row: Mapping[str, Any]) -> dict[str, str]:
    """The tags of a row of image_view."""
    return _tags.decode(row["tags"]) if row["tags"] else {}


def image_of(row: Mapping[str, Any]) -> Image:
    """A row of image_view."""
    facts = None
    if row["format"] is not None:
        facts = Facts(
            format=row["format"],
            width=row["width"],
            height=row["height"],
            frames=row["frames"],
            thumbhash=row["thumbhash"] or b"",
            color=row["color"] or "",
            perceptual_hash=unsigned(row["perceptual_hash"] or 0),
        )
    problem = None
    if row["problem_type"] is not None:
        problem = Problem(row["problem_type"], row["problem_title"], row["problem_detail"])
    return Image(
        tenant_id=row["tenant_id"],
        id=row["id"],
        state=State(row["state"]),
        version=row["version"],
        revision=row["revision"],
        filename=row["filename"],
        content_type=row["content_type"],
        size=row["size"],
        sha256=row["sha256"] or b"",
        upload_method=UploadMethod(row["upload_method"]),
        presets=tuple(row["presets"]),
        traceparent=row["traceparent"],
        upload_expires_at=row["upload_expires_at"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        ready_at=row["ready_at"],
        attempt=row["attempt"],
        counted=row["counted"],
        running=row["running"],
        held_until=row["held_until"],
        facts=facts,
        variants=variants_of(row),
        problem=problem,
        original_removed_at=row["original_removed_at"],
        ordered_at=row["ordered_at"],
        render_until=row["render_until"],
        deleted_at=row["deleted_at"],
        receipt=row["receipt"],
        purge_after=row["purge_after"],
        purged_at=row["purged_at"],
        due_at=row["due_at"],
        tags=tags_of(row),
    )


def policy_of(row: Mapping[str, Any]) -> OriginalPolicy:
    """A tenant's policy for originals; an unknown tenant's are kept."""
    if row["original_policy"] == "delete":
        return OriginalPolicy(timedelta(0))
    if row["original_policy"] == "keep_days":
        return OriginalPolicy(timedelta(days=row["original_keep_days"]))
    return OriginalPolicy(None)


def changes(before: Image, after: Image) -> str:
    """The columns that differ, as the JSON object that `jsonb_populate_record` takes."""
    old, new = _columns(before), _columns(after)
    return _encoder.encode({name: value for name, value in new.items() if old[name] != value}).decode()


def _columns(image: Image) -> dict[str, Any]:
    facts, problem = image.facts, image.problem
    return {
        "state": int(image.state),
        "version": image.version,
        "revision": image.revision,
        "filename": image.filename,
        "content_type": image.content_type,
        "size": image.size,
        "sha256": _bytea(image.sha256) if image.sha256 else None,
        "presets": image.presets,
        "upload_expires_at": image.upload_expires_at,
        "updated_at": image.updated_at,
        "ready_at": image.ready_at,
        "attempt": image.attempt,
        "counted": image.counted,
        "running": image.running,
        "held_until": image.held_until,
        "format": facts and facts.format,
        "width": facts and facts.width,
        "height": facts and facts.height,
        "frames": facts and facts.frames,
        "thumbhash": facts and _bytea(facts.thumbhash),
        "color": facts and facts.color,
        "perceptual_hash": facts and signed(facts.perceptual_hash),
        "variants": image.variants or None,
        "problem_type": problem and problem.type,
        "problem_title": problem and problem.title,
        "problem_detail": problem and problem.detail,
        "original_removed_at": image.original_removed_at,
        "ordered_at": image.ordered_at,
        "render_until": image.render_until,
        "deleted_at": image.deleted_at,
        "receipt": image.receipt,
        "purge_after": image.purge_after,
        "purged_at": image.purged_at,
        "due_at": image.due_at,
    }


def _bytea(value: bytes) -> str:
    """PostgreSQL's hex form of bytes."""
    return "\\x" + value.hex()
