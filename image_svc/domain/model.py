"""The worker's words for what metadata_svc and the queue tell it, and for what it tells them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from uuid import UUID

from image_svc.pipeline.types import Facts


@dataclass(frozen=True, slots=True)
class Message:
    """A message in hand. `receipt` stands for this receipt of it; `receives` counts them, this one included. `sent_at`
    is in seconds since the epoch, 0 where it is not known.
    """

    id: str
    receipt: str
    body: str
    receives: int
    sent_at: float = 0.0


@dataclass(frozen=True, slots=True)
class Attempt:
    """The fence: whoever holds the newest attempt of an image may settle it."""

    tenant_id: str
    image_id: str
    number: int


@dataclass(frozen=True, slots=True)
class StoredVariant:
    """A variant that lies in the media bucket under `key`. `size` is in bytes."""

    name: str
    key: str
    content_type: str
    width: int
    height: int
    size: int


@dataclass(frozen=True, slots=True)
class Ready:
    """The good verdict. `sha256` is the measured one."""

    facts: Facts
    sha256: bytes
    variants: tuple[StoredVariant, ...]


@dataclass(frozen=True, slots=True)
class Job:
    """One attempt at one image. `size` is the announced one in bytes; `sha256` has 32 bytes, or none. `before` is what
    an earlier run came to, where there was one.
    """

    attempt: Attempt
    content_type: str
    size: int
    sha256: bytes
    presets: tuple[str, ...]
    media_prefix: str
    traceparent: str
    before: Ready | None = None


@dataclass(frozen=True, slots=True)
class Rendering:
    """One more variant to be made of a READY image. `attempt` is the fence: what was processed again since, or
    deleted, does not take it.
    """

    attempt: Attempt
    original_key: str
    content_type: str
    size: int
    sha256: bytes
    media_prefix: str


@dataclass(frozen=True, slots=True)
class Settled:
    """Nothing is to be done about the object's image; perhaps about the object, or about what lies under a prefix."""

    remove_object: bool
    media_prefix: str


@dataclass(frozen=True, slots=True)
class Busy:
    """Another attempt is running; look again after `retry_after` seconds."""

    retry_after: float


@dataclass(frozen=True, slots=True)
class Problem:
    """Why an image is REJECTED or FAILED, for its client."""

    type: str
    title: str
    detail: str


Verdict = Ready | Problem


@dataclass(frozen=True, slots=True)
class Registered:
    """What is known of an image without starting an attempt."""

    original_key: str
    awaits_upload: bool
    expired: bool
    deleted: bool
    original_removed: bool


@dataclass(frozen=True, slots=True)
class Retry:
    """A failed attempt may be followed by another one after `after` seconds."""

    after: float


@dataclass(frozen=True, slots=True)
class Done:
    """The message has done its work: delete it."""


@dataclass(frozen=True, slots=True)
class Later:
    """The message shall come back after `seconds`: now for 0."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Leave:
    """The message is another's business: it comes back by itself, unless that one deletes it."""


Disposition = Done | Later | Leave


def joined(dispositions: list[Disposition]) -> Disposition:
    """What becomes of a message with several records: it goes when each is done, and comes back for the first due."""
    waits = [one.seconds for one in dispositions if isinstance(one, Later)]
    if waits:
        return Later(min(waits))
    return Leave() if any(isinstance(one, Leave) for one in dispositions) else Done()


def registered_at(image_id: str) -> float:
    """When an image was registered, in seconds since the epoch: its id, a UUIDv7, begins with it. Infinite for an id
    that does not say.
    """
    try:
        number = UUID(image_id)
    except ValueError:
        return math.inf
    return (number.int >> 80) / 1000 if number.version == 7 else math.inf
