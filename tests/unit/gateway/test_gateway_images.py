"""Registering, reading, listing, tagging and deleting, as clients see it; every answer is held to the document."""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

import msgspec
import pytest
from darkroom.metadata.v1 import metadata_pb2 as pb
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runtime.errors import DarkroomError, Kind
from tests.support.gateway_fakes import ready_image
from tests.unit.gateway.conftest import KEY, OTHER_KEY, TENANT, Gateway, Starter

NEW: dict[str, Any] = {"filename": "a.jpg", "content_type": "image/jpeg", "size": 1000}
ID = "01980a3e-7b1c-7c3a-9d52-3f6a1c2b4d5e"


async def test_a_new_image_gets_an_id_of_its_own_and_a_ticket_for_its_key(gateway: Gateway) -> None:
    answer = await gateway.call("POST", "/v1/images", json={**NEW, "sha256": "AB" * 32, "tags": {"album": "may"}})
    assert answer.status == 201
    image, upload = answer.json["image"], answer.json["upload"]
    assert uuid.UUID(image["id"]).version == 7
    assert answer.headers["location"] == f"/v1/images/{image['id']}"
    assert image["state"] == "AWAITING_UPLOAD"
    assert image["sha256"] == "ab" * 32
    assert upload["method"] == "PUT"
    assert gateway.presign.issued[0].key == f"incoming/{TENANT}/{image['id']}"
    assert gateway.presign.issued[0].size == 1000
    # The ticket never outlives the time for which the bytes are awaited.
    assert gateway.presign.issued[0].time_to_live.seconds <= gateway.context.settings.ticket_seconds


async def test_a_replayed_registration_answers_with_the_same_image_and_a_fresh_ticket(gateway: Gateway) -> None:
    headers = {"idempotency-key": "once"}
    first = await gateway.call("POST", "/v1/images", json=NEW, headers=headers)
    again = await gateway.call("POST", "/v1/images", json=NEW, headers=headers)
    assert again.status == 201
    assert again.json["image"]["id"] == first.json["image"]["id"]
    assert again.json["upload"] is not None
    stored = gateway.metadata.images[TENANT, first.json["image"]["id"]]
    stored.state = pb.Image.PROCESSING
    late = await gateway.call("POST", "/v1/images", json=NEW, headers=headers)
    assert late.json["upload"] is None
    other = await gateway.call("POST", "/v1/images", json={**NEW, "size": 1001}, headers=headers)
    assert other.status == 422
    assert other.json["type"] == "urn:darkroom:problem:idempotency_conflict"


@pytest.mark.parametrize("key", ["", "with space", "é", "x" * 256])
async def test_an_idempotency_key_must_be_visible_ascii(gateway: Gateway, key: str) -> None:
    answer = await gateway.call("POST", "/v1/images", json=NEW, headers={"idempotency-key": key})
    assert answer.status == 400
    assert answer.json["errors"][0]["pointer"] == "/idempotency-key"


