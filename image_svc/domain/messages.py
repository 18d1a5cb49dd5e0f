"""What a message on the image queue asks for.

Two kinds arrive: S3's event notifications (at least once, unordered, keys percent-encoded) and commands of our own
(`darkroom/image/v1/command.proto`). `parse` never guesses: what it does not know for certain is `Unreadable` and stays
in the queue, because another release may understand it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any, Final
from urllib.parse import unquote_plus

import msgspec
from darkroom.image.v1 import command_pb2
from google.protobuf import json_format

# Where uploads arrive, by contract; the bucket's notification is filtered by it, too.
INCOMING_PREFIX: Final = "incoming/"

# The notification's structure since 2016; a minor version only adds, a major one may mean anything.
# https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html
_KNOWN_MAJOR: Final = "2"
_CREATED: Final = "ObjectCreated:"


class Unreadable(Exception):  # noqa: N818 - a finding about the message, not an error of ours
    """The message cannot be understood by this release: leave it where it is."""


class Task(Enum):
    """What a command orders, by its schema."""

    PROCESS = "darkroom.process/1"
    CHECK_UPLOAD = "darkroom.check_upload/1"
    REMOVE_ORIGINAL = "darkroom.remove_original/1"
    PURGE = "darkroom.purge/1"


@dataclass(frozen=True, slots=True)
class Created:
    """An object arrived in the incoming bucket. `key` is decoded."""

    key: str


@dataclass(frozen=True, slots=True)
class Order:
    """A command of our own. `traceparent` may be empty."""

    task: Task
    tenant_id: str
    image_id: str
    original_key: str
    media_prefix: str
    traceparent: str


@dataclass(frozen=True, slots=True)
class Ignored:
    """Something that is no business of ours and never will be: its message can go. `reason` is for the log."""

    reason: str


Item = Created | Order | Ignored


def parse(body: str, *, bucket: str) -> list[Item]:
    """What one message asks for, in its order. `bucket` is the incoming one. Raises `Unreadable`, and nothing else."""
    try:
        content = msgspec.json.decode(body)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise Unreadable(f"not JSON: {error}") from None
    if not isinstance(content, dict):
        raise Unreadable("not a JSON object")
    if "schema" in content:
        return [_order(content)]
    if content.get("Event") == "s3:TestEvent":
        return [Ignored("S3's test event")]
    records = content.get("Records")
    if not isinstance(records, list):
        raise Unreadable("neither an S3 notification nor a command")
    return [_record(record, bucket) for record in records] or [Ignored("a notification without records")]


def process_command(tenant_id: str, image_id: str, original_key: str, traceparent: str) -> str:
    """The body of a message that orders the processing of an image."""
    command = command_pb2.Command(
        schema=Task.PROCESS.value,
        tenant_id=tenant_id,
        image_id=image_id,
        original_key=original_key,
        traceparent=traceparent,
    )
    return json_format.MessageToJson(command, preserving_proto_field_name=True, indent=None)


def _order(content: dict[str, Any]) -> Order:
    try:
        # A field that this release does not know is a newer one's addition: the schema's number says if it matters.
        command = json_format.ParseDict(content, command_pb2.Command(), ignore_unknown_fields=True)
    except (json_format.Error, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise Unreadable(f"not a command: {error}") from None
    try:
        task = Task(command.schema)
    except ValueError:
        raise Unreadable(f"unknown schema {command.schema!r}") from None
    # metadata_svc alone makes keys; these checks only keep a broken order from removing what belongs to others.
    image_id = command.image_id
    if not image_id or not command.tenant_id:
        raise Unreadable("a command without its tenant or image")
    if not (command.original_key.startswith(INCOMING_PREFIX) and command.original_key.endswith(f"/{image_id}")):
        raise Unreadable("a command whose original is not the image's own")
    if task is Task.PURGE and not command.media_prefix.endswith(f"/{image_id}/"):
        raise Unreadable("a purge whose prefix is not the image's own")
    return Order(
        task=task,
        tenant_id=command.tenant_id,
        image_id=image_id,
        original_key=command.original_key,
        media_prefix=command.media_prefix,
        traceparent=command.traceparent,
    )


def _record(record: object, bucket: str) -> Item:
    version = _text(record, "eventVersion")
    if version.partition(".")[0] != _KNOWN_MAJOR:
        raise Unreadable(f"unknown version {version!r} of S3's notification")
    name = _text(record, "eventName")
    if not name.startswith(_CREATED):
        return Ignored(f"event {name!r}")
    where = _text(record, "s3", "bucket", "name")
    if where != bucket:
        # Most likely a wrong setting: had the message gone, so would have the upload.
        raise Unreadable(f"an event of the bucket {where!r}")
    encoded = _text(record, "s3", "object", "key")
    try:
        key = unquote_plus(encoded, errors="strict")
    except UnicodeDecodeError:
        raise Unreadable(f"the key {encoded!r} is not UTF-8") from None
    if not key.startswith(INCOMING_PREFIX):
        return Ignored(f"an object outside of {INCOMING_PREFIX}")
    return Created(key)


def _text(content: object, *path: str) -> str:
    for name in path:
        content = content.get(name) if isinstance(content, dict) else None
    if not isinstance(content, str):
        raise Unreadable(f"a record without {'.'.join(path)}")
    return content
