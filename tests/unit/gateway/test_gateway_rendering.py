"""Variants on demand, and the processing anew."""

from __future__ import annotations

import asyncio
import time

import pytest
from darkroom.metadata.v1 import metadata_pb2 as pb

from gateway.presets import parse_names
from gateway.readiness import Readiness
from runtime.errors import DarkroomError, Kind
from runtime.watched import Stored, Watched
from tests.support.gateway_fakes import FakeHealth, ready_image
from tests.unit.gateway.conftest import OTHER_KEY, TENANT, Gateway, Starter

ID = "01980a3e-7b1c-7c3a-9d52-3f6a1c2b4d5e"
SMALL = f"/v1/images/{ID}/variants/small"
State = pb.Image.State


async def test_a_variant_that_was_not_made_is_made_and_redirected_to(gateway: Gateway) -> None:
    gateway.metadata.put(ready_image(TENANT, ID))
    answer = await gateway.call("GET", SMALL)
    assert (answer.status, answer.headers["location"]) == (302, f"https://s3.test/media/{ID}/small?")
    ((tenant, image, name, timeout),) = gateway.rendering.calls
    assert (tenant, image, name) == (TENANT, ID, "small")
    assert 19 < timeout <= 20
    assert (await gateway.call("GET", SMALL)).status == 302
    assert len(gateway.rendering.calls) == 1, "it is there now"


async def test_a_client_is_not_kept_for_longer_than_twenty_seconds(start: Starter) -> None:
    gateway: Gateway = await start(render_seconds=0.3, request_seconds=0.2)
    gateway.metadata.put(ready_image(TENANT, ID))
    gateway.rendering.outcomes = [0.6, 0.25]
    started = time.monotonic()
    late = await gateway.call("GET", SMALL)
    assert 0.25 < time.monotonic() - started < 2
    assert (late.status, late.headers["retry-after"], late.json["image"]["id"]) == (202, "2", ID)
    assert (await gateway.call("GET", SMALL)).status == 302, "also when it took longer than a request may else"


@pytest.mark.parametrize(
    ("state", "status"),
    [
        (State.AWAITING_UPLOAD, 409),
        (State.PROCESSING, 202),
        (State.REJECTED, 409),
        (State.FAILED, 409),
        (State.EXPIRED, 409),
        (State.DELETED, 410),
    ],
)
async def test_nothing_is_rendered_of_an_image_that_is_not_ready(
    gateway: Gateway, state: pb.Image.State.ValueType, status: int
) -> None:
    image = gateway.metadata.put(ready_image(TENANT, ID))
    image.state = state
    answer = await gateway.call("GET", SMALL)
    assert answer.status == status
    if status == 202:
        assert int(answer.headers["retry-after"]) >= 1
        assert answer.json["image"]["state"] == "PROCESSING"
    assert not gateway.rendering.calls


@pytest.mark.parametrize("state", [State.PROCESSING, State.FAILED])
async def test_what_an_image_had_before_can_be_fetched_while_it_is_processed_again(
    gateway: Gateway, state: pb.Image.State.ValueType
) -> None:
    image = gateway.metadata.put(ready_image(TENANT, ID))
    image.state = state
    image.ClearField("ready_at")
    assert (await gateway.call("GET", f"/v1/images/{ID}/variants/thumb")).status == 302
    shown = (await gateway.call("GET", f"/v1/images/{ID}")).json
    assert [variant["name"] for variant in shown["variants"]] == ["thumb"]
    assert shown["format"] == "JPEG"


async def test_of_a_removed_original_nothing_more_is_made(gateway: Gateway) -> None:
    image = gateway.metadata.put(ready_image(TENANT, ID))
    image.original_removed = True
    assert (await gateway.call("GET", SMALL)).status == 409
    assert (await gateway.call("GET", f"/v1/images/{ID}/variants/thumb")).status == 302
    assert not gateway.rendering.calls


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (DarkroomError(Kind.UNAVAILABLE, "too many wait", retry_after=5), 503),
        (DarkroomError(Kind.RATE_LIMITED, "too many of this tenant wait", retry_after=5), 429),
        (DarkroomError(Kind.WRONG_STATE, "it cannot be made of this file"), 409),
        (DarkroomError(Kind.NOT_FOUND, "there is no preset"), 404),
        (DarkroomError(Kind.GONE, "the image was deleted"), 410),
        (DarkroomError(Kind.STALE_ATTEMPT, "processed again"), 202),
        (DarkroomError(Kind.INTERNAL, "secret internals"), 500),
    ],
)
async def test_what_image_svc_says_becomes_the_answer(gateway: Gateway, error: DarkroomError, status: int) -> None:
    gateway.metadata.put(ready_image(TENANT, ID))
    gateway.rendering.outcomes = [error]
    answer = await gateway.call("GET", SMALL)
    assert answer.status == status
    assert b"internals" not in answer.body
    if error.retry_after is not None:
        assert answer.headers["retry-after"] == "5"