@pytest.mark.parametrize(
    ("change", "status", "pointer"),
    [
        ({"colour": 1}, 400, "/colour"),
        ({"size": "1"}, 400, "/size"),
        ({"size": 0}, 422, "/size"),
        ({"size": 50_000_001}, 422, "/size"),
        ({"size": 10**30}, 422, "/size"),
        ({"filename": ""}, 400, "/filename"),
        ({"filename": "a\nb"}, 400, "/filename"),
        ({"filename": "x" * 256}, 400, "/filename"),
        ({"content_type": "image/svg+xml"}, 422, "/content_type"),
        ({"sha256": "zz"}, 400, "/sha256"),
        ({"upload": "multipart"}, 422, "/upload"),
        ({"variants": ["nope"]}, 422, "/variants/0"),
        ({"variants": ["thumb", "thumb"]}, 422, "/variants"),
        ({"variants": []}, 400, "/variants"),
        ({"tags": {"a": 1}}, 400, "/tags/a"),
        ({"tags": {"": "x"}}, 400, "/tags"),
        ({"tags": {"a": "x" * 129}}, 400, "/tags/a"),
        ({"tags": {str(n): "" for n in range(21)}}, 400, "/tags"),
    ],
)
async def test_a_wrong_field_is_named_and_nothing_is_stored(
    gateway: Gateway, change: dict[str, Any], status: int, pointer: str
) -> None:
    answer = await gateway.call("POST", "/v1/images", json={**NEW, **change})
    assert answer.status == status
    assert answer.json["errors"][0]["pointer"] == pointer
    assert not gateway.metadata.images


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff\xfe", b"[" * 10_000, b'{"filename":"\\ud800"}', b"null"])
async def test_a_body_that_is_not_the_right_json_is_malformed(gateway: Gateway, body: bytes) -> None:
    answer = await gateway.call("POST", "/v1/images", data=body, headers={"content-type": "application/json"})
    assert answer.status == 400


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=st.fixed_dictionaries({}, optional=dict.fromkeys((*NEW, "tags", "variants", "sha256"), _json)) | _json)
async def test_whatever_json_comes_the_answer_is_a_creation_or_a_clear_refusal(gateway: Gateway, body: Any) -> None:
    headers = {"content-type": "application/json"}
    answer = await gateway.call("POST", "/v1/images", data=msgspec.json.encode(body), headers=headers)
    assert answer.status in {201, 400, 422}


async def test_a_huge_body_and_another_type_are_refused_before_they_are_read(gateway: Gateway) -> None:
    huge = await gateway.call("POST", "/v1/images", data=b" " * 70_000, headers={"content-type": "application/json"})
    assert huge.status == 413
    other = await gateway.call("POST", "/v1/images", data=b"a=b", headers={"content-type": "text/plain"})
    assert other.status == 415


async def test_a_ready_image_has_its_facts_and_stable_urls(gateway: Gateway) -> None:
    gateway.metadata.put(ready_image(TENANT, ID))
    answer = await gateway.call("GET", f"/v1/images/{ID}")
    assert answer.json["perceptual_hash"] == "0123456789abcdef"
    assert answer.json["placeholder"] == {"thumbhash": "YWJj", "color": "#102030"}
    assert answer.json["animated"] is False
    again = await gateway.call("GET", f"/v1/images/{ID}")
    assert again.json == answer.json
    assert gateway.presign.signed == 1


async def test_an_unchanged_image_is_not_sent_again_unless_it_has_urls_that_expire(gateway: Gateway) -> None:
    image = gateway.metadata.put(ready_image(TENANT, ID))
    etag = {"if-none-match": f'W/"x", "{image.etag}"'}
    assert (await gateway.call("GET", f"/v1/images/{ID}", headers=etag)).status == 200
    image.state = pb.Image.PROCESSING
    del image.variants[:]
    unchanged = await gateway.call("GET", f"/v1/images/{ID}", headers=etag)
    assert (unchanged.status, unchanged.body) == (304, b"")
    assert (await gateway.call("GET", f"/v1/images/{ID}", headers={"if-none-match": '"other"'})).status == 200


async def test_another_tenants_image_is_as_unknown_as_one_that_never_was(gateway: Gateway) -> None:
    gateway.metadata.put(ready_image(TENANT, ID))
    for path in ("", "/variants/thumb", "/original"):
        theirs = await gateway.call("GET", f"/v1/images/{ID}{path}", key=OTHER_KEY)
        nobodys = await gateway.call("GET", f"/v1/images/{ID[:-1]}f{path}", key=OTHER_KEY)
        no_uuid = await gateway.call("GET", f"/v1/images/x{path}", key=OTHER_KEY)
        told = [{**answer.json, "request_id": ""} for answer in (theirs, nobodys, no_uuid)]
        assert [answer.status for answer in (theirs, nobodys, no_uuid)] == [404, 404, 404]
        assert told[0] == told[1] == told[2]


