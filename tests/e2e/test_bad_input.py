"""What a client may do wrong, and what the contract says to it; nothing of it stops the worker."""

from __future__ import annotations

import asyncio
import io
import uuid
from typing import Any

import aiohttp
import grpc
import pytest
from darkroom.presign.v1 import presign_pb2, presign_pb2_grpc
from google.protobuf.duration_pb2 import Duration

from tests.support.api_client import Api, Reply, send
from tests.support.cluster import RunningCluster
from tests.support.pictures import picture

GOOD = {"filename": "a.jpg", "content_type": "image/jpeg", "size": 1000}


@pytest.fixture
def direct(http: aiohttp.ClientSession, cluster: RunningCluster) -> Api:
    return Api(http, cluster.env["DARKROOM_GATEWAY_URL"], cluster.env["DARKROOM_API_KEY"])


@pytest.fixture
def other(http: aiohttp.ClientSession, cluster: RunningCluster) -> Api:
    return Api(http, cluster.env["DARKROOM_API_URL"], cluster.env["DARKROOM_SECOND_API_KEY"])


def is_problem(reply: Reply, status: int, kind: str | None = None) -> bool:
    """Whether the answer is a problem of the contract's form."""
    assert reply.status == status, reply
    assert reply.headers["content-type"].startswith("application/problem+json")
    assert reply.headers["x-request-id"]
    problem = reply.json
    assert problem["status"] == status
    assert {"type", "title", "detail", "request_id"} <= problem.keys()
    assert "Traceback" not in reply.body.decode()
    return kind is None or problem["type"] == f"urn:darkroom:problem:{kind}"


@pytest.mark.parametrize("key", [None, "nonsense", f"drk_{'a' * 16}_{'b' * 43}"])
async def test_no_key_or_a_wrong_one_is_refused_at_the_edge_and_behind_it(
    api: Api, direct: Api, key: str | None
) -> None:
    for asked in (api, direct):
        asked.key = key
    at_the_edge = await api.call("POST", "/v1/images", json=GOOD)
    assert at_the_edge.status in (401, 403)
    assert is_problem(await direct.call("POST", "/v1/images", json=GOOD), 401, "unauthenticated")


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"size": 1e999}', b"[" * 5000])
async def test_a_body_that_is_not_the_right_json_is_malformed(api: Api, body: bytes) -> None:
    headers = {"content-type": "application/json"}
    assert is_problem(await api.call("POST", "/v1/images", data=body, headers=headers), 400)


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"colour": "red"}, "/colour"),
        ({"size": "1000"}, "/size"),
        ({"filename": None}, "/filename"),
        ({"sha256": "abc"}, "/sha256"),
        ({"tags": {"a": 1}}, "/tags/a"),
    ],
)
async def test_a_field_that_is_unknown_or_of_the_wrong_shape_is_pointed_at(
    api: Api, change: dict[str, Any], pointer: str
) -> None:
    reply = await api.call("POST", "/v1/images", json=GOOD | change)
    assert is_problem(reply, 400)
    assert [error["pointer"] for error in reply.json["errors"]] == [pointer]


@pytest.mark.parametrize(
    "change",
    [{"size": 10**12}, {"content_type": "image/svg+xml"}, {"content_type": "application/pdf"}, {"variants": ["nope"]}],
)
async def test_an_announcement_that_is_not_accepted_is_unprocessable(api: Api, change: dict[str, Any]) -> None:
    assert is_problem(await api.call("POST", "/v1/images", json=GOOD | change), 422)


async def test_a_key_of_idempotency_used_for_another_body_is_unprocessable(api: Api) -> None:
    key = {"Idempotency-Key": f"e2e-{uuid.uuid4()}"}
    assert (await api.call("POST", "/v1/images", json=GOOD, headers=key)).status == 201
    assert is_problem(await api.call("POST", "/v1/images", json=GOOD | {"size": 1001}, headers=key), 422)


async def test_a_huge_body_and_one_that_is_not_json_are_refused(direct: Api) -> None:
    # Straight to the gateway: API Gateway has a limit of its own, far above ours.
    huge = await direct.call("POST", "/v1/images", data=b" " * 3_000_000, headers={"content-type": "application/json"})
    assert is_problem(huge, 413)
    form = await direct.call("POST", "/v1/images", data={"filename": "a.jpg"})
    assert is_problem(form, 415)


async def test_what_is_not_an_id_or_nobodys_is_not_found(api: Api) -> None:
    for path in ("/v1/images/01980a3e-7b1c-7c3a-9d52-3f6a1c2b4d5e", "/v1/images/nonsense", "/v1/nothing"):
        reply = await api.call("GET", path)
        assert reply.status in (400, 403, 404), reply  # API Gateway answers 403 for a path that it does not know


