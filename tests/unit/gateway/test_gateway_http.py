"""HTTP itself, byte by byte: what is no request, what is an odd one, and what the log says of each."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import msgspec
import pytest
from darkroom.metadata.v1 import metadata_pb2 as pb
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.gateway_fakes import ready_image
from tests.unit.gateway.conftest import KEY, TENANT, Gateway, Starter

ID = "01980a3e-7b1c-7c3a-9d52-3f6a1c2b4d5e"
BODY = b'{"filename":"a.jpg","content_type":"image/jpeg","size":1000}'


class Raw:
    """A connection that sends bytes as they are."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def answer(self, *, head_only: bool = False) -> tuple[int, dict[str, str], bytes]:
        """The next answer: status, headers, body."""
        async with asyncio.timeout(5):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            headers = dict(line.split(": ", 1) for line in head[1:] if line)
            length = 0 if head_only else int(headers.get("content-length", 0))
            return int(head[0].split(" ")[1]), headers, await self.reader.readexactly(length)


async def opened(gateway: Gateway) -> Raw:
    return Raw(*await asyncio.open_connection("127.0.0.1", gateway.port))


async def sent(gateway: Gateway, data: bytes, *, head_only: bool = False) -> tuple[int, dict[str, str], bytes]:
    raw = await opened(gateway)
    raw.writer.write(data)
    try:
        return await raw.answer(head_only=head_only)
    finally:
        raw.writer.close()


def request(method: str, target: str, *headers: str, body: bytes = b"") -> bytes:
    lines = [f"{method} {target} HTTP/1.1", "host: x", f"x-api-key: {KEY}", *headers]
    return "\r\n".join([*lines, "", ""]).encode("utf-8", "surrogateescape") + body


def post(*headers: str, body: bytes = BODY) -> bytes:
    length = f"content-length: {len(body)}"
    return request("POST", "/v1/images", "content-type: application/json", length, *headers, body=body)


def logged(gateway: Gateway) -> list[dict[str, Any]]:
    return [msgspec.json.decode(line) for chunk in gateway.log for line in chunk.splitlines()]


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"hello\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nhost x\r\n\r\n",
        b"GET /" + b"x" * 20_000 + b" HTTP/1.1\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nx: " + b"x" * 20_000 + b"\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\ncontent-length: -1\r\n\r\n",
        b"POST /v1/images HTTP/1.1\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
    ],
)
async def test_what_is_no_http_is_answered_with_a_problem_and_the_connection_ends(
    gateway: Gateway, data: bytes
) -> None:
    raw = await opened(gateway)
    raw.writer.write(data)
    status, headers, body = await raw.answer()
    assert (status, headers["content-type"], headers["connection"]) == (400, "application/problem+json", "close")
    assert json.loads(body)["request_id"] == headers["x-request-id"]
    assert await raw.reader.read() == b""
    raw.writer.close()


@pytest.mark.parametrize(
    "target",
    [
        "/v1/images/%FF",
        "/v1/images/%00",
        "/v1/images/\udcff",
        "/v1/images/é",
        "/v1/images/..%2f..%2fetc",
        "/v1/images//",
        "//",
        f"/v1/images/{ID}/variants/%FF%FE",
        f"/v1/images/{ID}/variants/\udcff",
        f"/v1/images/{ID}/variants/" + "x" * 5000,
        f"/v1/images/{ID}/",
        "/docs/\udcff",
        "*",
        "/v1/images/{id}",
    ],
)
async def test_an_odd_path_names_nothing(gateway: Gateway, target: str) -> None:
    gateway.metadata.put(ready_image(TENANT, ID))
    status, headers, body = await sent(gateway, request("GET", target))
    assert status in {400, 404}
    assert headers["content-type"] == "application/problem+json"
    assert json.loads(body)["status"] == status


