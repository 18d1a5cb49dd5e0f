"""An image's life as hypothesis plays it: any calls in any order, against a model and against a store.

The model says what each call must answer, in a few lines of its own. The store is the fake of the unit tests or real
SQL: both run the same machine, so that neither can drift.
"""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol, TypeVar
from uuid import UUID

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from metadata_svc.domain import ownership, processing, rendering
from metadata_svc.domain.decision import Decision
from metadata_svc.domain.image import Facts, Image, OriginalPolicy, Problem, State, UploadMethod, Variant
from metadata_svc.domain.rules import Rules
from metadata_svc.ports import ImageStore, Reading
from metadata_svc.transitions import decide
from runtime.errors import DarkroomError, Kind

_Answer = TypeVar("_Answer")

RULES = Rules(
    max_attempts=3,
    first_retry=timedelta(seconds=20),
    longest_retry=timedelta(seconds=60),
    tombstone_life=timedelta(days=7),
)
LEASE = 25  # s; time goes on in steps of ten, so that no comparison hangs on a millisecond
LIFE = 95
SIZE = 1000
VARIANTS = (
    Variant("thumb", "media/t/i/thumb.f.webp", "image/webp", 10, 10, 30),
    Variant("small", "media/t/i/small.f.webp", "image/webp", 20, 20, 70),
)
FACTS = Facts("JPEG", 40, 30, 1, b"\x00hash", "#102030", (1 << 64) - 1, b"\x07" * 32)
ON_DEMAND = Variant("zoom", "media/t/i/zoom.f.jpg", "image/jpeg", 5, 5, 11)
PROBLEM = Problem("truncated", "The file ends too early", "It ends at byte 17.")


class World(Protocol):
    """A store, and what only a test may do with it."""

    @property
    def every(self) -> ImageStore:
        """The store of the worker-facing calls."""
        ...

    @property
    def own(self) -> ImageStore:
        """The store of the owner's calls."""
        ...

    def run(self, awaitable: Awaitable[_Answer]) -> _Answer:
        """The result of a coroutine."""
        ...

    async def add(self, tenant_id: UUID, image_id: UUID) -> None:
        """Registers an image of SIZE bytes whose upload is awaited for LIFE seconds."""
        ...

    async def advance(self, seconds: float) -> None:
        """Lets time pass."""
        ...

    async def usage(self) -> tuple[int, int]:
        """Images and bytes in use."""
        ...

    async def kinds(self) -> list[str]:
        """Kinds of the messages in the outbox, sorted."""
        ...

    def close(self) -> None:
        """Ends it."""
        ...


@dataclass
class Model:
    """What is expected of the one image."""

    clock: float = 0
    state: State = State.AWAITING_UPLOAD
    attempt: int = 0
    counted: int = 0
    running: bool = False
    ended_by: int | None = None  # the attempt that failed or was handed back last
    held: float = 0
    expires: float = LIFE
    variants: int = 0
    original: bool = True
    purged: bool = False
    purge_after: float = 0
    ordered: float | None = None  # when the processing was last asked for anew
    accepted: bool = False  # was READY once
    rendered: bool = False  # has the variant that is made on demand
    render_until: float = 0

    @property
    def terminal(self) -> bool:
        return self.state not in (State.AWAITING_UPLOAD, State.PROCESSING)

    @property
    def gone(self) -> bool:
        return self.state in (State.EXPIRED, State.DELETED)

    def usage(self) -> tuple[int, int]:
        if self.gone:
            return 0, 0
        return 1, self.variants + (SIZE if self.original else 0)


