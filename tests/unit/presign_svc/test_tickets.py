"""What a ticket seals, how long it lives, and what is refused."""

from __future__ import annotations

import dataclasses
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from presign_svc.domain import tickets
from presign_svc.domain.place import bucket
from presign_svc.domain.sigv4 import Credentials, Signer
from runtime.errors import DarkroomError, Kind

NOW = 1_793_836_800
LIMITS = tickets.TicketLimits(
    default_life=900, shortest_life=60, longest_life=3600, largest_size=5 * 1024**3, retry_after=10.0
)
FOREVER = Credentials("AKID", "secret")
INCOMING = bucket("incoming", region="ap-northeast-2", endpoint=None, style="virtual")


def issue(**changes: Any) -> tickets.Ticket:
    order: dict[str, Any] = {"key": "incoming/t/i", "content_type": "image/jpeg", "size": 1, "sha256": b"", **changes}
    end = tickets.expiry(None, NOW, FOREVER, LIMITS)
    return tickets.put(Signer(FOREVER, "ap-northeast-2").at(NOW), INCOMING, LIMITS, end=end, **order)


def test_a_ticket_names_the_headers_that_a_client_must_send() -> None:
    assert issue().headers == {"content-type": "image/jpeg", "if-none-match": "*"}
    assert issue(sha256=bytes(32)).headers == {
        "content-type": "image/jpeg",
        "if-none-match": "*",
        "x-amz-checksum-sha256": "A" * 43 + "=",
    }


def test_a_ticket_seals_length_type_and_single_use() -> None:
    url = urlsplit(issue(sha256=bytes(32)).url)
    query = parse_qs(url.query)
    assert url.netloc == "incoming.s3.ap-northeast-2.amazonaws.com"
    assert url.path == "/incoming/t/i"
    assert query["X-Amz-SignedHeaders"] == ["content-length;content-type;host;if-none-match;x-amz-checksum-sha256"]
    assert query["X-Amz-Expires"] == ["900"]


@pytest.mark.parametrize("change", [{"size": 2}, {"content_type": "image/png"}, {"sha256": bytes(32)}, {"key": "k"}])
def test_every_sealed_property_changes_the_signature(change: dict[str, Any]) -> None:
    assert issue(**change).url[-64:] != issue().url[-64:]


@pytest.mark.parametrize(
    ("change", "kind", "pointer"),
    [
        ({"key": ""}, Kind.MALFORMED, "/key"),
        ({"key": "k" * 1025}, Kind.MALFORMED, "/key"),
        ({"key": "é" * 513}, Kind.MALFORMED, "/key"),
        ({"key": "a/../b"}, Kind.MALFORMED, "/key"),
        ({"key": "./b"}, Kind.MALFORMED, "/key"),
        ({"key": "a\nb"}, Kind.MALFORMED, "/key"),
        ({"key": "a\x7f"}, Kind.MALFORMED, "/key"),
        ({"content_type": ""}, Kind.MALFORMED, "/content_type"),
        ({"content_type": "image"}, Kind.MALFORMED, "/content_type"),
        ({"content_type": "image/jpeg; q=1"}, Kind.MALFORMED, "/content_type"),
        ({"content_type": "image/jpeg\r\nx: y"}, Kind.MALFORMED, "/content_type"),
        ({"size": 0}, Kind.UNPROCESSABLE, "/size"),
        ({"size": -1}, Kind.UNPROCESSABLE, "/size"),
        ({"size": 5 * 1024**3 + 1}, Kind.UNPROCESSABLE, "/size"),
        ({"sha256": bytes(31)}, Kind.MALFORMED, "/sha256"),
    ],
)
def test_what_cannot_be_sealed_is_refused_by_name(change: dict[str, Any], kind: Kind, pointer: str) -> None:
    with pytest.raises(DarkroomError) as caught:
        issue(**change)
    assert (caught.value.kind, caught.value.pointer) == (kind, pointer)


@pytest.mark.parametrize("key", ["k" * 1024, "é" * 512, "a..b/.hidden/...", "a b+c%20/ü/🎞", "/leading//double/"])
def test_any_key_that_s3_takes_is_taken(key: str) -> None:
    assert issue(key=key).url.startswith("https://incoming.s3.")


def test_a_ticket_lives_as_long_as_asked() -> None:
    assert tickets.expiry(None, NOW, FOREVER, LIMITS) == NOW + 900
    assert tickets.expiry(60, NOW, FOREVER, LIMITS) == NOW + 60
    assert tickets.expiry(3600, NOW, FOREVER, LIMITS) == NOW + 3600


@pytest.mark.parametrize("asked", [-1, 0, 59, 3601])
def test_a_life_outside_the_bounds_is_refused(asked: int) -> None:
    with pytest.raises(DarkroomError) as caught:
        tickets.expiry(asked, NOW, FOREVER, LIMITS)
    assert (caught.value.kind, caught.value.pointer) == (Kind.MALFORMED, "/time_to_live")


@given(asked=st.none() | st.integers(60, 3600), left=st.floats(-100, 10_000))
def test_a_ticket_never_outlives_its_credentials_and_is_never_too_short_to_use(asked: int | None, left: float) -> None:
    ending = dataclasses.replace(FOREVER, expires_at=NOW + left)
    try:
        end = tickets.expiry(asked, NOW, ending, LIMITS)
    except DarkroomError as error:
        assert (error.kind, error.retry_after) == (Kind.UNAVAILABLE, 10.0)  # noqa: PT017  # right for some examples
        assert left < LIMITS.shortest_life
    else:
        assert end <= NOW + left
        assert end - NOW >= LIMITS.shortest_life
        assert end == NOW + (asked or 900) or end == NOW + int(left)
