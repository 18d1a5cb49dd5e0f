"""What the reconciler is told, row by row."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metadata_svc.domain import reconciliation
from metadata_svc.domain.image import TERMINAL, Image, State, Variant
from metadata_svc.domain.keys import media_prefix, original_key, parse_media_key
from metadata_svc.domain.reconciliation import Outcome, Standing, Verdict
from metadata_svc.domain.rules import Rules
from tests.support.image_machine import an_image

NOW = datetime(2026, 5, 1, tzinfo=UTC)
RULES = Rules()
AGE = timedelta(hours=1)
TENANT, IMAGE = UUID(int=1), UUID(int=2)
PREFIX = media_prefix(TENANT, IMAGE)
KEY = f"{PREFIX}thumb.new.webp"
LONG_AGO = NOW - timedelta(days=2)


def row(state: State, **columns: object) -> Standing:
    base = Standing(TENANT, IMAGE, state, LONG_AGO, LONG_AGO, None, frozenset({KEY}))
    return replace(base, **columns)  # type: ignore[arg-type]  # each test names its own columns


@pytest.mark.parametrize(
    ("state", "verdict"),
    [
        (State.AWAITING_UPLOAD, Verdict.ORDER),
        (State.PROCESSING, Verdict.KEEP),
        (State.READY, Verdict.KEEP),
        (State.REJECTED, Verdict.KEEP),
        (State.FAILED, Verdict.KEEP),
        (State.EXPIRED, Verdict.REMOVE),
        (State.DELETED, Verdict.REMOVE),
    ],
)
def test_an_original_stays_as_long_as_its_image_needs_it(state: State, verdict: Verdict) -> None:
    assert reconciliation.on_original(row(state), AGE, AGE) is verdict
    assert reconciliation.on_original(None, AGE, AGE) is Verdict.REMOVE


def test_an_upload_that_has_just_come_is_not_ordered_yet() -> None:
    assert reconciliation.on_original(row(State.AWAITING_UPLOAD), AGE / 2, AGE) is Verdict.KEEP


def test_an_original_that_was_removed_by_policy_goes_again() -> None:
    assert reconciliation.on_original(row(State.READY, original_removed_at=LONG_AGO), AGE, AGE) is Verdict.REMOVE


@given(st.sampled_from(State), st.booleans(), st.integers(0, 10_000))
def test_a_variant_that_its_image_shows_is_never_removed(state: State, named: bool, seconds: int) -> None:
    standing = row(state, updated_at=NOW - timedelta(seconds=seconds))
    verdict = reconciliation.on_variant(standing, KEY if named else f"{PREFIX}thumb.old.webp", NOW, RULES)
    if state in (State.AWAITING_UPLOAD, State.EXPIRED, State.DELETED):
        assert verdict is Verdict.REMOVE
    elif named or state is State.PROCESSING:
        assert verdict is Verdict.KEEP
    else:
        over = timedelta(seconds=seconds) >= RULES.superseded_after
        assert verdict is (Verdict.REMOVE if over else Verdict.KEEP)


@given(st.sampled_from(State), st.integers(0, 7200), st.sets(st.sampled_from(["a", "b", "c"])))
def test_only_what_a_settled_row_has_named_for_a_while_is_missing(state: State, seconds: int, there: set[str]) -> None:
    names = frozenset({"a", "b"})
    standing = row(state, updated_at=NOW - timedelta(seconds=seconds), variants=names)
    rests = seconds >= AGE.total_seconds()
    missing = reconciliation.missing_variants(standing, there, NOW, AGE)
    assert missing == (names - there if rests and state is State.READY else frozenset())
    settled = state in (State.READY, State.REJECTED, State.FAILED)
    assert reconciliation.missing_original(standing, there, NOW, AGE) is (rests and settled)
    assert not reconciliation.missing_original(standing, {original_key(TENANT, IMAGE)}, NOW, AGE)


@pytest.mark.parametrize("state", State)
def test_an_upload_in_parts_is_aborted_unless_its_image_still_awaits_it(state: State) -> None:
    def verdict(age: timedelta, expires_at: datetime) -> Verdict:
        return reconciliation.on_upload(row(state, upload_expires_at=expires_at), age, AGE, NOW, RULES)

    assert verdict(AGE / 2, LONG_AGO) is Verdict.KEEP
    assert verdict(AGE, LONG_AGO) is Verdict.REMOVE
    awaited = Verdict.KEEP if state is State.AWAITING_UPLOAD else Verdict.REMOVE
    assert verdict(AGE, NOW + timedelta(minutes=1)) is awaited
    assert verdict(AGE, NOW - RULES.upload_grace + timedelta(seconds=1)) is awaited


def ready(*names: str, **columns: object) -> Image:
    variants = tuple(Variant(name, f"{PREFIX}{name}", "image/webp", 4, 3, 10) for name in names)
    base = replace(an_image(TENANT, IMAGE, NOW), state=State.READY, ready_at=NOW, variants=variants, attempt=1)
    return replace(base, **columns)  # type: ignore[arg-type]  # each test names its own columns


def test_lost_variants_are_made_again_and_the_others_stay() -> None:
    decided = reconciliation.record_missing_variants(ready("a", "b", "c", counted=4), {f"{PREFIX}b"}, NOW, RULES)
    assert decided.answer is Outcome.REMADE
    assert decided.change is not None
    after = decided.change.image
    assert (after.state, after.counted, after.ready_at, after.attempt) == (State.PROCESSING, 0, None, 1)
    assert [variant.name for variant in after.variants] == ["a", "c"]
    assert [message.kind for message in decided.change.messages] == ["darkroom.process/1"]
    assert (decided.change.images, decided.change.bytes) == (0, -10)
    again = reconciliation.record_missing_variants(after, {f"{PREFIX}b"}, NOW, RULES)
    assert (again.answer, again.change) == (Outcome.NONE, None)


def test_without_an_original_lost_variants_are_forgotten() -> None:
    image = ready("a", "b", original_removed_at=NOW)
    decided = reconciliation.record_missing_variants(image, {f"{PREFIX}a", f"{PREFIX}b"}, NOW, RULES)
    assert decided.answer is Outcome.FORGOTTEN
    assert decided.change is not None
    assert (decided.change.image.state, decided.change.image.variants) == (State.READY, ())
    assert decided.change.messages == ()


@pytest.mark.parametrize("state", sorted(set(State) - {State.READY}))
def test_a_row_that_was_faster_is_left_as_it_is(state: State) -> None:
    image = replace(ready("a"), state=state, ready_at=None)
    assert reconciliation.record_missing_variants(image, {f"{PREFIX}a"}, NOW, RULES).change is None
    assert reconciliation.record_missing_variants(None, {"a"}, NOW, RULES).answer is Outcome.NONE
    decided = reconciliation.record_missing_original(image, NOW)
    assert (decided.answer is Outcome.FORGOTTEN) is (state in TERMINAL - {State.EXPIRED, State.DELETED})
    assert reconciliation.hasten(image, NOW).answer is (state is State.AWAITING_UPLOAD)


def test_an_image_is_hastened_once() -> None:
    image = an_image(TENANT, IMAGE, NOW)
    first = reconciliation.hasten(image, NOW)
    assert first.answer
    assert first.change is not None
    assert first.change.image.due_at == NOW
    assert first.change.image.revision == image.revision
    assert not reconciliation.hasten(first.change.image, NOW).answer


@given(st.uuids(), st.uuids(), st.text(min_size=1))
def test_a_key_of_a_variant_names_its_image(tenant: UUID, image: UUID, name: str) -> None:
    assert parse_media_key(media_prefix(tenant, image) + name) == (tenant, image)
    assert parse_media_key(media_prefix(tenant, image)) is None
    assert parse_media_key(original_key(tenant, image)) is None
    assert parse_media_key("x" + media_prefix(tenant, image) + name) is None
