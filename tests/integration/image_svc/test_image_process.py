"""The running process: photographs become variants, whatever happens to the process meanwhile."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
from darkroom.image.v1 import image_pb2, image_pb2_grpc
from darkroom.metadata.v1 import metadata_pb2 as pb
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from image_svc.pipeline.presets import default_presets
from runtime import grpc_client
from runtime.errors import DarkroomError, Kind
from tests.support.ecs_agent import Agent
from tests.support.eventually import eventually
from tests.support.image_stack import Stack, stack
from tests.support.localstack import LocalStack
from tests.support.pictures import picture
from tests.support.postgres import Database

SERVICE = "darkroom.image.v1.ImageService"
NAMES = [preset.name for preset in default_presets() if preset.eager]
# Large enough that a job takes a noticeable time, small enough to be made quickly.
LARGE = (3000, 2000)


async def check_ready(running: Stack, image: pb.Image, content: bytes) -> dict[str, bytes]:
    """A READY image has every variant in its row and in the bucket, and nothing else there."""
    assert image.state == pb.Image.READY, image
    assert image.sha256 == image.facts.sha256 == hashlib.sha256(content).digest()
    assert sorted(variant.name for variant in image.variants) == sorted(NAMES)
    prefix = f"media/{running.tenant_id}/{image.id}/"
    stored = await running.place.variants(prefix)
    assert {variant.key: variant.size for variant in image.variants} == {key: len(body) for key, body in stored.items()}
    return {key.removeprefix(prefix): body for key, body in stored.items()}


async def test_an_uploaded_photo_becomes_ready(running: Stack) -> None:
    worker = await running.worker()
    content = picture(seed=1, size=(1200, 900))
    image = await running.upload(content)
    (image,) = await running.settled([image])
    await check_ready(running, image, content)
    assert image.facts.format == "JPEG"
    assert (image.facts.width, image.facts.height) == (900, 1200)  # it says that it is to be turned
    await running.place.empty()
    (line,) = worker.events("image ready")
    assert line["image_id"] == image.id
    assert line["trace_id"] == "a" * 32  # of the request that registered it
    assert 0.01 < line["child_cpu_seconds"] < 8
    assert 10 * 2**20 < line["child_peak_bytes"] < 2**30


async def test_the_process_serves_health_reflection_and_requeueing(running: Stack) -> None:
    worker = await running.worker()
    channel = await grpc_client.channel(running._stack, f"127.0.0.1:{worker.port}")
    health: Any = health_pb2_grpc.HealthStub(channel)  # its type stubs know no methods
    for name in ("", SERVICE):
        status = (await health.Check(health_pb2.HealthCheckRequest(service=name), timeout=5)).status
        assert status == health_pb2.HealthCheckResponse.SERVING
    untyped: Any = channel  # its type stubs know no asyncio
    reflection: Any = reflection_pb2_grpc.ServerReflectionStub(untyped)
    call = reflection.ServerReflectionInfo(iter([reflection_pb2.ServerReflectionRequest(list_services="")]), timeout=5)
    listed = [entry.name async for answer in call for entry in answer.list_services_response.service]
    assert SERVICE in listed

    content = picture(seed=2)
    await running.place.s3.put_bucket_notification_configuration(
        Bucket=running.place.incoming, NotificationConfiguration={}
    )
    image = await running.register(content)
    stub = image_pb2_grpc.ImageServiceStub(channel)
    request = image_pb2.RequeueImageRequest(tenant_id=running.tenant_id, image_id=image.id)
    with pytest.raises(DarkroomError) as caught:
        await grpc_client.call(stub.RequeueImage, request, 5)
    assert caught.value.kind is Kind.WRONG_STATE
    await running.place.s3.put_object(Bucket=running.place.incoming, Key=image.original_key, Body=content)
    assert (await grpc_client.call(stub.RequeueImage, request, 5)).message_id
    (image,) = await running.settled([image])
    await check_ready(running, image, content)


async def test_on_ecs_a_worker_asks_not_to_be_stopped_while_it_works_and_only_then(running: Stack) -> None:
    agent = Agent()
    try:
        await running.worker(agent=agent.uri, protection_look_seconds=0.02)
        await asyncio.sleep(1)  # for S3's test event, which is work as well
        agent.told.clear()
        await asyncio.sleep(0.5)
        assert agent.told == [], "an idle worker asks for nothing"
        image = await running.upload(picture(size=LARGE, seed=9))
        await running.settled([image])
        path = "/api/0a1b/task-protection/v1/state"

        async def free_again() -> bool:
            return agent.told[-1:] == [(path, {"ProtectionEnabled": False})]

        await eventually(free_again, within=10)
        assert agent.told[0] == (path, {"ProtectionEnabled": True, "ExpiresInMinutes": 2})
    finally:
        agent.close()
    await running.place.empty()


async def test_what_is_not_acceptable_is_rejected_with_its_reason_and_stops_nobody(running: Stack) -> None:
    photo = picture(seed=3)
    bad: list[tuple[bytes, dict[str, Any], str]] = [
        (b"<html>no picture</html>" * 20, {}, "not_an_image"),
        (b'<svg xmlns="http://www.w3.org/2000/svg"/>' * 5, {}, "unsupported_format"),
        (picture("image/png", seed=3), {}, "content_type_mismatch"),
        (photo[:-3000], {}, "truncated"),
        (photo, {"sha256": b"x" * 32}, "content_mismatch"),
        (photo, {"size": 17}, "too_large"),
        (photo, {"size": 1 << 20}, "content_mismatch"),
    ]
    images = [await running.upload(content, **fields) for content, fields, _ in bad]
    good = [await running.upload(photo) for _ in range(3)]
    worker = await running.worker()
    for image, (_, _, reason) in zip(await running.settled(images), bad, strict=True):
        assert image.state == pb.Image.REJECTED
        assert image.problem.type == reason
        assert image.problem.title
        assert image.problem.detail
        assert not await running.place.variants(f"media/{running.tenant_id}/{image.id}/")
    for image in await running.settled(good):
        await check_ready(running, image, photo)
    await running.place.empty()
    looked_at = {line["reason"] for line in worker.events("image rejected") if "child_cpu_seconds" in line}
    assert looked_at == {"not_an_image", "unsupported_format", "content_type_mismatch", "truncated"}


@pytest.mark.parametrize("delays", [(0.1, 0.5), (0.2, 0.35), (0.0, 0.8)])
async def test_a_worker_that_is_killed_loses_nothing(running: Stack, delays: tuple[float, ...]) -> None:
    contents = [picture(seed=seed, size=LARGE) for seed in range(5)]
    images = [await running.upload(content) for content in contents]
    for delay in delays:
        worker = await running.worker()
        await asyncio.sleep(delay)
        await worker.kill()
    await running.worker()
    images = await running.settled(images)
    await running.place.empty()
    for image, content in zip(images, contents, strict=True):
        await check_ready(running, image, content)
        assert (await running.attempts(image.id))[1] <= 1 + len(delays)


async def test_two_runs_write_the_same_keys_and_bytes(running: Stack) -> None:
    await running.worker()
    content = picture(seed=5, size=(800, 600))
    images = await running.settled([await running.upload(content) for _ in range(2)])
    first, second = [await check_ready(running, image, content) for image in images]
    assert first == second


async def test_a_worker_that_is_told_to_stop_finishes_or_gives_back(running: Stack) -> None:
    first = await running.worker()
    contents = [picture(seed=seed, size=LARGE) for seed in range(8)]
    images = [await running.upload(content) for content in contents]
    await first.logged("image ready")
    assert await first.stop(within=20) == 0
    visible, in_hand = await running.place.depth()
    assert in_hand == 0
    done = len(first.events("image ready"))
    assert visible + done >= len(images)
    await running.worker()
    images = await running.settled(images)
    await running.place.empty()
    for image, content in zip(images, contents, strict=True):
        await check_ready(running, image, content)
        assert (await running.attempts(image.id))[1] == 1


async def test_a_drain_without_time_hands_back_within_two_seconds(running: Stack) -> None:
    content = picture("image/png", seed=4, size=(5000, 4000))  # a PNG cannot be shrunk while it is read
    images = [await running.upload(content, content_type="image/png") for _ in range(6)]
    worker = await running.worker(drain_seconds=2.1, slots=1, prefetch=5)
    await worker.logged("image ready")
    started = asyncio.get_running_loop().time()
    assert await worker.stop(within=20) == 0
    assert asyncio.get_running_loop().time() - started < 5
    visible, in_hand = await running.place.depth()
    assert (visible > 0, in_hand) == (True, 0)
    for image in images:
        if (await running.get(image.id)).state != pb.Image.READY:
            assert (await running.attempts(image.id))[1] == 0


async def test_a_frozen_worker_finds_its_attempt_stale(running: Stack) -> None:
    content = picture("image/png", seed=6, size=(6000, 5000))
    image = await running.upload(content, content_type="image/png")
    frozen = await running.worker(slots=1, prefetch=0)

    async def begun() -> bool:
        return (await running.get(image.id)).state == pb.Image.PROCESSING

    await eventually(begun, every=0.01)
    frozen.process.send_signal(signal.SIGSTOP)
    await running.worker()
    (image,) = await running.settled([image])
    frozen.process.send_signal(signal.SIGCONT)
    stored = await check_ready(running, image, content)
    await frozen.logged("overtaken by another attempt")
    assert await frozen.stop() == 0
    assert await check_ready(running, await running.get(image.id), content) == stored
    await running.place.empty()


async def test_metadata_may_be_away_for_longer_than_a_lease(running: Stack) -> None:
    worker = await running.worker()
    contents = [picture(seed=seed, size=LARGE) for seed in range(6)]
    images = [await running.upload(content) for content in contents]
    assert running.metadata_service is not None
    await running.metadata_service.kill()
    await asyncio.sleep(5)
    await running.metadata()
    images = await running.settled(images)
    for image, content in zip(images, contents, strict=True):
        await check_ready(running, image, content)
        assert (await running.attempts(image.id))[1] <= 2
    await running.place.empty()
    assert worker.process.returncode is None


def children(process: int) -> list[int]:
    return [int(number) for number in Path(f"/proc/{process}/task/{process}/children").read_text().split()]


@pytest.mark.parametrize(("strike", "wall"), [(signal.SIGKILL, 30), (signal.SIGSTOP, 4)])
async def test_a_decode_that_is_killed_or_hangs_twice_is_failed_in_one_attempt_and_harms_nobody(
    running: Stack, strike: signal.Signals, wall: float
) -> None:
    hopeless = await running.upload(picture("image/png", seed=12, size=(5000, 4000)), content_type="image/png")
    worker = await running.worker(slots=1, prefetch=2, decode_wall_seconds=wall)
    content = picture(seed=13)
    struck: list[int] = []
    async with asyncio.timeout(60):
        while len(struck) < 2:
            (helper,) = children(worker.process.pid)
            for child in set(children(helper)) - set(struck):
                struck.append(child)
                os.kill(child, strike)
            await asyncio.sleep(0.005)
    others = [await running.upload(content) for _ in range(3)]
    (hopeless,) = await running.settled([hopeless])
    assert (hopeless.state, hopeless.problem.type) == (pb.Image.FAILED, "processing_failed")
    assert await running.attempts(hopeless.id) == (1, 1)
    for image in await running.settled(others):
        await check_ready(running, image, content)
        assert await running.attempts(image.id) == (1, 1)
    await running.place.empty()
    assert len(worker.events("not developed; once more, alone")) == 1
    assert len(worker.events("attempt failed")) == 1


async def test_a_deleted_image_leaves_nothing_in_either_bucket(running: Stack) -> None:
    await running.worker()
    content = picture(seed=7)
    (image,) = await running.settled([await running.upload(content)])
    other = await running.upload(picture(seed=8))
    await running.settled([other])
    request = pb.DeleteImageRequest(tenant_id=running.tenant_id, image_id=image.id)
    await grpc_client.call(running.stub.DeleteImage, request, 5)

    async def gone() -> bool:
        return not [key for key in await everything(running) if image.id in key]

    await eventually(gone)
    assert len([key for key in await everything(running) if other.id in key]) == 1 + len(NAMES)
    await running.place.empty()


async def everything(running: Stack) -> list[str]:
    return [*await running.place.keys(running.place.incoming), *await running.place.keys(running.place.media)]


async def test_an_original_is_removed_when_the_policy_says_so(
    localstack: LocalStack, database: Database, tmp_path: Path
) -> None:
    async with stack(localstack, database, tmp_path, original_policy="delete") as running:
        await running.worker()
        (image,) = await running.settled([await running.upload(picture(seed=9))])
        assert image.state == pb.Image.READY
        await running.age(24 * 3600)

        async def removed() -> bool:
            return (await running.get(image.id)).original_removed

        await eventually(removed)
        assert not await running.place.keys(running.place.incoming)
        assert len(await running.place.variants("")) == len(NAMES)


async def test_a_message_of_another_release_stays_and_the_rest_goes_on(running: Stack) -> None:
    await running.worker()
    await running.place.queue.send(json.dumps({"schema": "darkroom.process/2"}))
    await running.place.queue.send("not json")
    (image,) = await running.settled([await running.upload(picture(seed=10))])
    assert image.state == pb.Image.READY
    await asyncio.sleep(1)
    assert sum(await running.place.depth()) == 2


async def test_an_image_whose_message_is_dead_is_failed_and_the_message_stays(running: Stack) -> None:
    image = await running.register(picture(seed=11))
    event = {
        "eventVersion": "2.1",
        "eventName": "ObjectCreated:Put",
        "s3": {"bucket": {"name": running.place.incoming}, "object": {"key": image.original_key}},
    }
    await running.place.dead_letters.send(json.dumps({"Records": [event]}))
    await running.worker(dead_letter_interval_seconds=0.5, dead_letter_hidden_seconds=1)
    (image,) = await running.settled([image])
    assert image.state == pb.Image.FAILED
    assert image.problem.type == "processing_failed"
    assert sum(await running.place.depth(running.place.dlq_url)) == 1


async def test_a_wrong_setting_ends_the_start_with_its_name(running: Stack) -> None:
    for setting, value, reason in (
        ("media_bucket", "no-such-bucket", "bucket 'no-such-bucket' cannot be used"),
        ("dlq_url", f"{running.place.queue_url}-none", "none' cannot be used"),
        ("presets", "[]", "presets: there are 0"),
        ("metadata_target", "", "IMAGE_SVC_METADATA_TARGET"),
        ("heartbeat_seconds", "50", "heartbeat_seconds must be at most half"),
    ):
        wrong: dict[str, Any] = {setting: value}
        with pytest.raises(AssertionError, match=reason):
            await running.worker(**wrong)
