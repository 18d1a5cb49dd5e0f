"""The worker-facing half of the state machine. Attempts are fenced: a stale one is refused.

| call | AWAITING_UPLOAD | PROCESSING | READY, REJECTED, FAILED | EXPIRED, DELETED |
|---|---|---|---|---|
| begin | → PROCESSING | Busy while held, else a new attempt; after the last → FAILED | Settled | Settled, remove |
| renew, finish, fail, hand back | stale | by the current attempt only | repeated by it: the same answer | stale |
| abandon | → FAILED | → FAILED | stays | stays |
| expire | → EXPIRED past its deadline | stays | stays | stays |
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from metadata_svc.domain.decision import Change, Decision, booked, change, changed
from metadata_svc.domain.events import event_of
from metadata_svc.domain.image import SETTLED, TERMINAL, Facts, Image, OriginalPolicy, Problem, State, Variant
from metadata_svc.domain.rules import Rules
from runtime.errors import DarkroomError, Kind

_NO_TIME = timedelta(0)


@dataclass(frozen=True, slots=True)
class Job:
    """A new attempt at the image as it now stands."""

    image: Image


@dataclass(frozen=True, slots=True)
class Settled:
    """Nothing is to be processed. `purge`: the image is deleted, so its variants must go with the object."""

    remove_object: bool
    purge: bool = False


@dataclass(frozen=True, slots=True)
class Busy:
    """Not now: an attempt runs, or the wait after a failed one."""

    retry_after: timedelta


@dataclass(frozen=True, slots=True)
class Failed:
    """What became of the image after a failed attempt; `retry_after` is None once it is FAILED."""

    state: State
    retry_after: timedelta | None


@dataclass(frozen=True, slots=True)
class Ready:
    """A good verdict."""

    facts: Facts
    variants: tuple[Variant, ...]


# What an attempt finds: a good file, or why it is not acceptable.
Verdict = Ready | Problem


def begin(
    image: Image | None, now: datetime, lease: timedelta, rules: Rules, policy: OriginalPolicy
) -> Decision[Job | Settled | Busy]:
    """Starts an attempt, where one is due."""
    if image is None:
        return Decision(Settled(remove_object=True))
    if image.state is State.DELETED:
        return Decision(Settled(remove_object=True, purge=True))
    if image.state in TERMINAL:
        return Decision(Settled(remove_object=image.state is State.EXPIRED or image.original_removed_at is not None))
    if image.held_until is not None and image.held_until > now:
        return Decision(Busy(image.held_until - now))
    if image.counted >= rules.max_attempts:
        # Each attempt was begun and none came to an end: whoever tries it dies.
        return Decision(Settled(remove_object=False), _failed(image, now, _ATTEMPTS_LOST, rules, policy))
    held_until = now + lease
    first = image.state is State.AWAITING_UPLOAD
    after = booked(
        changed(image, now, state=State.PROCESSING) if first else image,
        attempt=image.attempt + 1,
        counted=image.counted + 1,
        running=True,
        held_until=held_until,
        due_at=held_until + rules.stuck_after,
    )
    return Decision(Job(after), change(image, after))


def renew(image: Image | None, attempt: int, now: datetime, lease: timedelta, rules: Rules) -> Decision[None]:
    """Extends the lease of the running attempt."""
    image = _current(image, attempt)
    if not image.running:
        raise _stale(attempt)
    held_until = now + lease
    after = booked(image, held_until=held_until, due_at=held_until + rules.stuck_after)
    return Decision(None, change(image, after))


def finish(
    image: Image | None,
    attempt: int,
    verdict: Verdict,
    now: datetime,
    *,
    rules: Rules,
    policy: OriginalPolicy,
) -> Decision[State]:
    """Records the verdict. The same attempt may say it again: it is told the same.

    A file that was accepted once is not REJECTED when it is processed again: that we now refuse it is our doing, so the
    image is FAILED, keeps the variants that it has, and can be processed again by a release that knows better.
    """
    image = _current(image, attempt)
    if image.state in (State.READY, State.REJECTED):
        return Decision(image.state)
    if not image.running:
        raise _stale(attempt)
    if isinstance(verdict, Problem) and image.facts is not None:
        refused = Problem("processing_failed", _REFUSED_TITLE, f"This release does not accept it. {verdict.detail}")
        return Decision(State.FAILED, _failed(image, now, refused, rules, policy))
    due_at = _removal_due(image, now, rules, policy)
    if isinstance(verdict, Problem):
        after = changed(
            image, now, state=State.REJECTED, problem=verdict, running=False, held_until=None, due_at=due_at
        )
    else:
        after = changed(
            image,
            now,
            state=State.READY,
            facts=verdict.facts,
            sha256=verdict.facts.sha256 or image.sha256,
            variants=verdict.variants,
            problem=None,
            running=False,
            held_until=None,
            ready_at=now,
            due_at=due_at,
        )
    return Decision(after.state, change(image, after, event_of(after)))


def fail(
    image: Image | None,
    attempt: int,
    problem: Problem,
    now: datetime,
    *,
    final: bool,
    jitter: float,
    rules: Rules,
    policy: OriginalPolicy,
) -> Decision[Failed]:
    """Records that the attempt failed for a reason of ours. Repeated by the same attempt, it counts once.

    `final`: another attempt would be no use, so there is none, however many are left.
    """
    image = _current(image, attempt)
    if image.state is State.FAILED:
        return Decision(Failed(State.FAILED, None))
    if image.state is not State.PROCESSING:
        raise _stale(attempt)
    if not image.running:
        rest = _NO_TIME if image.held_until is None else max(image.held_until - now, _NO_TIME)
        return Decision(Failed(State.PROCESSING, rest))
    if final or image.counted >= rules.max_attempts:
        return Decision(Failed(State.FAILED, None), _failed(image, now, problem, rules, policy))
    wait = rules.retry_after(image.counted, jitter)
    held_until = now + wait
    after = booked(image, running=False, held_until=held_until, due_at=held_until + rules.stuck_after)
    return Decision(Failed(State.PROCESSING, wait), change(image, after))


def hand_back(image: Image | None, attempt: int, now: datetime, rules: Rules) -> Decision[None]:
    """Ends the attempt unfinished; it does not count, and the next may start at once."""
    image = _current(image, attempt)
    if image.state is not State.PROCESSING:
        raise _stale(attempt)
    if not image.running:
        return Decision(None)
    after = booked(image, running=False, counted=image.counted - 1, held_until=None, due_at=now + rules.stuck_after)
    return Decision(None, change(image, after))


def abandon(
    image: Image | None,
    problem: Problem,
    now: datetime,
    *,
    sent_at: datetime | None,
    rules: Rules,
    policy: OriginalPolicy,
) -> Decision[State | None]:
    """Gives an image up whose message ended in the dead-letter queue. A running attempt becomes stale.

    Dead letters stay there, and every new worker reads them: one that was sent before the owner asked for the
    processing anew says nothing of that. (None: nobody knows when it was sent.)
    """
    if image is None:
        return Decision(None)
    if image.state in TERMINAL:
        return Decision(image.state)
    if image.ordered_at is not None and (sent_at is None or sent_at < image.ordered_at):
        return Decision(image.state)
    return Decision(State.FAILED, _failed(image, now, problem, rules, policy))


def expire(image: Image | None, now: datetime) -> Decision[State]:
    """Ends the wait for an image's bytes. A deadline that was moved meanwhile still holds."""
    image = _known(image)
    if image.state is not State.AWAITING_UPLOAD or now < image.upload_expires_at:
        return Decision(image.state)
    after = changed(image, now, state=State.EXPIRED, due_at=None)
    return Decision(State.EXPIRED, change(image, after))


