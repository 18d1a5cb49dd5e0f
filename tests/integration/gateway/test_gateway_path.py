"""The whole path of an image as a client walks it, less the worker, whose calls the test makes itself."""

from __future__ import annotations

import asyncio
import hashlib
import uuid
from datetime import UTC, datetime
from typing import Any

import pytest
from darkroom.metadata.v1 import metadata_pb2 as pb

from runtime import grpc_client
from tests.integration.gateway.conftest import House
from tests.support.metadata import good, seconds

BYTES = b"\xff\xd8\xff" + b"not much of a picture" * 10
NEW = {
    "filename": "Sömmer & Meer 1.jpg",
    "content_type": "image/jpeg",
    "size": len(BYTES),
    "sha256": hashlib.sha256(BYTES).hexdigest(),
    "tags": {"album": "may", "ort": "Jeju 제주"},
}


async def registered(house: House, key: str, **fields: Any) -> Any:
    answer = await house.call("POST", "/v1/images", key=key, json=NEW | fields)
    assert answer.status == 201, answer.body
    return answer.json


async def put(house: House, upload: Any, body: bytes = BYTES) -> int:
    async with house.client.put(upload["url"], data=body, headers=upload["headers"]) as response:
        await response.read()
        return response.status


async def processed(house: House, tenant: str, image_id: str) -> None:
    """What the worker does, with variants that hold a few bytes."""
    stub = house.behind.stub
    begin = pb.BeginProcessingRequest(key=f"incoming/{tenant}/{image_id}", lease=seconds(30))
    job = (await grpc_client.call(stub.BeginProcessing, begin, 5)).job
    verdict = good(job)
    for variant in verdict.variants:
        await house.behind.place.s3.put_object(
            Bucket=house.behind.place.media, Key=variant.key, Body=b"v" * variant.size
        )
    finish = pb.FinishProcessingRequest(tenant_id=tenant, image_id=image_id, attempt=job.attempt, ready=verdict)
    await grpc_client.call(stub.FinishProcessing, finish, 5)


async def test_an_image_is_registered_uploaded_waited_for_and_fetched(house: House, tenant: str, key: str) -> None:
    made = await registered(house, key)
    image_id = made["image"]["id"]
    assert uuid.UUID(image_id).version == 7
    assert made["image"]["state"] == "AWAITING_UPLOAD"
    assert made["image"]["tags"] == NEW["tags"]
    assert await put(house, made["upload"], BYTES[:-1] + b"!") != 200, "other bytes than announced"
    assert await put(house, made["upload"]) == 200
    assert await put(house, made["upload"]) == 412, "a ticket is good for one upload"
    waiting = asyncio.create_task(house.call("GET", f"/v1/images/{image_id}?wait=20", key=key))
    await asyncio.sleep(0.3)
    assert not waiting.done()
    await processed(house, tenant, image_id)
    ready = (await asyncio.wait_for(waiting, 10)).json
    assert ready["state"] == "READY"
    assert {variant["name"] for variant in ready["variants"]} == {"thumb", "small"}
    for variant in ready["variants"]:
        async with house.client.get(variant["url"]) as response:
            assert (response.status, len(await response.read())) == (200, variant["size"])
        redirect = await house.call("GET", f"/v1/images/{image_id}/variants/{variant['name']}", key=key)
        assert (redirect.status, redirect.headers["location"]) == (302, variant["url"]), "one URL in a window"
    assert (await house.call("GET", f"/v1/images/{image_id}/variants/unknown", key=key)).status == 404
    away = await house.call("GET", f"/v1/images/{image_id}/variants/large", key=key)
    assert (away.status, away.headers["retry-after"]) == (503, "1"), "image_svc does not run here"
    original = await house.call("GET", f"/v1/images/{image_id}/original", key=key)
    async with house.client.get(original.headers["location"]) as response:
        assert await response.read() == BYTES
        assert response.headers["content-disposition"].startswith("attachment")
    fresh = await house.call("POST", f"/v1/images/{image_id}/upload", key=key)
    assert (fresh.status, fresh.json["type"]) == (409, "urn:darkroom:problem:wrong_state")


async def test_a_ticket_ends_no_later_than_its_bytes_are_awaited(house: House, tenant: str, key: str) -> None:
    made = await registered(house, key)
    image_id = uuid.UUID(made["image"]["id"])
    read = "SELECT upload_expires_at FROM darkroom.images WHERE id = $1"
    until = await house.behind.owner.fetchval(read, image_id)
    ends = datetime.fromisoformat(made["upload"]["expires_at"])
    assert ends <= until
    assert (ends - datetime.now(UTC)).total_seconds() > 890, "it has its whole life"
    fresh = (await house.call("POST", f"/v1/images/{image_id}/upload", key=key)).json
    assert datetime.fromisoformat(fresh["upload"]["expires_at"]) <= await house.behind.owner.fetchval(read, image_id)
    assert await put(house, fresh["upload"]) == 200


async def test_a_repeated_registration_makes_one_image_also_when_all_come_at_once(house: House, key: str) -> None:
    headers = {"idempotency-key": "one-and-only"}
    answers = await asyncio.gather(
        *(house.call("POST", "/v1/images", key=key, json=NEW, headers=headers) for _ in range(20))
    )
    assert {answer.status for answer in answers} == {201}
    assert len({answer.json["image"]["id"] for answer in answers}) == 1
    assert all(answer.json["upload"] for answer in answers)
    other = await house.call("POST", "/v1/images", key=key, json=NEW | {"size": 5}, headers=headers)
    assert (other.status, other.json["type"]) == (422, "urn:darkroom:problem:idempotency_conflict")
    assert (await house.call("GET", "/v1/images", key=key)).json["images"][1:] == []