@pytest.mark.parametrize(
    "query", ["%FF", "tag=%FF:%FF", "\udcff=1", "tag=\udcff:1", "tag=:", "&&==&", "state=%00", "page_token="]
)
async def test_an_odd_query_is_malformed_or_means_nothing(gateway: Gateway, query: str) -> None:
    status, _, body = await sent(gateway, request("GET", f"/v1/images?{query}"))
    assert status in {200, 400}
    json.loads(body)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    target=st.text(st.characters(codec="latin-1", exclude_characters=" \r\n\t"), min_size=1, max_size=40),
    header=st.binary(max_size=30),
)
async def test_whatever_is_in_the_head_the_fault_is_never_ours(gateway: Gateway, target: str, header: bytes) -> None:
    head = b"GET /v1/images/" + target.encode("latin-1") + b" HTTP/1.1\r\nx-api-key: " + KEY.encode()
    data = head + b"\r\nif-none-match: " + header.replace(b"\r", b"").replace(b"\n", b"") + b"\r\n\r\n"
    status, headers, body = await sent(gateway, data)
    assert 200 <= status < 500
    assert headers["x-request-id"]
    json.loads(body)


async def test_a_body_may_be_asked_for_first(gateway: Gateway) -> None:
    raw = await opened(gateway)
    whole = post("expect: 100-continue")
    raw.writer.write(whole[: -len(BODY)])
    assert (await raw.answer())[0] == 100
    raw.writer.write(BODY)
    assert (await raw.answer())[0] == 201
    raw.writer.close()


async def test_an_unknown_expectation_is_refused(gateway: Gateway) -> None:
    data = post("expect: a-miracle")[: -len(BODY)]
    assert (await sent(gateway, data))[0] == 417


async def test_a_refused_body_is_not_asked_for(gateway: Gateway) -> None:
    head = request(
        "POST", "/v1/images", "content-type: application/json", "content-length: 999999999", "expect: 100-continue"
    )
    status, headers, _ = await sent(gateway, head)
    assert (status, headers["content-type"]) == (413, "application/problem+json")


async def test_a_chunked_body_is_bounded_too(gateway: Gateway) -> None:
    chunks = b"".join(b"1000\r\n" + b" " * 0x1000 + b"\r\n" for _ in range(20))
    head = request("POST", "/v1/images", "content-type: application/json", "transfer-encoding: chunked")
    assert (await sent(gateway, head + chunks + b"0\r\n\r\n"))[0] == 413
    small = b"%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY)
    assert (await sent(gateway, head + small))[0] == 201
    assert (await sent(gateway, head + b"xyz\r\n"))[0] == 400


async def test_a_body_that_does_not_come_is_not_waited_for(start: Starter) -> None:
    gateway = await start(body_seconds=0.05)
    status, headers, _ = await sent(gateway, post()[:-5])
    assert (status, headers["content-type"]) == (408, "application/problem+json")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        (["content-type: application/json", "content-encoding: gzip"], 415),
        (["content-type: application/json", "content-encoding: identity"], 201),
        (["content-type: application/json; charset=utf-8"], 201),
        (["content-type: Application/JSON"], 201),
        (["content-type: application/json; charset=utf-16"], 415),
        (["content-type: text/plain"], 415),
        (["content-type: "], 415),
        ([], 415),
    ],
)
async def test_a_body_is_plain_json(gateway: Gateway, headers: list[str], status: int) -> None:
    data = request("POST", "/v1/images", f"content-length: {len(BODY)}", *headers, body=BODY)
    assert (await sent(gateway, data))[0] == status


async def test_one_connection_carries_many_requests_in_their_order(gateway: Gateway) -> None:
    raw = await opened(gateway)
    raw.writer.write(post() + request("GET", "/v1/usage") + request("GET", "/nothing"))
    assert [(await raw.answer())[0] for _ in range(3)] == [201, 200, 404]
    raw.writer.close()


