"""What the worker needs from outside. The adapters implement these; the tests' fakes are held to them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from image_svc.domain.model import (
    Attempt,
    Busy,
    Job,
    Message,
    Problem,
    Registered,
    Rendering,
    Retry,
    Settled,
    StoredVariant,
    Verdict,
)
from image_svc.pipeline.presets import Preset
from image_svc.sandbox import Developed


class Unreachable(Exception):  # noqa: N818 - says what is the matter with the dependency
    """A dependency does not answer, or says that it cannot now: nothing is wrong with what was asked."""


class StaleAttempt(Exception):  # noqa: N818 - what metadata_svc answers, not an error of ours
    """The attempt is not the image's newest any more, or the image is settled: whoever holds it has no say."""


class ObjectMissing(Exception):  # noqa: N818 - what S3 answers
    """There is no such object."""


class ReceiptLost(Exception):  # noqa: N818 - what SQS answers
    """The message is not in our hand any more: it was deleted, or it became visible again."""


class Original(Protocol):
    """An object that is being read."""

    @property
    def size(self) -> int:
        """Its whole size in bytes."""
        ...

    def chunks(self) -> AsyncIterator[bytes]:
        """Its bytes, in pieces as they come. Raises `Unreachable` when they stop before the end."""
        ...


class ObjectStore(Protocol):
    """The two buckets. Every call raises `Unreachable` when S3 does not answer soundly."""

    def original(self, key: str) -> AbstractAsyncContextManager[Original]:
        """Opens an original. Raises `ObjectMissing`."""
        ...

    async def has_original(self, key: str) -> bool:
        """Whether an original is there."""
        ...

    async def has_variant(self, key: str) -> bool:
        """Whether a variant is there."""
        ...

    async def put_variant(self, key: str, body: bytes, content_type: str) -> int:
        """Writes a variant, unless there is one under its key; returns the size in bytes of what is there then.

        The same key never gets other bytes.
        """
        ...

    async def remove_original(self, key: str) -> None:
        """Removes every version of an original. Harmless where there is none."""
        ...

    async def remove_variants(self, prefix: str) -> None:
        """Removes every version of every variant under a prefix. Harmless where there are none."""
        ...


class Queue(Protocol):
    """One SQS queue. Every call raises `Unreachable` when SQS does not answer soundly."""

    async def receive(self, *, most: int, wait: float, visibility: float) -> list[Message]:
        """Takes up to `most` messages (at most 10) into hand for `visibility` seconds, waiting up to `wait` for one."""
        ...

    async def delete(self, receipts: Sequence[str]) -> list[str]:
        """Deletes messages (at most 10) by their receipts, and returns the receipts of those that it could not."""
        ...

    async def keep(self, receipt: str, seconds: float) -> None:
        """Keeps a message in hand for `seconds` from now; 0 gives it back. Raises `ReceiptLost`."""
        ...

    async def send(self, body: str) -> str:
        """Puts a message on the queue and returns its id."""
        ...


class Metadata(Protocol):
    """The state machine. Calls raise `Unreachable`, and `StaleAttempt` where they carry an attempt."""

    async def begin(self, key: str, lease: float) -> Job | Settled | Busy:
        """Starts an attempt at an uploaded object, ours alone for `lease` seconds."""
        ...

    async def renew(self, attempt: Attempt, lease: float) -> None:
        """Extends the attempt's lease to `lease` seconds from now."""
        ...

    async def finish(self, attempt: Attempt, verdict: Verdict) -> None:
        """Records the verdict on the file."""
        ...

    async def fail(self, attempt: Attempt, problem: Problem, *, final: bool) -> Retry | None:
        """Records that the attempt failed for a reason of ours. None where no further one may follow; a `final` one
        has none.
        """
        ...

    async def hand_back(self, attempt: Attempt) -> None:
        """Gives the attempt back unfinished: it does not count."""
        ...

    async def begin_rendering(
        self, tenant_id: str, image_id: str, preset: str, lease: float
    ) -> Rendering | StoredVariant:
        """What is needed to make a variant within `lease` seconds, or the one that is there. Raises `DarkroomError`
        (NOT_FOUND, GONE, WRONG_STATE).
        """
        ...

    async def record_variant(self, attempt: Attempt, variant: StoredVariant) -> StoredVariant:
        """Adds a variant that lies in the media bucket to its image; returns the image's variant of that name."""
        ...

    async def abandon(self, key: str, problem: Problem, sent_at: float) -> None:
        """Makes the image of a key FAILED whose message, sent at that time, lies in the dead-letter queue."""
        ...

    async def expire_upload(self, tenant_id: str, image_id: str) -> None:
        """Records that the bytes of an image never came."""
        ...

    async def record_original_removal(self, tenant_id: str, image_id: str) -> None:
        """Records that the original is gone."""
        ...

    async def record_purge(self, tenant_id: str, image_id: str) -> None:
        """Records that every object of a deleted image is gone."""
        ...

    async def registered(self, tenant_id: str, image_id: str) -> Registered | None:
        """What is known of an image; None for one that is not, or not any more."""
        ...


class Protection(Protocol):
    """Whether whoever runs this process may stop it when it has too many of its kind."""

    async def set(self, minutes: int | None) -> None:
        """Not for so many minutes from now; None: at any time. Raises `Unreachable`."""
        ...


class Developer(Protocol):
    """The darkroom itself: `image_svc.sandbox.Sandbox`."""

    @property
    def build(self) -> str:
        """Names the pipeline that runs; part of each variant's fingerprint."""
        ...

    async def develop(self, source_fd: int, announced_content_type: str | None, presets: Sequence[Preset]) -> Developed:
        """Makes the variants of the file behind a descriptor. Raises `Rejected`, `TimedOut`, `Killed`, `SandboxError`.

        Cancellation kills the child that works on it.
        """
        ...
