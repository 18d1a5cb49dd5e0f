"""Keys, page tokens, policies, back-off, API keys, rows: the small decisions."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from metadata_svc.domain import api_key, cursor, keys
from metadata_svc.domain.api_key import KeyKind
from metadata_svc.domain.cursor import Position
from metadata_svc.domain.events import event_of, rfc3339
from metadata_svc.domain.image import Facts, OriginalPolicy, Problem, State
from metadata_svc.domain.rules import Rules
from metadata_svc.rows import changes, signed, unsigned
from metadata_svc.service.messages import duration, timestamp
from metadata_svc.settings import Settings
from runtime import logs
from runtime.errors import DarkroomError, Kind
from tests.support.image_machine import an_image
from tests.support.metadata import settings_for_tests

NOW = datetime(2026, 5, 31, 23, 59, 59, 999_999, tzinfo=UTC)


@given(st.uuids(), st.uuids())
def test_a_key_names_the_image_that_it_was_made_for(tenant: UUID, image: UUID) -> None:
    key = keys.original_key(tenant, image)
    assert keys.parse_original_key(key) == (tenant, image)
    assert keys.media_prefix(tenant, image) == key.replace("incoming/", "media/") + "/"


@given(st.text() | st.from_regex(r"incoming/[0-9a-f-]{36}/[0-9a-fA-F-]{35,37}\n?", fullmatch=True))
def test_no_other_text_is_a_key_in_a_second_spelling(text: str) -> None:
    named = keys.parse_original_key(text)
    assert named is None or keys.original_key(*named) == text


@given(st.uuids(), st.none() | st.integers(0, 64), st.binary(max_size=20))
def test_a_page_token_comes_back_as_it_went(image: UUID, distance: int | None, question: bytes) -> None:
    position = Position(image, distance)
    token = cursor.encode(position, question)
    assert re.fullmatch(r"[A-Za-z0-9_-]+", token)
    assert cursor.decode(token, question) == position
    with pytest.raises(DarkroomError):
        cursor.decode(token, question + b"x")


@given(st.uuids(), st.integers(0, 33), st.integers(1, 255))
def test_no_byte_of_a_page_token_can_be_changed(image: UUID, place: int, flip: int) -> None:
    raw = bytearray(base64.urlsafe_b64decode(cursor.encode(Position(image), b"") + "=="))
    raw[place % len(raw)] ^= flip
    with pytest.raises(DarkroomError) as caught:
        cursor.decode(base64.urlsafe_b64encode(bytes(raw)).decode().rstrip("="), b"")
    assert (caught.value.kind, caught.value.pointer) == (Kind.MALFORMED, "/page_token")


@given(st.text())
def test_no_text_is_a_page_token_by_chance(text: str) -> None:
    with pytest.raises(DarkroomError):
        cursor.decode(text, b"")


def test_an_original_never_goes_before_its_ticket_is_over() -> None:
    later, earlier = NOW + timedelta(hours=1), NOW - timedelta(hours=1)
    assert OriginalPolicy(None).due(NOW, earlier) is None
    assert OriginalPolicy(timedelta(0)).due(NOW, earlier) == NOW
    assert OriginalPolicy(timedelta(0)).due(NOW, later) == later
    assert OriginalPolicy(timedelta(days=3)).due(NOW, later) == NOW + timedelta(days=3)


@given(st.integers(1, 1000), st.floats(0, 1, exclude_max=True))
def test_waits_double_up_to_the_longest_and_are_spread_over_their_upper_half(counted: int, jitter: float) -> None:
    rules = Rules()
    whole = min(2.0 ** min(counted, 10), 120)
    assert whole / 2 <= rules.retry_after(counted, jitter).total_seconds() <= whole


def test_a_key_has_256_random_bits_and_its_text_splits_in_three() -> None:
    made = [api_key.make() for _ in range(200)]
    for key in made:
        prefix, key_id, secret = key.text.split("_", 2)
        assert (prefix, key_id) == ("drk", key.id)
        assert re.fullmatch("[a-z0-9]{16}", key_id)
        assert re.fullmatch("[A-Za-z0-9_-]{43}", secret)
        assert hashlib.sha256(secret.encode()).digest() == key.secret_sha256
        assert secret not in repr(key)
        assert secret not in logs.redact(f"made {key.text}")
    assert len({key.text for key in made}) == len(made)


def test_scopes_are_known_and_fit_the_kind() -> None:
    assert api_key.scopes_of(KeyKind.SECRET, ["admin", "images:read", "admin"]) == ["images:read", "admin"]
    assert api_key.scopes_of(KeyKind.PUBLISHABLE, []) == []
    for kind, scopes in ((KeyKind.SECRET, ["x"]), (KeyKind.SECRET, []), (KeyKind.PUBLISHABLE, ["admin"])):
        with pytest.raises(ValueError, match="scope"):
            api_key.scopes_of(kind, scopes)


@given(st.integers(0, (1 << 64) - 1))
def test_a_perceptual_hash_fits_a_signed_column_and_comes_back(value: int) -> None:
    assert -(1 << 63) <= signed(value) < 1 << 63
    assert unsigned(signed(value)) == value


@given(st.datetimes(timezones=st.just(UTC), min_value=NOW.replace(year=1971, tzinfo=None)))
@example(datetime(2515, 1, 1, 0, 0, 0, 999_999, tzinfo=UTC))  # as a float it is the next second
def test_times_keep_every_microsecond(moment: datetime) -> None:
    assert timestamp(moment).ToDatetime(tzinfo=UTC) == moment
    assert datetime.fromisoformat(rfc3339(moment)) == moment


@given(st.timedeltas(min_value=timedelta(0), max_value=timedelta(days=9999)))
def test_lengths_keep_every_microsecond(length: timedelta) -> None:
    assert duration(length).ToTimedelta() == length


def test_only_what_changed_is_written() -> None:
    image = an_image(uuid4(), uuid4(), NOW)
    assert changes(image, image) == "{}"
    assert changes(image, replace(image, state=State.PROCESSING, sha256=b"\x01\xff")) == (
        '{"state":2,"sha256":"\\\\x01ff"}'
    )


def test_events_tell_no_key_of_an_object() -> None:
    image = replace(
        an_image(uuid4(), uuid4(), NOW),
        state=State.READY,
        facts=Facts("JPEG", 1, 2, 3, b"t", "#000000", 255),
        problem=None,
    )
    data = event_of(image).data
    assert data is not None
    assert data["animated"] is True
    assert data["placeholder"] == {"thumbhash": "dA==", "color": "#000000"}
    assert data["sha256"] is None
    rejected = event_of(replace(image, state=State.REJECTED, problem=Problem("truncated", "t", "d")))
    assert rejected.kind == "image.rejected"
    assert rejected.data is not None
    assert rejected.data["problem"] == {"type": "truncated", "title": "t", "detail": "d"}
    assert "format" not in rejected.data


def test_every_setting_says_what_it_is_for() -> None:
    silent = [name for name, field in Settings.model_fields.items() if not field.description]
    assert silent == []


def test_a_tombstone_outlives_an_idempotency_key() -> None:
    settings_for_tests(tombstone_days=2, request_life_hours=48)
    with pytest.raises(ValueError, match="tombstone_days"):
        settings_for_tests(tombstone_days=2, request_life_hours=49)