async def test_head_is_get_without_the_body(gateway: Gateway) -> None:
    gateway.metadata.put(ready_image(TENANT, ID))
    got, headers, body = await sent(gateway, request("GET", f"/v1/images/{ID}"))
    status, alike, _ = await sent(gateway, request("HEAD", f"/v1/images/{ID}"), head_only=True)
    assert (status, alike["content-length"], alike["etag"]) == (got, str(len(body)), headers["etag"])


async def test_an_absolute_target_is_understood(gateway: Gateway) -> None:
    assert (await sent(gateway, request("GET", "http://elsewhere.test/v1/usage")))[0] == 200


async def test_http_1_0_keeps_a_connection_only_when_asked(gateway: Gateway) -> None:
    _, headers, _ = await sent(gateway, b"GET /healthz HTTP/1.0\r\nconnection: keep-alive\r\n\r\n")
    assert headers["connection"] == "keep-alive"
    _, headers, _ = await sent(gateway, b"GET /healthz HTTP/1.0\r\n\r\n")
    assert headers["connection"] == "close"


async def test_options_tells_what_is_allowed_without_a_key(gateway: Gateway) -> None:
    status, headers, body = await sent(gateway, b"OPTIONS /v1/images HTTP/1.1\r\nhost: x\r\n\r\n")
    assert (status, headers["allow"], body) == (204, "GET, HEAD, OPTIONS, POST", b"")
    assert "content-length" not in headers


async def test_a_line_of_log_names_the_request_and_holds_no_secret(gateway: Gateway) -> None:
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    status, headers, _ = await sent(gateway, post(f"traceparent: {trace}", "x-request-id: theirs-1"))
    assert status == 201
    (line,) = logged(gateway)
    assert line["request_id"] == headers["x-request-id"]
    assert line["trace_id"] == "0af7651916cd43dd8448eb211c80319c"
    assert (line["method"], line["route"], line["status"]) == ("POST", "/v1/images", 201)
    assert line["client_request_id"] == "theirs-1"
    assert line["tenant_id"] == TENANT
    assert line["image_id"] in headers["location"]
    assert line["key_id"] == KEY.split("_")[1]
    whole = b"".join(gateway.log)
    assert KEY.split("_", 2)[2].encode() not in whole
    assert b"X-Amz" not in whole
    (created,) = gateway.metadata.created
    assert created.traceparent[3:35] == line["trace_id"]


async def test_a_client_that_hangs_up_is_waited_for_no_longer(gateway: Gateway) -> None:
    image = ready_image(TENANT, ID)
    image.state = pb.Image.PROCESSING
    gateway.metadata.put(image)
    raw = await opened(gateway)
    raw.writer.write(request("GET", f"/v1/images/{ID}?wait=20"))
    async with asyncio.timeout(5):
        while gateway.context.waiting.held == 0:
            await asyncio.sleep(0.01)
        raw.writer.close()
        while gateway.context.waiting.held or not gateway.log:
            await asyncio.sleep(0.01)
    assert logged(gateway)[0]["status"] == 499


async def test_who_waits_takes_no_place_and_only_who_reads_one_image_may_wait(start: Starter) -> None:
    gateway = await start(max_requests=1)
    image = ready_image(TENANT, ID)
    image.state = pb.Image.PROCESSING
    gateway.metadata.put(image)
    waiting = [asyncio.create_task(gateway.call("GET", f"/v1/images/{ID}?wait=1")) for _ in range(3)]
    async with asyncio.timeout(5):
        while gateway.context.waiting.held < 1:
            await asyncio.sleep(0.01)
    assert (await gateway.call("GET", "/v1/usage")).status == 200
    statuses = sorted([(await task).status for task in waiting])
    assert set(statuses) <= {200, 503}
    assert statuses[0] == 200


async def test_while_draining_connections_are_told_to_close(gateway: Gateway) -> None:
    gateway.context.readiness.draining = True
    status, headers, _ = await sent(gateway, request("GET", "/v1/usage"))
    assert (status, headers["connection"]) == (200, "close")
