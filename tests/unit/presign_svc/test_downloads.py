"""Download URLs: stable in a window, alive for one at least, never beyond their credentials."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from presign_svc.domain.downloads import Window, Windows
from presign_svc.domain.place import bucket
from presign_svc.domain.sigv4 import Credentials, Signer
from runtime.errors import DarkroomError, Kind

REGION = "ap-northeast-2"
SECONDS = 900
SHORTEST = 60
START = 1_793_836_800  # a midnight, hence the start of a window
MEDIA = bucket("media", region=REGION, endpoint="https://s3.example.com", style="path")


def signer(expires_at: float | None = None, access_key: str = "AKID") -> Signer:
    return Signer(Credentials(access_key, "secret", expires_at=expires_at), REGION)


def windows() -> Windows:
    return Windows(SECONDS, shortest_life=SHORTEST, retry_after=10.0)


def url(window: Window) -> str:
    return window.get(MEDIA, "media/t/i/thumb.webp", "", "")


def test_the_url_is_the_same_from_the_first_to_the_last_second_of_a_window() -> None:
    ours = windows()
    first, last, after = (ours.at(START + second, signer()) for second in (0, SECONDS - 1, SECONDS))
    assert url(first) == url(last)
    assert url(after) != url(first)
    assert first.stable_until == START + SECONDS


def test_two_processes_with_one_credential_hand_out_the_same_url() -> None:
    assert url(windows().at(START + 5, signer())) == url(windows().at(START + 700, signer()))


def test_a_new_credential_waits_for_the_next_window() -> None:
    ours = windows()
    before = url(ours.at(START, signer(access_key="OLD")))
    assert url(ours.at(START + 100, signer(access_key="NEW"))) == before
    assert "NEW" in url(ours.at(START + SECONDS, signer(access_key="NEW")))


def test_a_credential_near_its_end_is_left_within_the_window_as_foretold() -> None:
    ours = windows()
    old, new = signer(START + 300, "OLD"), signer(START + 90_000, "NEW")
    first = ours.at(START, old)
    assert first.expires_at == START + 300
    assert first.stable_until == START + 300 - SHORTEST + 1
    assert url(ours.at(first.stable_until - 1, new)) == url(first)
    assert "NEW" in url(ours.at(first.stable_until, new))


@given(
    moments=st.lists(st.integers(START, START + 4 * SECONDS), min_size=1, max_size=20).map(sorted),
    left=st.none() | st.integers(0, 5 * SECONDS),
)
def test_what_is_promised_holds_whenever_it_is_asked(moments: list[int], left: int | None) -> None:
    ours = windows()
    signing = signer(None if left is None else START + left)
    for moment in moments:
        try:
            window = ours.at(moment, signing)
        except DarkroomError as error:
            assert (error.kind, error.retry_after) == (Kind.UNAVAILABLE, 10.0)  # noqa: PT017  # right for some examples
            assert left is not None
            assert START + left - moment < SHORTEST
            continue
        query = parse_qs(urlsplit(url(window)).query)
        assert int(query["X-Amz-Expires"][0]) == window.expires_at - window.stamp.moment
        assert window.stamp.moment <= moment < window.stable_until <= window.stamp.moment + SECONDS
        assert window.expires_at - moment >= SHORTEST
        if left is None:
            assert window.expires_at - moment > SECONDS
        else:
            assert window.expires_at <= START + left
        assert url(ours.at(window.stable_until - 1, signing)) == url(window)


def test_headers_of_the_answer_are_asked_for_where_given() -> None:
    window = windows().at(START, signer())
    query = parse_qs(urlsplit(window.get(MEDIA, "k", 'attachment; filename="a b.webp"', "image/webp")).query)
    assert query["response-content-disposition"] == ['attachment; filename="a b.webp"']
    assert query["response-content-type"] == ["image/webp"]
    assert "response-" not in url(window)


@pytest.mark.parametrize(
    ("disposition", "content_type", "pointer"),
    [
        ("inline\r\nx: y", "", "/content_disposition"),
        ("attachment; filename=é", "", "/content_disposition"),
        (" inline", "", "/content_disposition"),
        ("a" * 1025, "", "/content_disposition"),
        ("", "text", "/content_type"),
        ("", "text/html; charset=utf-8", "/content_type"),
    ],
)
def test_what_no_header_can_carry_is_refused_by_name(disposition: str, content_type: str, pointer: str) -> None:
    with pytest.raises(DarkroomError) as caught:
        windows().at(START, signer()).get(MEDIA, "k", disposition, content_type)
    assert (caught.value.kind, caught.value.pointer) == (Kind.MALFORMED, pointer)