class ImageMachine(RuleBasedStateMachine):
    """Subclasses give the world."""

    def __init__(self) -> None:
        super().__init__()
        self.world = self.make_world()
        self.tenant_id, self.image_id = uuid.uuid4(), uuid.uuid4()
        self.model = Model()
        self.expected_kinds: list[str] = []
        self.receipt: UUID | None = None

    def make_world(self) -> World:
        """A fresh world."""
        raise NotImplementedError

    def teardown(self) -> None:
        self.world.close()

    @initialize()
    def register(self) -> None:
        self.world.run(self.world.add(self.tenant_id, self.image_id))

    def decide(self, decision: Callable[[Reading], Decision[_Answer]], store: ImageStore | None = None) -> _Answer:
        return self.world.run(decide(store or self.world.every, self.tenant_id, self.image_id, decision, 5.0))

    def refused(self, decision: Callable[[Reading], Decision[Any]], store: ImageStore | None = None) -> Kind | None:
        try:
            self.decide(decision, store)
        except DarkroomError as error:
            return error.kind
        return None

    def attempt(self, which: str) -> int:
        return {"current": self.model.attempt, "older": self.model.attempt - 1, "newer": self.model.attempt + 1}[which]

    @rule(steps=st.integers(1, 4))
    def time_passes(self, steps: int) -> None:
        self.world.run(self.world.advance(10 * steps))
        self.model.clock += 10 * steps

    @rule()
    def begin(self) -> None:
        m = self.model
        outcome = self.decide(lambda r: processing.begin(r.image, r.now, timedelta(seconds=LEASE), RULES, r.policy))
        if m.state is State.DELETED:
            assert outcome == processing.Settled(remove_object=True, purge=True)
        elif m.terminal:
            assert outcome == processing.Settled(remove_object=m.state is State.EXPIRED or not m.original)
        elif m.held > m.clock:
            assert isinstance(outcome, processing.Busy)
            assert abs(outcome.retry_after.total_seconds() - (m.held - m.clock)) < 5
        elif m.counted == RULES.max_attempts:
            assert outcome == processing.Settled(remove_object=False)
            self.now_failed()
        else:
            assert isinstance(outcome, processing.Job)
            m.state, m.attempt, m.counted, m.running = State.PROCESSING, m.attempt + 1, m.counted + 1, True
            m.held = m.clock + LEASE
            assert outcome.image.attempt == m.attempt

    def now_failed(self) -> None:
        self.model.state, self.model.running, self.model.held = State.FAILED, False, 0
        self.expected_kinds.append("image.failed")

    def is_current(self, number: int) -> bool:
        return number == self.model.attempt and number > 0 and not self.model.gone

    @rule(which=st.sampled_from(["current", "older", "newer"]))
    def renew(self, which: str) -> None:
        m, number = self.model, self.attempt(which)
        refusal = self.refused(lambda r: processing.renew(r.image, number, r.now, timedelta(seconds=LEASE), RULES))
        if self.is_current(number) and m.running:
            assert refusal is None
            m.held = m.clock + LEASE
        else:
            assert refusal is Kind.STALE_ATTEMPT

    @rule(which=st.sampled_from(["current", "older", "newer"]), good=st.booleans())
    def finish(self, which: str, good: bool) -> None:
        m, number = self.model, self.attempt(which)
        verdict: processing.Verdict = processing.Ready(FACTS, VARIANTS) if good else PROBLEM
        refusal = self.refused(
            lambda r: processing.finish(r.image, number, verdict, r.now, rules=RULES, policy=r.policy)
        )
        if not self.is_current(number):
            assert refusal is Kind.STALE_ATTEMPT
        elif m.state in (State.READY, State.REJECTED):
            assert refusal is None, "the same finish by the same attempt changes nothing"
        elif m.running and not good and m.accepted:
            assert refusal is None
            self.now_failed()
        elif m.running:
            assert refusal is None
            m.state, m.running, m.held = State.READY if good else State.REJECTED, False, 0
            m.accepted, m.rendered = good, False
            m.variants = 100 if good else 0
            self.expected_kinds.append("image.ready" if good else "image.rejected")
        else:
            assert refusal is Kind.STALE_ATTEMPT

    @rule(which=st.sampled_from(["current", "older", "newer"]), final=st.booleans())
    def fail(self, which: str, final: bool) -> None:
        m, number = self.model, self.attempt(which)

        def decision(r: Reading) -> Decision[processing.Failed]:
            return processing.fail(
                r.image, number, PROBLEM, r.now, final=final, jitter=0.5, rules=RULES, policy=r.policy
            )

        if not self.is_current(number) or m.state not in (State.PROCESSING, State.FAILED):
            assert self.refused(decision) is Kind.STALE_ATTEMPT
            return
        outcome = self.decide(decision)
        if m.state is State.PROCESSING and m.running:
            if final or m.counted == RULES.max_attempts:
                self.now_failed()
            else:
                m.running, m.held = False, m.clock + 0.75 * min(20 * 2 ** (m.counted - 1), 60)
        assert outcome.state is m.state
        if m.state is State.PROCESSING:
            assert outcome.retry_after is not None
            assert abs(outcome.retry_after.total_seconds() - max(m.held - m.clock, 0)) < 5

    @rule(which=st.sampled_from(["current", "older", "newer"]))
    def hand_back(self, which: str) -> None:
        m, number = self.model, self.attempt(which)
        refusal = self.refused(lambda r: processing.hand_back(r.image, number, r.now, RULES))
        if self.is_current(number) and m.state is State.PROCESSING:
            assert refusal is None
            if m.running:
                m.running, m.counted, m.held = False, m.counted - 1, 0
        else:
            assert refusal is Kind.STALE_ATTEMPT

    @rule(age=st.none() | st.sampled_from([5, 25, 45]))
    def abandon(self, age: float | None) -> None:
        m = self.model
        since = age is not None and m.ordered is not None and m.clock - age > m.ordered
        if not m.terminal and (m.ordered is None or since):
            self.now_failed()

        def decision(r: Reading) -> Decision[State | None]:
            sent_at = None if age is None else r.now - timedelta(seconds=age)
            return processing.abandon(r.image, PROBLEM, r.now, sent_at=sent_at, rules=RULES, policy=r.policy)

        assert self.decide(decision) is m.state

    @rule()
    def expire(self) -> None:
        m = self.model
        if m.state is State.AWAITING_UPLOAD and m.clock >= m.expires:
            m.state = State.EXPIRED
        assert self.decide(lambda r: processing.expire(r.image, r.now)) is m.state

    @rule()
    def original_is_removed(self) -> None:
        m = self.model
        self.decide(lambda r: processing.record_original_removal(r.image, r.now))
        if m.state in (State.READY, State.REJECTED, State.FAILED):
            m.original = False

    @rule()
    def purge_is_recorded(self) -> None:
        m = self.model
        refusal = self.refused(lambda r: processing.record_purge(r.image, r.now, RULES))
        assert refusal is (None if m.state is State.DELETED else Kind.WRONG_STATE)
        if m.state is State.DELETED and m.clock >= m.purge_after:
            m.purged = True

    @rule()
    def reprocess(self) -> None:
        m = self.model
        refusal = self.refused(lambda r: ownership.reprocess(r.image, r.now, RULES), self.world.own)
        if m.state is State.DELETED:
            assert refusal is Kind.GONE
        elif m.state is State.PROCESSING:
            assert refusal is None, "it is what was asked for"
        elif m.state in (State.READY, State.FAILED) and m.original:
            assert refusal is None
            m.state, m.counted, m.ordered = State.PROCESSING, 0, m.clock
            self.expected_kinds.append("darkroom.process/1")
        else:
            assert refusal is Kind.WRONG_STATE

    @rule()
    def rendering_begins(self) -> None:
        m = self.model

        def decision(r: Reading) -> Decision[rendering.Rendering | Variant]:
            return rendering.begin_rendering(r.image, ON_DEMAND.name, r.now, timedelta(seconds=LEASE))

        if m.state is not State.READY:
            assert self.refused(decision) is (Kind.GONE if m.state is State.DELETED else Kind.WRONG_STATE)
        elif m.rendered:
            assert self.decide(decision) == ON_DEMAND
        elif not m.original:
            assert self.refused(decision) is Kind.WRONG_STATE
        else:
            outcome = self.decide(decision)
            assert isinstance(outcome, rendering.Rendering)
            assert outcome.image.attempt == m.attempt
            m.render_until = m.clock + LEASE

    @rule(which=st.sampled_from(["current", "older", "newer"]))
    def variant_is_recorded(self, which: str) -> None:
        m, number = self.model, self.attempt(which)

        def decision(r: Reading) -> Decision[Variant]:
            return rendering.record_variant(r.image, number, ON_DEMAND, r.now)

        if m.state is not State.READY or number != m.attempt:
            assert self.refused(decision) is Kind.STALE_ATTEMPT
            return
        assert self.decide(decision) == ON_DEMAND
        m.variants += 0 if m.rendered else ON_DEMAND.size
        m.rendered = True

    @rule()
    def upload_is_renewed(self) -> None:
        m = self.model
        refusal = self.refused(
            lambda r: ownership.renew_upload(r.image, r.now, timedelta(seconds=LIFE), RULES), self.world.own
        )
        if m.state is State.AWAITING_UPLOAD:
            assert refusal is None
            m.expires = m.clock + LIFE
        else:
            assert refusal is (Kind.GONE if m.state is State.DELETED else Kind.WRONG_STATE)

    @rule(tags=st.dictionaries(st.text("ab", min_size=1, max_size=2), st.text("xy", max_size=2), max_size=3))
    def tags_are_replaced(self, tags: dict[str, str]) -> None:
        refusal = self.refused(lambda r: ownership.update(r.image, tags, "", r.now), self.world.own)
        assert refusal is (Kind.GONE if self.model.state is State.DELETED else None)
        if refusal is None:
            assert dict(self.read().tags) == tags

    @rule()
    def delete(self) -> None:
        m = self.model
        new = uuid.uuid4()
        deletion = self.decide(lambda r: ownership.delete(r.image, r.now, new, RULES), self.world.own)
        if m.state is State.DELETED:
            assert deletion.receipt == self.receipt
            return
        self.receipt = deletion.receipt
        m.purge_after = m.clock
        if m.running:
            m.purge_after = max(m.purge_after, m.held + 60)
        if m.render_until:
            m.purge_after = max(m.purge_after, m.render_until + 60)
        if m.state is not State.EXPIRED:
            m.purge_after = max(m.purge_after, m.expires + 300)
        m.state = State.DELETED
        self.expected_kinds += ["image.deleted", "darkroom.purge/1"]

    def read(self) -> Image:
        image = self.world.run(self.world.every.read(self.tenant_id, self.image_id, 5.0)).image
        assert image is not None
        return image

    @precondition(lambda self: self.model is not None)
    @invariant()
    def the_row_is_what_the_model_says(self) -> None:
        m, image = self.model, self.read()
        assert image.state is m.state
        assert (image.attempt, image.counted) == (m.attempt, m.counted)
        if not m.gone:
            assert image.running is m.running
        assert (image.ready_at is not None) is (m.state is State.READY) or m.state is State.DELETED
        assert (image.purged_at is not None) is m.purged
        if m.accepted and m.state is not State.DELETED:  # also while it is processed again, and if that fails
            expected = (*VARIANTS, ON_DEMAND) if m.rendered else VARIANTS
            assert (image.variants, image.sha256) == (expected, FACTS.sha256)
            assert image.facts is not None
            assert image.facts.perceptual_hash == FACTS.perceptual_hash
        if m.purged:
            assert (image.filename, image.size, image.facts, image.variants, image.tags) == ("", 0, None, (), {})

    @invariant()
    def usage_is_what_is_there(self) -> None:
        assert self.world.run(self.world.usage()) == self.model.usage()

    @invariant()
    def each_verdict_is_told_once(self) -> None:
        assert self.world.run(self.world.kinds()) == sorted(self.expected_kinds)

    @invariant()
    def something_is_always_due_for_an_image_that_is_not_at_rest(self) -> None:
        at_rest = self.model.state in (State.READY, State.REJECTED, State.FAILED, State.EXPIRED)
        assert (self.read().due_at is None) is at_rest


def an_image(tenant_id: UUID, image_id: UUID, now: datetime) -> Image:
    """An image as `create_images` makes it."""
    return Image(
        tenant_id=tenant_id,
        id=image_id,
        state=State.AWAITING_UPLOAD,
        version=1,
        revision=1,
        filename="a.jpg",
        content_type="image/jpeg",
        size=SIZE,
        sha256=b"",
        upload_method=UploadMethod.PUT,
        presets=(),
        traceparent="",
        upload_expires_at=now + timedelta(seconds=LIFE),
        created_at=now,
        updated_at=now,
        due_at=now + timedelta(seconds=LIFE) + RULES.upload_grace,
    )


__all__ = ["LIFE", "RULES", "SIZE", "ImageMachine", "OriginalPolicy", "World", "an_image"]
