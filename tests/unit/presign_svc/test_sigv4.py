"""Our signatures are botocore's, byte for byte."""

from __future__ import annotations

import base64
import datetime as dt
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any
from unittest import mock

import botocore.credentials
import botocore.session
import pytest
from botocore.config import Config
from hypothesis import given, settings
from hypothesis import strategies as st

from presign_svc.domain import checks, tickets
from presign_svc.domain.downloads import Windows
from presign_svc.domain.place import bucket
from presign_svc.domain.sigv4 import Credentials, SignedHeaders, Signer
from runtime.errors import DarkroomError

LIMITS = tickets.TicketLimits(
    default_life=900, shortest_life=60, longest_life=7 * 24 * 3600, largest_size=5 * 1024**3, retry_after=1.0
)
WINDOW = 900
MIDNIGHT = 1_793_836_800  # 2026-11-05T00:00:00Z

SESSION = botocore.session.Session()


@cache
def botocore_client(region: str, endpoint: str | None, style: str) -> Any:
    return SESSION.create_client(
        "s3",
        region_name=region,
        endpoint_url=endpoint,
        aws_access_key_id="replaced",
        aws_secret_access_key="replaced",
        config=Config(
            signature_version="s3v4", s3={"addressing_style": style, "us_east_1_regional_endpoint": "regional"}
        ),
    )


def botocore_url(
    operation: str,
    parameters: dict[str, Any],
    place: tuple[str, str | None, str],
    *,
    signing: Credentials,
    at: int,
    life: int,
) -> str:
    client = botocore_client(*place)
    # A client of its own for each credential would cost 40 ms an example.
    client._request_signer._credentials = botocore.credentials.Credentials(
        signing.access_key, signing.secret_key, signing.token
    )
    with botocore_clock(at):
        return str(client.generate_presigned_url(operation, Params=parameters, ExpiresIn=life))


@contextmanager
def botocore_clock(moment: int) -> Iterator[None]:
    now = dt.datetime.fromtimestamp(moment, dt.UTC)
    with mock.patch("botocore.auth.get_current_datetime", return_value=now):
        yield


def acceptable(check: Callable[[str], str]) -> Callable[[str], bool]:
    def accepts(value: str) -> bool:
        try:
            check(value)
        except DarkroomError:
            return False
        return True

    return accepts


keys = (
    st.text(
        st.one_of(
            st.sampled_from("/ +%&=?#~.-_*'\"()<>[]{}|\\^`:;,@!$éß日本語🎞\u0301\u202e"), st.characters(codec="utf-8")
        ),
        min_size=1,
        max_size=60,
    )
    | st.text("aé/🎞", min_size=200, max_size=300)
).filter(acceptable(checks.key))
media_types = st.sampled_from(["image/jpeg", "image/heic", "image/svg+xml", "application/x.y-z_1", "IMAGE/PNG"])
dispositions = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=60).filter(
    acceptable(lambda value: checks.header(value, "/"))
)
secrets = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=64)
credentials = st.builds(
    Credentials,
    access_key=st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", min_size=16, max_size=20),
    secret_key=secrets,
    token=st.none() | st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=400),
)
regions = st.sampled_from(["ap-northeast-2", "eu-central-1", "us-east-1"])
endpoints = st.sampled_from(
    [
        None,
        "http://127.0.0.1:4566",
        "http://localhost:4566/",
        "http://s3.example.com:80",
        "https://S3.Example.com:443",
        "https://s3.example.com:8443",
    ]
)
# Around midnight UTC, where the scope's day changes, and anywhere else.
moments = st.integers(MIDNIGHT - 3, MIDNIGHT + 3) | st.integers(1_500_000_000, 4_000_000_000)
lives = st.integers(LIMITS.shortest_life, LIMITS.longest_life)
places = st.tuples(regions, endpoints, st.sampled_from(["virtual", "path"])).filter(
    # An address of digits has no names below it: botocore falls back to the path style.
    lambda place: not (place[1] == "http://127.0.0.1:4566" and place[2] == "virtual")
)


@settings(max_examples=600, deadline=None)
@given(
    credentials=credentials,
    place=places,
    moment=moments,
    life=lives,
    key=keys,
    content_type=media_types,
    size=st.integers(1, LIMITS.largest_size),
    sha256=st.just(b"") | st.binary(min_size=32, max_size=32),
)
def test_a_ticket_is_what_botocore_would_sign(
    *,
    credentials: Credentials,
    place: tuple[str, str | None, Any],
    moment: int,
    life: int,
    key: str,
    content_type: str,
    size: int,
    sha256: bytes,
) -> None:
    region, endpoint, style = place
    ours = tickets.put(
        Signer(credentials, region).at(moment),
        bucket("darkroom-incoming", region=region, endpoint=endpoint, style=style),
        LIMITS,
        key=key,
        content_type=content_type,
        size=size,
        sha256=sha256,
        end=moment + life,
    )
    parameters = {
        "Bucket": "darkroom-incoming",
        "Key": key,
        "ContentType": content_type,
        "ContentLength": size,
        "IfNoneMatch": "*",
    }
    if sha256:
        parameters["ChecksumSHA256"] = base64.b64encode(sha256).decode()
    assert ours.url == botocore_url("put_object", parameters, place, signing=credentials, at=moment, life=life)
    assert ours.expires_at == moment + life


@settings(max_examples=600, deadline=None)
@given(
    credentials=credentials,
    place=places,
    moment=moments,
    key=keys,
    disposition=st.just("") | dispositions,
    content_type=st.just("") | media_types,
)
def test_a_download_is_what_botocore_would_sign_at_the_start_of_the_window(
    *,
    credentials: Credentials,
    place: tuple[str, str | None, Any],
    moment: int,
    key: str,
    disposition: str,
    content_type: str,
) -> None:
    region, endpoint, style = place
    window = Windows(WINDOW, shortest_life=60, retry_after=1.0).at(moment, Signer(credentials, region))
    media = bucket("darkroom-media", region=region, endpoint=endpoint, style=style)
    ours = window.get(media, key, disposition, content_type)
    parameters = {"Bucket": "darkroom-media", "Key": key}
    if disposition:
        parameters["ResponseContentDisposition"] = disposition
    if content_type:
        parameters["ResponseContentType"] = content_type
    start = moment - moment % WINDOW
    assert ours == botocore_url("get_object", parameters, place, signing=credentials, at=start, life=2 * WINDOW)


def test_a_signer_keeps_its_keys_for_two_days_and_no_more() -> None:
    signer = Signer(Credentials("AKID", "secret"), "ap-northeast-2")
    days = [signer.at(MIDNIGHT + day * 86_400).key for day in range(4)]
    assert len(set(days)) == 4
    assert signer.at(MIDNIGHT).key == days[0], "a day that was dropped is derived again"
    assert len(signer._keys) == 2


def test_headers_out_of_order_are_a_mistake() -> None:
    with pytest.raises(ValueError, match="in order"):
        SignedHeaders(("host", "content-type"))


def test_neither_secret_nor_token_shows_in_a_text_form() -> None:
    held = Credentials("AKID", "the-secret", "the-token")
    texts = repr(held) + repr(Signer(held, "eu-central-1").at(MIDNIGHT))
    assert "the-secret" not in texts
    assert "the-token" not in texts