async def test_lists_turn_pages_and_filter(house: House, tenant: str, key: str) -> None:
    ids = [(await registered(house, key, tags={"n": str(n % 2), "all": "x"}))["image"]["id"] for n in range(5)]
    seen: list[str] = []
    token = None
    while True:
        query = "page_size=2&tag=all:x" + (f"&page_token={token}" if token else "")
        page = (await house.call("GET", f"/v1/images?{query}", key=key)).json
        seen += [image["id"] for image in page["images"]]
        token = page["next_page_token"]
        if token is None:
            break
    assert seen == ids[::-1]
    odd = (await house.call("GET", "/v1/images?tag=n:1&tag=all:x&state=AWAITING_UPLOAD", key=key)).json["images"]
    assert [image["id"] for image in odd] == [ids[3], ids[1]]
    assert len((await house.call("GET", f"/v1/images?sha256={NEW['sha256']}", key=key)).json["images"]) == 5
    assert (await house.call("GET", "/v1/images?state=READY", key=key)).json["images"] == []
    assert (await house.call("GET", "/v1/images?page_token=made-up", key=key)).status == 400
    missing = await house.call("GET", f"/v1/images?similar_to={uuid.uuid4()}", key=key)
    assert (missing.status, missing.json["errors"][0]["pointer"]) == (422, "/similar_to")


async def test_tags_change_only_on_the_etag_that_was_read(house: House, key: str) -> None:
    made = await registered(house, key)
    path = f"/v1/images/{made['image']['id']}"
    first = f'"{made["image"]["etag"]}"'
    changed = await house.call("PATCH", path, key=key, json={"tags": {"a": "1"}}, headers={"if-match": first})
    assert (changed.status, changed.json["tags"]) == (200, {"a": "1"})
    late = await house.call("PATCH", path, key=key, json={"tags": {}}, headers={"if-match": first})
    assert late.status == 412
    assert (await house.call("GET", path, key=key, headers={"if-none-match": changed.headers["etag"]})).status == 304
    anyhow = await house.call("PATCH", path, key=key, json={"tags": {}}, headers={"if-match": "*"})
    assert (anyhow.status, anyhow.json["tags"]) == (200, {})


async def test_a_deleted_image_is_gone_for_every_call(house: House, key: str) -> None:
    made = await registered(house, key)
    path = f"/v1/images/{made['image']['id']}"
    deleted = await house.call("DELETE", path, key=key)
    again = await house.call("DELETE", path, key=key)
    assert (deleted.status, again.status) == (202, 202)
    assert deleted.json["receipt"] == again.json["receipt"]
    for method, where, body in (
        ("GET", path, None),
        ("GET", f"{path}?wait=5", None),
        ("GET", f"{path}/original", None),
        ("GET", f"{path}/variants/thumb", None),
        ("PATCH", path, {"tags": {}}),
        ("POST", f"{path}/upload", None),
    ):
        assert (await house.call(method, where, key=key, json=body)).status == 410, where
    assert (await house.call("GET", "/v1/images", key=key)).json["images"] == []


@pytest.mark.parametrize("scoped", [True, False])
async def test_another_tenant_finds_nothing_whatever_it_calls(house: House, key: str, scoped: bool) -> None:
    path = f"/v1/images/{(await registered(house, key))['image']['id']}"
    stranger = await house.key(await house.tenant(), *(() if scoped else ("admin",)))
    for method, where, body in (
        ("GET", path, None),
        ("GET", f"{path}?wait=5", None),
        ("GET", f"{path}/original", None),
        ("GET", f"{path}/variants/thumb", None),
        ("PATCH", path, {"tags": {}}),
        ("POST", f"{path}/upload", None),
        ("DELETE", path, None),
    ):
        assert (await house.call(method, where, key=stranger, json=body)).status == (404 if scoped else 403), where
    alike = await house.call("GET", f"/v1/images?similar_to={path.rsplit('/', 1)[1]}", key=stranger)
    assert alike.status == (422 if scoped else 403), "as for an image that never was"
    assert (await house.call("GET", path, key=key)).json["state"] == "AWAITING_UPLOAD"


async def test_a_quota_that_is_used_up_says_when_to_come_back(house: House) -> None:
    tenant = await house.tenant(max_images=1)
    key = await house.key(tenant)
    await registered(house, key)
    async with asyncio.timeout(30):  # the overshoot of usage that is folded later is bounded in time
        while (answer := await house.call("POST", "/v1/images", key=key, json=NEW)).status == 201:
            await asyncio.sleep(0.2)
    assert (answer.status, answer.json["type"]) == (429, "urn:darkroom:problem:quota_exceeded")
    assert int(answer.headers["retry-after"]) >= 1
    usage = (await house.call("GET", "/v1/usage", key=key)).json
    assert usage["limits"]["max_images"] == 1
    assert usage["images"] >= 1


async def test_an_image_of_another_size_than_the_tenant_may_have_is_not_registered(house: House) -> None:
    key = await house.key(await house.tenant(max_image_bytes=100))
    answer = await house.call("POST", "/v1/images", key=key, json=NEW)
    assert (answer.status, answer.json["errors"][0]["pointer"]) == (422, "/size")