async def test_a_deleted_image_is_gone(gateway: Gateway) -> None:
    gateway.metadata.put(ready_image(TENANT, ID))
    deleted = await gateway.call("DELETE", f"/v1/images/{ID}")
    assert deleted.status == 202
    assert (await gateway.call("GET", f"/v1/images/{ID}")).status == 410
    assert (await gateway.call("GET", f"/v1/images/{ID}/variants/thumb")).status == 410


async def test_tags_are_replaced_only_on_the_etag_that_was_read(gateway: Gateway) -> None:
    gateway.metadata.put(ready_image(TENANT, ID))
    stale = await gateway.call("PATCH", f"/v1/images/{ID}", json={"tags": {}}, headers={"if-match": '"old"'})
    assert stale.status == 412
    fresh = await gateway.call("PATCH", f"/v1/images/{ID}", json={"tags": {"a": "b"}}, headers={"if-match": '"e9"'})
    assert fresh.json["tags"] == {"a": "b"}
    assert fresh.headers["etag"] != '"e9"'
    bare = await gateway.call("PATCH", f"/v1/images/{ID}", json={"tags": {}}, headers={"if-match": "e9"})
    assert bare.status == 400


async def test_a_list_hands_its_filters_on(gateway: Gateway) -> None:
    gateway.metadata.put(ready_image(TENANT, ID))
    path = (
        f"/v1/images?state=READY&tag=album:may&tag=of:a%3Ab&sha256={'aB' * 32}&similar_to={ID}&page_size=7&page_token=x"
    )
    answer = await gateway.call("GET", path)
    assert [image["id"] for image in answer.json["images"]] == [ID]
    assert answer.json["next_page_token"] == "next"
    asked = gateway.metadata.listed[0]
    assert dict(asked.tags) == {"album": "may", "of": "a:b"}
    assert (asked.state, asked.page_size, asked.similar_to) == (pb.Image.READY, 7, ID)


@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        ("state=DELETED", "/state"),
        ("state=ready", "/state"),
        ("tag=album", "/tag"),
        ("tag=a:b&tag=a:c", "/tag"),
        ("tag=a:%00", "/tag"),
        ("sha256=1", "/sha256"),
        ("page_size=0", "/page_size"),
        ("page_size=101", "/page_size"),
        ("page_size=-1", "/page_size"),
        ("page_token=%20", "/page_token"),
        ("page_size=1&page_size=2", "/page_size"),
        ("limit=5", "/limit"),
    ],
)
async def test_a_wrong_filter_is_named(gateway: Gateway, query: str, pointer: str) -> None:
    answer = await gateway.call("GET", f"/v1/images?{query}")
    assert answer.status == 400
    assert answer.json["errors"][0]["pointer"] == pointer


async def test_wait_is_answered_when_the_image_is_settled(gateway: Gateway) -> None:
    image = gateway.metadata.put(ready_image(TENANT, ID))
    image.state = pb.Image.PROCESSING
    looking = asyncio.create_task(gateway.context.waiting.run())
    try:
        waiting = [asyncio.create_task(gateway.call("GET", f"/v1/images/{ID}?wait=20")) for _ in range(20)]
        await asyncio.sleep(0.1)
        assert not any(task.done() for task in waiting)
        looks = gateway.metadata.calls.count("get_images")
        image.state = pb.Image.READY
        answers = await asyncio.gather(*waiting)
        assert {answer.json["state"] for answer in answers} == {"READY"}
        # One look serves all who wait: far fewer looks than waiters times rounds.
        assert looks <= 10
    finally:
        looking.cancel()


async def test_wait_is_answered_with_what_is_known_when_the_time_is_up_or_the_process_drains(gateway: Gateway) -> None:
    gateway.metadata.put(ready_image(TENANT, ID)).state = pb.Image.PROCESSING
    assert (await gateway.call("GET", f"/v1/images/{ID}?wait=0.05")).json["state"] == "PROCESSING"
    waiting = asyncio.create_task(gateway.call("GET", f"/v1/images/{ID}?wait=25"))
    await asyncio.sleep(0.05)
    gateway.context.waiting.close()
    async with asyncio.timeout(2):
        assert (await waiting).json["state"] == "PROCESSING"
    for text in ("26", "-1", "x", "1e1"):
        assert (await gateway.call("GET", f"/v1/images/{ID}?wait={text}")).status == 400


