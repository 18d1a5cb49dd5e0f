"""Presets that change while the process runs, images that are processed again, variants made on demand."""

from __future__ import annotations

import asyncio
import io
import json
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest
from aiobotocore.session import get_session
from darkroom.image.v1 import image_pb2, image_pb2_grpc
from darkroom.metadata.v1 import metadata_pb2 as pb
from PIL import Image

from runtime import grpc_client
from runtime.errors import DarkroomError, Kind
from tests.support.eventually import eventually
from tests.support.image_stack import Service, Stack
from tests.support.pictures import picture

THUMB = {"name": "thumb", "width": 64, "height": 64, "fit": "cover", "format": "webp"}
SMALL = {"name": "small", "width": 160, "height": 160, "format": "webp"}
ZOOM = {"name": "zoom", "width": 300, "height": 300, "format": "jpeg", "eager": False}
PRESETS = [THUMB, SMALL, ZOOM]
SIZE = (640, 480)
WATCHED: dict[str, Any] = {"presets_seconds": 0.3}


@dataclass
class Parameter:
    """The presets in Parameter Store, in a stage of the test's own."""

    ssm: Any
    stage: str

    async def put(self, presets: object) -> None:
        text = presets if isinstance(presets, str) else json.dumps(presets)
        name = f"/darkroom/{self.stage}/shared/presets"
        await self.ssm.put_parameter(Name=name, Value=text, Type="String", Overwrite=True)


@pytest.fixture
async def parameter(running: Stack) -> AsyncIterator[Parameter]:
    """A stage with `PRESETS`."""
    session = get_session()
    where = {"region_name": running.localstack.region, "endpoint_url": running.localstack.endpoint_url}
    async with session.create_client("ssm", **where) as ssm:
        made = Parameter(ssm, f"test-{uuid.uuid4().hex[:8]}")
        await made.put(PRESETS)
        yield made


async def image_service(running: Stack, *workers: Service) -> Any:
    """Calls that go to each of the workers in turn."""
    target = "ipv4:" + ",".join(f"127.0.0.1:{worker.port}" for worker in workers)
    return image_pb2_grpc.ImageServiceStub(await grpc_client.channel(running._stack, target))


async def rendered(running: Stack, stub: Any, image: pb.Image, name: str = "zoom") -> image_pb2.Variant:
    request = image_pb2.RenderRequest(tenant_id=running.tenant_id, image_id=image.id, preset=name)
    answer = await grpc_client.call(stub.Render, request, 30)
    variant: image_pb2.Variant = answer.variant
    return variant


async def ready(running: Stack, content: bytes, **fields: Any) -> pb.Image:
    (image,) = await running.settled([await running.upload(content, **fields)])
    assert image.state == pb.Image.READY, image
    return image


async def reprocessed(running: Stack, image: pb.Image) -> pb.Image:
    before = await running.get(image.id)
    request = pb.ReprocessImageRequest(tenant_id=running.tenant_id, image_id=image.id)
    answer = await grpc_client.call(running.stub.ReprocessImage, request, 5)
    assert answer.image.state == pb.Image.PROCESSING
    assert (answer.image.variants, answer.image.facts) == (before.variants, before.facts), "what can be fetched stays"
    (done,) = await running.settled([image])
    return done


def keys(image: pb.Image) -> dict[str, str]:
    return {variant.name: variant.key for variant in image.variants}


async def test_a_variant_is_made_on_demand_once_however_many_ask(running: Stack) -> None:
    settings: dict[str, Any] = {"presets": json.dumps(PRESETS)}
    workers = [await running.worker(**settings) for _ in range(2)]
    stub = await image_service(running, *workers)
    image = await ready(running, picture(seed=31, size=SIZE))
    assert sorted(keys(image)) == ["small", "thumb"], "what is not eager was not made"
    made = await asyncio.gather(*(rendered(running, stub, image) for _ in range(8)))
    assert len({(one.key, one.size) for one in made}) == 1
    now = await running.get(image.id)
    assert keys(now)["zoom"] == made[0].key
    assert now.etag != image.etag
    stored = await running.place.variants(made[0].key)
    assert [len(body) for body in stored.values()] == [made[0].size]
    with Image.open(io.BytesIO(stored[made[0].key])) as opened:
        assert (opened.format, opened.size) == ("JPEG", (225, 300))  # upright: the file says that it is to be turned
        assert (made[0].width, made[0].height) == opened.size
        assert not opened.getexif()
    assert len(await running.place.keys(running.place.media, made[0].key)) == 1, "written once"
    assert sum(len(worker.events("variant rendered")) for worker in workers) <= 2, "at most one piece of work a task"
    assert (await rendered(running, stub, image)).key == made[0].key
    usage = await grpc_client.call(running.stub.GetUsage, pb.GetUsageRequest(tenant_id=running.tenant_id), 5)
    assert usage.bytes == image.size + sum(variant.size for variant in now.variants), "counted once"