def record_original_removal(image: Image | None, now: datetime) -> Decision[None]:
    """Notes that the original is gone."""
    if image is None or image.state not in SETTLED or image.original_removed_at is not None:
        return Decision(None)
    after = changed(image, now, original_removed_at=now, due_at=None)
    return Decision(None, change(image, after))


def record_purge(image: Image | None, now: datetime, rules: Rules) -> Decision[None]:
    """Notes that every object is gone, and empties the row.

    Where an attempt was still running when the image was deleted, or its ticket was still good, objects may have come
    after this purge: then another one follows once they no longer can.
    """
    if image is None:
        return Decision(None)
    if image.state is not State.DELETED:
        raise DarkroomError(Kind.WRONG_STATE, "the image is not deleted")
    if image.purged_at is not None:
        return Decision(None)
    final = image.purge_after is None or now >= image.purge_after
    emptied = changed(
        image,
        now,
        filename="",
        content_type="",
        size=0,
        sha256=b"",
        presets=(),
        facts=None,
        variants=(),
        problem=None,
        ready_at=None,
        purged_at=now if final else None,
        due_at=now + rules.tombstone_life if final else image.purge_after,
    )
    return Decision(None, change(image, emptied, tags={}))


_REFUSED_TITLE = "The image could not be processed again"
_ATTEMPTS_LOST = Problem(
    "processing_failed",
    "The image could not be processed",
    "Every attempt ended without an answer. The fault is ours; the original is kept.",
)


def _failed(image: Image, now: datetime, problem: Problem, rules: Rules, policy: OriginalPolicy) -> Change:
    after = changed(
        image,
        now,
        state=State.FAILED,
        problem=problem,
        running=False,
        held_until=None,
        due_at=_removal_due(image, now, rules, policy),
    )
    return change(image, after, event_of(after))


def _removal_due(image: Image, now: datetime, rules: Rules, policy: OriginalPolicy) -> datetime | None:
    return policy.due(now, image.upload_expires_at + rules.removal_margin)


def _known(image: Image | None) -> Image:
    if image is None:
        raise DarkroomError(Kind.NOT_FOUND, "no such image")
    return image


def _current(image: Image | None, attempt: int) -> Image:
    """The image, if the attempt is its last one and was not overtaken by a deletion, an expiry or an abandoning."""
    image = _known(image)
    if image.attempt != attempt or attempt < 1 or image.state in (State.EXPIRED, State.DELETED):
        raise _stale(attempt)
    return image


def _stale(attempt: int) -> DarkroomError:
    return DarkroomError(Kind.STALE_ATTEMPT, f"attempt {attempt} is over; another one, or a deletion, has overtaken it")