async def test_a_redirect_leads_to_signed_bytes_and_is_not_kept(gateway: Gateway) -> None:
    image = gateway.metadata.put(ready_image(TENANT, ID))
    image.filename = 'a"b;é.jpg'
    variant = await gateway.call("GET", f"/v1/images/{ID}/variants/thumb")
    assert variant.status == 302
    assert variant.headers["cache-control"] == "private, no-store"
    original = await gateway.call("GET", f"/v1/images/{ID}/original")
    assert "attachment; filename*=UTF-8''a%22b%3B%C3%A9.jpg" in original.headers["location"]
    assert (await gateway.call("GET", f"/v1/images/{ID}/variants/unknown")).status == 404
    image.original_removed = True
    assert (await gateway.call("GET", f"/v1/images/{ID}/original")).status == 404


async def test_a_fresh_ticket_is_for_an_image_that_awaits_its_bytes_only(gateway: Gateway) -> None:
    made = (await gateway.call("POST", "/v1/images", json=NEW)).json["image"]
    fresh = await gateway.call("POST", f"/v1/images/{made['id']}/upload")
    assert fresh.status == 200
    assert fresh.json["upload"]["url"]
    gateway.metadata.images[TENANT, made["id"]].state = pb.Image.PROCESSING
    assert (await gateway.call("POST", f"/v1/images/{made['id']}/upload")).status == 409


async def test_usage_and_limits_are_the_tenants(gateway: Gateway) -> None:
    usage = (await gateway.call("GET", "/v1/usage")).json
    assert usage["limits"]["max_image_bytes"] == 50_000_000


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        (Kind.UNAVAILABLE, 503),
        (Kind.DEADLINE_EXCEEDED, 503),
        (Kind.INTERNAL, 500),
        (Kind.STALE_ATTEMPT, 500),
        (Kind.QUOTA_EXCEEDED, 429),
    ],
)
async def test_a_failure_behind_is_told_without_its_insides(gateway: Gateway, kind: Kind, status: int) -> None:
    await gateway.call("GET", "/v1/usage")  # the key is known now
    gateway.metadata.failure = DarkroomError(kind, "SELECT secret FROM tables")
    answer = await gateway.call("POST", "/v1/images", json=NEW)
    assert answer.status == status
    if status >= 500:
        assert "SELECT" not in answer.body.decode()
    assert ("retry-after" in answer.headers) == (status in {429, 503})


async def test_a_presigner_that_is_away_leaves_an_image_that_a_replay_finds(gateway: Gateway) -> None:
    gateway.presign.failure = DarkroomError(Kind.UNAVAILABLE, "down")
    headers = {"idempotency-key": "k"}
    assert (await gateway.call("POST", "/v1/images", json=NEW, headers=headers)).status == 503
    gateway.presign.failure = None
    answer = await gateway.call("POST", "/v1/images", json=NEW, headers=headers)
    assert answer.status == 201
    assert len(gateway.metadata.images) == 1


async def test_beyond_its_bound_the_gateway_refuses_at_once_and_stays_alive(start: Starter) -> None:
    gateway = await start(max_requests=1)
    entered, release = asyncio.Event(), asyncio.Event()

    async def slow(tenant_id: str, timeout: float) -> pb.GetUsageResponse:
        entered.set()
        await release.wait()
        return pb.GetUsageResponse()

    gateway.metadata.get_usage = slow
    held = asyncio.create_task(gateway.call("GET", "/v1/usage"))
    await entered.wait()
    refused = await gateway.call("GET", "/v1/usage")
    assert refused.status == 503
    assert refused.headers["retry-after"] == "1"
    assert (await gateway.call("GET", "/healthz", key=None)).status == 200
    release.set()
    assert (await held).status == 200
    assert (await gateway.call("GET", "/v1/usage", key=KEY)).status == 200