async def test_another_tenants_image_is_not_found_whatever_is_asked(api: Api, other: Api) -> None:
    content = picture(seed=21)
    made = await api.register(content, "image/jpeg", tags={"e2e": "mine"})
    path = f"/v1/images/{made['image']['id']}"
    asked: list[tuple[str, str, dict[str, Any]]] = [
        ("GET", "", {}),
        ("GET", "?wait=1", {}),
        ("PATCH", "", {"json": {"tags": {}}}),
        ("DELETE", "", {}),
        ("POST", "/upload", {}),
        ("GET", "/variants/thumb", {}),
        ("GET", "/original", {}),
    ]
    for method, suffix, more in asked:
        assert is_problem(await other.call(method, path + suffix, **more), 404, "not_found"), (method, suffix)
    assert (await other.call("GET", "/v1/images?tag=e2e:mine")).json["images"] == []
    assert (await api.put(made["upload"], content)).status == 200
    assert (await api.settled(made["image"]["id"]))["state"] == "READY"


async def test_a_ticket_admits_the_announced_bytes_once_and_nothing_else(api: Api, http: aiohttp.ClientSession) -> None:
    content = picture(seed=22)
    ticket = (await api.register(content, "image/jpeg"))["upload"]
    flipped = content[:-1] + bytes([content[-1] ^ 1])
    assert (await api.put(ticket, flipped)).status == 400  # the checksum is signed
    assert (await api.put(ticket, content + b"more")).status == 403  # and so is the length
    assert (await api.put(ticket, content, **{"content-type": "text/html"})).status == 403
    elsewhere = ticket["url"].replace("/incoming/", "/incoming/x", 1)
    assert (await send(http, "PUT", elsewhere, data=content, headers=ticket["headers"])).status == 403
    assert (await api.put(ticket, content)).status == 200
    assert (await api.put(ticket, content)).status == 412


async def test_an_expired_ticket_is_refused_and_a_fresh_one_serves(api: Api, cluster: RunningCluster) -> None:
    content = picture(seed=23)
    made = await api.register(content, "image/jpeg")
    key = made["upload"]["url"].split("?")[0].split(cluster.env["INCOMING_BUCKET"] + "/")[1]
    async with grpc.aio.insecure_channel(cluster.env["PRESIGN_TARGET"]) as channel:
        asked = presign_pb2.IssueTicketRequest(
            key=key, content_type="image/jpeg", size=len(content), time_to_live=Duration(seconds=1)
        )
        stub: Any = presign_pb2_grpc.PresignServiceStub(channel)
        answer = await stub.BatchIssueTickets(presign_pb2.BatchIssueTicketsRequest(items=[asked]), timeout=5)
    short = answer.results[0].ticket
    await asyncio.sleep(2.5)
    late = await send(api.http, "PUT", short.url, data=content, headers=dict(short.headers))
    assert late.status == 403
    fresh = await api.call("POST", f"/v1/images/{made['image']['id']}/upload")
    assert fresh.status == 200
    assert (await api.put(fresh.json["upload"], content)).status == 200
    assert (await api.settled(made["image"]["id"]))["state"] == "READY"
    assert is_problem(await api.call("POST", f"/v1/images/{made['image']['id']}/upload"), 409)


def _truncated() -> bytes:
    whole = picture(seed=24, size=(1000, 800))
    return whole[: len(whole) // 2]


@pytest.mark.parametrize(
    ("content", "content_type", "reason"),
    [
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>" * 20, "image/png", "unsupported_format"),
        (b"\0" * 5000, "image/jpeg", "not_an_image"),
        (picture("image/png", seed=25), "image/jpeg", "content_type_mismatch"),
        (_truncated(), "image/jpeg", "truncated"),
    ],
    ids=["svg", "zeros", "png as jpeg", "truncated"],
)
async def test_a_file_that_is_no_sound_image_ends_rejected_with_its_reason(
    api: Api, content: bytes, content_type: str, reason: str
) -> None:
    image = await api.settled(await api.upload(content, content_type))
    assert (image["state"], image["problem"]["type"]) == ("REJECTED", reason)
    assert image["variants"] == []


async def test_a_bomb_among_good_files_is_rejected_and_stops_nothing(api: Api) -> None:
    bomb = _bomb()
    contents = [(bomb, "image/png"), *((picture(seed=30 + n), "image/jpeg") for n in range(9))]
    ids = await asyncio.gather(*(api.upload(*content) for content in contents))
    images = await asyncio.gather(*(api.settled(image_id) for image_id in ids))
    assert images[0]["state"] == "REJECTED"
    assert images[0]["problem"]["type"] == "too_many_pixels"
    assert [image["state"] for image in images[1:]] == ["READY"] * 9


def _bomb() -> bytes:
    """A PNG of 50,000 x 50,000 pixels in its header, and a few bytes of data."""
    import struct
    import zlib

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    out = io.BytesIO(b"\x89PNG\r\n\x1a\n")
    out.seek(0, io.SEEK_END)
    out.write(chunk(b"IHDR", struct.pack(">IIBBBBB", 50_000, 50_000, 8, 2, 0, 0, 0)))
    out.write(chunk(b"IDAT", zlib.compress(b"\0" * 1000)))
    out.write(chunk(b"IEND", b""))
    return out.getvalue()