async def test_what_cannot_be_rendered_is_refused_with_its_reason(running: Stack) -> None:
    worker = await running.worker(presets=json.dumps(PRESETS))
    stub = await image_service(running, worker)
    image = await ready(running, picture(seed=32, size=SIZE))
    waiting = await running.register(picture(seed=33))
    stranger = image_pb2.RenderRequest(tenant_id=str(uuid.uuid4()), image_id=image.id, preset="zoom")
    for request, kind in (
        (image_pb2.RenderRequest(tenant_id=running.tenant_id, image_id=image.id, preset="none"), Kind.NOT_FOUND),
        (image_pb2.RenderRequest(tenant_id=running.tenant_id, image_id=waiting.id, preset="zoom"), Kind.WRONG_STATE),
        (image_pb2.RenderRequest(tenant_id=running.tenant_id, image_id=image.id), Kind.MALFORMED),
        (stranger, Kind.NOT_FOUND),
    ):
        with pytest.raises(DarkroomError) as caught:
            await grpc_client.call(stub.Render, request, 10)
        assert caught.value.kind is kind
    await running.place.s3.delete_object(Bucket=running.place.incoming, Key=image.original_key)
    with pytest.raises(DarkroomError) as caught:
        await rendered(running, stub, image)
    assert caught.value.kind is Kind.WRONG_STATE
    deletion = pb.DeleteImageRequest(tenant_id=running.tenant_id, image_id=image.id)
    await grpc_client.call(running.stub.DeleteImage, deletion, 5)
    with pytest.raises(DarkroomError) as caught:
        await rendered(running, stub, image)
    assert caught.value.kind is Kind.GONE


async def test_what_waits_for_rendering_is_bounded_and_no_tenant_takes_all_of_it(running: Stack) -> None:
    worker = await running.worker(presets=json.dumps(PRESETS), render_waiting=8, render_waiting_of_one=1)
    stub = await image_service(running, worker)
    images = [await ready(running, picture(seed=40 + n, size=(3000, 2000))) for n in range(4)]
    outcomes = await asyncio.gather(*(rendered(running, stub, image) for image in images), return_exceptions=True)
    refused = [one for one in outcomes if isinstance(one, DarkroomError)]
    assert [one.kind for one in refused] == [Kind.RATE_LIMITED] * 2, outcomes
    assert all(one.retry_after == 5 for one in refused)
    for image in images:
        assert (await rendered(running, stub, image)).size


async def test_a_changed_preset_is_taken_up_by_a_running_process_and_by_no_image_until_it_is_processed_again(
    running: Stack, parameter: Parameter
) -> None:
    worker = await running.worker(stage=parameter.stage, **WATCHED)
    stub = await image_service(running, worker)
    content = picture(seed=51, size=SIZE)
    image = await ready(running, content)
    await rendered(running, stub, image)
    before = await running.get(image.id)
    versions = await running.place.keys(running.place.media, f"media/{running.tenant_id}/{image.id}/")

    square = {"name": "square", "width": 50, "height": 50, "fit": "pad", "format": "png"}
    await parameter.put([SMALL | {"quality": 30}, THUMB, ZOOM | {"width": 200, "height": 200}, square])
    await worker.logged("setting changed")
    assert keys(await running.get(image.id)) == keys(before), "what was made stays until somebody asks"

    after = await reprocessed(running, image)
    assert after.state == pb.Image.READY
    assert [variant.name for variant in after.variants] == ["small", "thumb", "square", "zoom"]
    assert keys(after)["thumb"] == keys(before)["thumb"], "its meaning is the same"
    assert keys(after)["small"] != keys(before)["small"]
    assert keys(after)["zoom"] != keys(before)["zoom"], "also what was rendered on demand is made anew"
    sizes = {variant.name: (variant.width, variant.height) for variant in after.variants}
    assert (sizes["zoom"], sizes["square"]) == ((150, 200), (50, 50))
    assert after.sha256 == before.sha256
    stored = await running.place.keys(running.place.media, f"media/{running.tenant_id}/{image.id}/")
    assert stored.items() > versions.items(), "nothing was written twice, and what a URL may still lead to stays"
    assert len(stored) == len(versions) + 3

    await parameter.put([SMALL | {"quality": 30}])
    await worker.logged("setting changed", times=2)
    assert list(keys(await reprocessed(running, image))) == ["small"], "a preset that is gone leaves with the next run"
    await running.place.empty()