async def test_an_image_that_went_back_to_work_in_between_is_one_to_wait_for(gateway: Gateway) -> None:
    image = gateway.metadata.put(ready_image(TENANT, ID))
    gateway.rendering.outcomes = [0.3]
    asking = asyncio.create_task(gateway.call("GET", SMALL))
    async with asyncio.timeout(5):
        while not gateway.rendering.calls:
            await asyncio.sleep(0.01)
    image.state = State.PROCESSING
    assert (await asking).status == 302, "it was made before"
    del image.variants[:]
    image.state = State.READY

    def reprocessed() -> DarkroomError:
        image.state = State.PROCESSING
        return DarkroomError(Kind.WRONG_STATE, "the image is PROCESSING")

    gateway.rendering.outcomes = [reprocessed]
    assert (await gateway.call("GET", SMALL)).status == 202


async def test_who_waits_for_a_rendering_takes_nobodys_place(start: Starter) -> None:
    gateway: Gateway = await start(max_requests=1)
    gateway.metadata.put(ready_image(TENANT, ID))
    gateway.rendering.outcomes = [0.5]
    asking = asyncio.create_task(gateway.call("GET", SMALL))
    async with asyncio.timeout(5):
        while not gateway.rendering.calls:
            await asyncio.sleep(0.01)
    assert (await gateway.call("GET", "/v1/usage")).status == 200
    assert (await asking).status == 302


async def test_another_tenants_image_is_not_rendered(gateway: Gateway) -> None:
    gateway.metadata.put(ready_image(TENANT, ID))
    assert (await gateway.call("GET", SMALL, key=OTHER_KEY)).status == 404
    assert (await gateway.call("POST", f"/v1/images/{ID}/reprocess", key=OTHER_KEY)).status == 404
    assert not gateway.rendering.calls


async def test_reprocessing_is_ordered_once_however_often_it_is_clicked(gateway: Gateway) -> None:
    gateway.metadata.put(ready_image(TENANT, ID))
    for _ in range(2):
        answer = await gateway.call("POST", f"/v1/images/{ID}/reprocess")
        assert (answer.status, answer.json["image"]["state"]) == (202, "PROCESSING")
        assert [variant["name"] for variant in answer.json["image"]["variants"]] == ["thumb"]
        assert answer.headers["etag"]


@pytest.mark.parametrize("state", [State.AWAITING_UPLOAD, State.REJECTED, State.EXPIRED])
async def test_only_an_image_with_its_bytes_is_processed_again(
    gateway: Gateway, state: pb.Image.State.ValueType
) -> None:
    gateway.metadata.put(ready_image(TENANT, ID)).state = state
    assert (await gateway.call("POST", f"/v1/images/{ID}/reprocess")).status == 409


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "JSON"),
        ("{}", "list"),
        ("[]", "1 to 32"),
        ('[{"width":1}]', "name"),
        ('[{"name":"A b"}]', "'A b'"),
        ('[{"name":"a"},{"name":"a"}]', "twice"),
    ],
)
def test_presets_that_make_no_sense_are_refused(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        parse_names(text)


async def test_a_changed_list_of_presets_holds_without_a_restart_and_a_bad_one_does_not(gateway: Gateway) -> None:
    stored = ['[{"name":"thumb"},{"name":"zoom"}]']

    async def read() -> Stored:
        return Stored(stored[0], 2)

    watched = Watched("presets", '[{"name":"thumb"}]', parse_names, read)
    object.__setattr__(gateway.context, "presets", watched)  # the context is frozen
    gateway.metadata.put(ready_image(TENANT, ID))
    assert (await gateway.call("GET", f"/v1/images/{ID}/variants/zoom")).status == 404
    await watched.look()
    assert (await gateway.call("GET", f"/v1/images/{ID}/variants/zoom")).status == 302
    stored[0] = "[]"
    await watched.look()
    assert watched.uncertain
    new = {"filename": "a.jpg", "content_type": "image/jpeg", "size": 1000, "variants": ["zoom"]}
    assert (await gateway.call("POST", "/v1/images", json=new)).status == 201


async def test_without_image_svc_the_gateway_serves_all_the_same() -> None:
    services = {"metadata_svc": FakeHealth(), "image_svc": FakeHealth(well=False)}
    readiness = Readiness(services, seconds=1, optional=frozenset({"image_svc"}))
    await readiness.check()
    assert readiness.ready
    assert readiness.reached == {"metadata_svc": True, "image_svc": False}
    services["metadata_svc"].well = False
    await readiness.check()
    assert not readiness.ready
