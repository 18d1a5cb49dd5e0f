"""Signatures in headers are botocore's, byte for byte; refusals have AWS's names; a kept connection may have ended."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any
from unittest import mock
from urllib.parse import quote

import aiohttp
import pytest
from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given
from hypothesis import strategies as st

from runtime.aws_http import NO_BODY, AwsHttp, Keys, Refused, Signer, regional
from runtime.parameters import ParameterStore, ParametersUnavailable
from runtime.watched import Stored

MOMENTS = st.integers(1_600_000_000, 2_200_000_000).map(lambda second: datetime.fromtimestamp(second, UTC))
TOKENS = st.none() | st.text("abcXYZ019+/=", min_size=1, max_size=40)
KEYS = st.text(min_size=1, max_size=30).filter(lambda key: "\x00" not in key and key.isprintable())
EXTRAS = st.sampled_from(
    [{}, {"content-type": "image/webp", "cache-control": "private, max-age=1", "x-amz-checksum-sha256": "abc="}]
)


def botocores(
    auth: Callable[..., Any], request: AWSRequest, keys: Keys, service: str, moment: datetime
) -> dict[str, str]:
    credentials = Credentials(keys.access, keys.secret, keys.token)
    clock = "botocore.compat.get_current_datetime"
    with mock.patch(clock, return_value=moment), mock.patch("botocore.auth.get_current_datetime", return_value=moment):
        auth(credentials, service, "ap-northeast-2").add_auth(request)
    return {name.lower(): value for name, value in request.headers.items()}


@given(KEYS, st.binary(max_size=50), EXTRAS, TOKENS, MOMENTS)
def test_a_request_to_s3_is_signed_as_botocore_signs_it(
    key: str, body: bytes, extra: dict[str, str], token: str | None, moment: datetime
) -> None:
    keys = Keys("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG", token)
    path = f"/{quote(key, safe='/~')}"
    request = AWSRequest("PUT", f"https://bucket.s3.ap-northeast-2.amazonaws.com{path}", dict(extra), body)
    request.context["payload_signing_enabled"] = True
    expected = botocores(S3SigV4Auth, request, keys, "s3", moment)
    host = "bucket.s3.ap-northeast-2.amazonaws.com"
    ours = Signer("s3", "ap-northeast-2").sign(
        keys, "PUT", host, path, headers=extra, digest=hashlib.sha256(body).digest(), moment=moment.timestamp()
    )
    assert {**expected, "host": host} == ours


@given(st.binary(max_size=50), TOKENS, MOMENTS)
def test_a_request_to_sqs_is_signed_as_botocore_signs_it(body: bytes, token: str | None, moment: datetime) -> None:
    keys = Keys("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG", token)
    headers = {"content-type": "application/x-amz-json-1.0", "x-amz-target": "AmazonSQS.SendMessage"}
    request = AWSRequest("POST", "https://sqs.ap-northeast-2.amazonaws.com/", dict(headers), body)
    expected = botocores(SigV4Auth, request, keys, "sqs", moment)
    ours = Signer("sqs", "ap-northeast-2").sign(
        keys,
        "POST",
        "sqs.ap-northeast-2.amazonaws.com",
        "/",
        headers=headers,
        digest=hashlib.sha256(body).digest(),
        moment=moment.timestamp(),
    )
    # botocore sends the digest to S3 alone; a signature may cover more.
    del ours["x-amz-content-sha256"]
    assert (
        ours["authorization"].partition("SignedHeaders=")[0] == expected["authorization"].partition("SignedHeaders=")[0]
    )
    assert {name: value for name, value in ours.items() if name not in {"authorization", "host"}} == {
        name: value for name, value in expected.items() if name != "authorization"
    }


def test_another_key_or_day_signs_anew() -> None:
    signer = Signer("s3", "r")
    made = {
        signer.sign(Keys("A", secret), "GET", "h", "/", headers={}, digest=NO_BODY, moment=moment)["authorization"]
        for secret in ("one", "two")
        for moment in (0.0, 86_400.0)
    }
    assert len(made) == 4


def test_the_host_of_a_service_follows_its_region() -> None:
    assert regional("s3", "ap-northeast-2") == "https://s3.ap-northeast-2.amazonaws.com"
    assert regional("sqs", "cn-north-1") == "https://sqs.cn-north-1.amazonaws.com.cn"


class _Static:
    async def get_frozen_credentials(self) -> Any:
        return SimpleNamespace(access_key="A", secret_key="S", token=None)


@asynccontextmanager
async def served(answers: list[bytes], *, read_timeout: float = 30) -> AsyncIterator[tuple[AwsHttp, list[bytes]]]:
    """A server that gives these answers, one a connection, keeps the connection, and ends it with the next request."""
    seen: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            seen.append(await reader.readuntil(b"\r\n\r\n"))
            writer.write(answers.pop(0))
            await writer.drain()
            await reader.read(1)  # the next request, or the end
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    endpoint = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server, AsyncExitStack() as stack:
        http = await stack.enter_async_context(aiohttp.ClientSession())
        yield AwsHttp(http, _Static(), service="s3", region="r", endpoint=endpoint, read_timeout=read_timeout), seen


def answer(status: str, body: bytes = b"", *headers: str) -> bytes:
    lines = "".join(f"{header}\r\n" for header in (*headers, f"content-length: {len(body)}"))
    return f"HTTP/1.1 {status}\r\n{lines}\r\n".encode() + body


@pytest.mark.parametrize(
    ("said", "code"),
    [
        (answer("404 Not Found", b"<?xml?><Error><Code>NoSuchKey</Code></Error>"), "NoSuchKey"),
        (answer("400 Bad Request", b'{"__type":"com.amazonaws.sqs#ReceiptHandleIsInvalid"}'), "ReceiptHandleIsInvalid"),
        (answer("400 Bad Request", b"{}", "x-amzn-query-error: AWS.Gone;Sender"), "AWS.Gone"),
        (answer("404 Not Found"), "404"),
        (answer("503 Slow Down", b"busy"), "503"),
        (answer("307 Temporary Redirect", b"", "location: http://127.0.0.1:1/"), "307"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_a_refusal_has_the_name_that_aws_gives_it(said: bytes, code: str) -> None:
    async with served([said, said]) as (aws, _):
        with pytest.raises(Refused) as caught:
            async with aws.send("GET", "/key", {}):
                pass
        assert caught.value.code == code
        assert caught.value.status == int(said.split()[1])


async def test_a_kept_connection_that_has_ended_costs_a_second_try_and_no_error() -> None:
    async with served([answer("200 OK", b"one"), answer("200 OK", b"two")]) as (aws, seen):
        for expected in (b"one", b"two"):
            async with aws.send("POST", "/key", {}, b"body", hashlib.sha256(b"body").digest()) as response:
                assert await response.read() == expected
        assert len(seen) == 2
        assert all(b"authorization: AWS4-HMAC-SHA256" in head for head in seen)


async def test_a_server_that_fails_once_is_asked_once_more() -> None:
    async with served([answer("503 Slow Down"), answer("200 OK", b"two")]) as (aws, seen):
        async with aws.send("PUT", "/key", {}, b"body", hashlib.sha256(b"body").digest()) as response:
            assert await response.read() == b"two"
        assert len(seen) == 2


async def test_parameters_are_asked_for_again_while_too_many_ask_and_not_when_they_are_not_ours() -> None:
    throttled = answer("400 Bad Request", b'{"__type":"ThrottlingException"}')
    page = answer("200 OK", b'{"Parameters":[{"Name":"/a/x","Value":"1","Version":3}]}')
    async with served([throttled, throttled, page]) as (aws, seen):
        assert await ParameterStore(aws).folder("/a/") == {"x": Stored("1", 3)}
        assert len(seen) == 3
    async with served([answer("400 Bad Request", b'{"__type":"AccessDeniedException"}')]) as (aws, seen):
        with pytest.raises(ParametersUnavailable, match="AccessDeniedException"):
            await ParameterStore(aws).folder("/a/")
        assert len(seen) == 1


LONGER = b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n"


@pytest.mark.parametrize("said", [b"", LONGER[:20]], ids=["nothing", "half-a-head"])
async def test_a_server_that_does_not_answer_is_given_up(said: bytes) -> None:
    async with served([said], read_timeout=0.3) as (aws, _):
        with pytest.raises(TimeoutError):
            async with aws.send("GET", "/key", {}):
                pass


async def test_a_refusal_that_stops_is_given_up() -> None:
    async with served([LONGER.replace(b"200 OK", b"404 No") + b"<"], read_timeout=0.3) as (aws, _):
        with pytest.raises(TimeoutError):
            async with aws.send("GET", "/key", {}):
                pass


async def test_a_large_body_that_stops_is_given_up_and_not_one_whose_reader_is_slow() -> None:
    stops = LONGER + bytes(1000)
    async with served([stops], read_timeout=0.3) as (aws, _), aws.send("GET", "/key", {}) as response:
        pieces = aws.pieces(response)
        assert await anext(pieces) == bytes(1000)
        await asyncio.sleep(0.7)
        with pytest.raises(TimeoutError, match=r"0\.3 s"):
            await anext(pieces)
    whole = answer("200 OK", bytes(100_000))
    async with served([whole], read_timeout=0.3) as (aws, _), aws.send("GET", "/key", {}) as response:
        read = 0
        async for piece in aws.pieces(response):
            read += len(piece)
            await asyncio.sleep(0.4)
        assert read == 100_000