async def test_a_bad_text_is_refused_and_what_stood_before_stands(running: Stack, parameter: Parameter) -> None:
    worker = await running.worker(stage=parameter.stage, **WATCHED)
    await parameter.put([THUMB | {"fit": "squeeze"}])
    await worker.logged("setting refused; what stands stays")
    (line,) = worker.events("setting refused; what stands stays")
    assert line["reason"] == "presets: preset thumb: fit is 'squeeze', not one of inside, cover, pad"
    assert line["level"] == "error"
    image = await ready(running, picture(seed=61, size=SIZE))
    assert sorted(keys(image)) == ["small", "thumb"]


async def test_a_preset_that_a_gateway_saw_first_is_looked_for_before_it_counts_as_gone(
    running: Stack, parameter: Parameter
) -> None:
    worker = await running.worker(stage=parameter.stage, presets_seconds=3600)
    new = {"name": "new", "width": 10, "height": 10, "format": "png", "eager": False}
    await parameter.put([*PRESETS, new])
    image = await ready(running, picture(seed=62, size=SIZE), presets=["new", "thumb"])
    assert list(keys(image)) == ["new", "thumb"], "also what is not eager is made where it is asked for"
    await parameter.put(PRESETS)
    stub = await image_service(running, worker)
    image = await ready(running, picture(seed=63, size=SIZE), presets=["never", "thumb"])
    assert list(keys(image)) == ["thumb"], "what is no longer there is left out"
    await parameter.put("[]")
    image = await running.upload(picture(seed=64, size=SIZE), presets=["other"])
    with pytest.raises(DarkroomError) as caught:
        await rendered(running, stub, await running.get(image.id), "other")
    assert caught.value.kind is Kind.UNAVAILABLE, "nobody can say that it is not there"
    (image,) = await running.settled([image])
    assert image.state == pb.Image.FAILED, "nor may it be left out"


async def test_an_image_that_failed_is_processed_again_and_so_is_one_whose_variant_was_lost(running: Stack) -> None:
    worker = await running.worker(presets=json.dumps(PRESETS))
    image = await ready(running, picture(seed=71, size=SIZE))
    thumb = keys(image)["thumb"]
    versions = await running.place.keys(running.place.media, thumb)
    await running.place.s3.delete_object(Bucket=running.place.media, Key=thumb)
    assert keys(await reprocessed(running, image)) == keys(image)
    assert list(await running.place.variants(thumb)) == [thumb]
    assert len(await running.place.keys(running.place.media, thumb)) > len(versions)

    again = await reprocessed(running, image)
    assert again.etag != image.etag
    lines = worker.events("image ready")
    assert "compare_ms" in lines[-1], "nothing to make: nothing was read"
    assert "fetch_ms" not in lines[-1]

    await running.owner.execute(
        "UPDATE darkroom.images SET state = 5, ready_at = NULL, problem_type = 'processing_failed', "
        "problem_title = 't', problem_detail = 'd' WHERE id = $1",
        uuid.UUID(image.id),
    )
    failed = await running.get(image.id)
    mended = await reprocessed(running, failed)
    assert mended.state == pb.Image.READY
    assert not mended.HasField("problem")


async def test_reprocessing_goes_on_where_a_killed_worker_stopped(running: Stack, parameter: Parameter) -> None:
    worker = await running.worker(stage=parameter.stage, **WATCHED)
    image = await ready(running, picture(seed=81, size=(3000, 2000)))
    # AVIF of six megapixels: seconds of work, so that the worker is killed in the middle of it.
    slow = SMALL | {"format": "avif", "width": 3000, "height": 3000}
    await parameter.put([THUMB | {"quality": 20}, slow])
    await worker.logged("setting changed")
    request = pb.ReprocessImageRequest(tenant_id=running.tenant_id, image_id=image.id)
    await grpc_client.call(running.stub.ReprocessImage, request, 5)

    async def begun() -> bool:
        return (await running.attempts(image.id))[0] == 2

    await eventually(begun, within=20)
    await worker.kill()
    shown = await running.get(image.id)
    assert keys(shown) == keys(image), "whatever happens, what was there can be fetched"
    await running.worker(stage=parameter.stage, **WATCHED)
    (done,) = await running.settled([image])
    assert done.state == pb.Image.READY
    assert not set(keys(done).values()) & set(keys(image).values())
