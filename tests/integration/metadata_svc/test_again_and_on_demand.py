"""Processing anew and variants on demand, call by call, on the real database."""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

import pytest
from darkroom.metadata.v1 import metadata_pb2 as pb
from google.protobuf.timestamp_pb2 import Timestamp

from runtime.errors import DarkroomError, Kind
from tests.support.metadata import Metadata, good, seconds

ZOOM: dict[str, Any] = {"name": "zoom", "content_type": "image/jpeg", "width": 9, "height": 8, "size": 77}


async def reprocess(metadata: Metadata, tenant: str, image_id: str) -> pb.Image:
    request = pb.ReprocessImageRequest(tenant_id=tenant, image_id=image_id)
    image: pb.Image = (await metadata.call("ReprocessImage", request)).image
    return image


async def told(metadata: Metadata) -> None:
    """Gives the orders that are due, and sends all there is."""
    await metadata.parts.sweeper.sweep()
    while await metadata.parts.relay.round():
        pass


async def refusal(metadata: Metadata, method: str, request: Any) -> Kind:
    with pytest.raises(DarkroomError) as caught:
        await metadata.call(method, request)
    return caught.value.kind


def rendering(image: pb.Image, preset: str = "zoom", lease: float = 60) -> pb.BeginRenderingRequest:
    return pb.BeginRenderingRequest(tenant_id=image.tenant_id, image_id=image.id, preset=preset, lease=seconds(lease))


def record(image: pb.Image, attempt: int, **fields: Any) -> pb.RecordVariantRequest:
    variant = pb.Variant(key=f"media/{image.tenant_id}/{image.id}/zoom.f.jpg", **ZOOM | fields)
    return pb.RecordVariantRequest(tenant_id=image.tenant_id, image_id=image.id, attempt=attempt, variant=variant)


async def test_reprocessing_keeps_what_can_be_fetched_and_is_ordered_once(metadata: Metadata) -> None:
    tenant = await metadata.tenant()
    image = await metadata.ready_image(tenant)
    usage = await metadata.usage(tenant)
    answers = await asyncio.gather(*(reprocess(metadata, tenant, image.id) for _ in range(5)))
    for answer in answers:
        assert answer.state == pb.Image.PROCESSING
        assert (answer.variants, answer.facts) == (image.variants, image.facts)
        assert not answer.HasField("ready_at")
    assert len({answer.etag for answer in answers}) == 1
    assert await metadata.usage(tenant) == usage
    await told(metadata)
    assert metadata.publisher.kinds().count("darkroom.process/1") == 1
    job = (await metadata.begin(image)).job
    assert job.attempt == 2
    assert (list(job.variants), job.facts) == (list(image.variants), image.facts)
    verdict = good(job)
    verdict.variants[0].key += "x"
    verdict.variants[0].size += 5
    request = pb.FinishProcessingRequest(tenant_id=tenant, image_id=image.id, attempt=2, ready=verdict)
    await metadata.call("FinishProcessing", request)
    now = (await metadata.get(tenant, image.id)).image
    assert (now.state, now.variants[0].key) == (pb.Image.READY, verdict.variants[0].key)
    assert await metadata.usage(tenant) == (usage[0], usage[1] + 5)


async def test_an_image_that_fails_or_is_refused_when_processed_again_keeps_what_it_had(metadata: Metadata) -> None:
    tenant = await metadata.tenant()
    image = await metadata.ready_image(tenant)
    await reprocess(metadata, tenant, image.id)
    job = (await metadata.begin(image)).job
    rejected = pb.Problem(type="too_complex", title="t", detail="It takes too long.")
    request = pb.FinishProcessingRequest(tenant_id=tenant, image_id=image.id, attempt=job.attempt, rejected=rejected)
    assert (await metadata.call("FinishProcessing", request)).state == pb.Image.FAILED
    now = (await metadata.get(tenant, image.id)).image
    assert (now.problem.type, now.variants) == ("processing_failed", image.variants)
    assert "It takes too long." in now.problem.detail
    again = await reprocess(metadata, tenant, image.id)
    assert not again.HasField("problem")
    assert (await metadata.begin(image)).job.attempt == 3, "attempts count anew"


async def test_a_dead_letter_from_before_says_nothing_of_the_processing_that_came_after(metadata: Metadata) -> None:
    tenant = await metadata.tenant()
    image = await metadata.image(tenant)
    problem = pb.Problem(type="processing_failed", title="t", detail="d")
    sent = Timestamp()
    sent.GetCurrentTime()
    letter = pb.AbandonProcessingRequest(key=image.original_key, problem=problem, sent_at=sent)
    assert (await metadata.call("AbandonProcessing", letter)).state == pb.Image.FAILED
    await reprocess(metadata, tenant, image.id)
    assert (await metadata.call("AbandonProcessing", letter)).state == pb.Image.PROCESSING
    letter.ClearField("sent_at")
    assert (await metadata.call("AbandonProcessing", letter)).state == pb.Image.PROCESSING
    letter.sent_at.FromSeconds(sent.seconds + 60)
    assert (await metadata.call("AbandonProcessing", letter)).state == pb.Image.FAILED


@pytest.mark.parametrize("state", ["AWAITING_UPLOAD", "REJECTED", "EXPIRED", "removed", "going", "DELETED", "unknown"])
async def test_an_image_in_a_wrong_state_is_not_processed_again(metadata: Metadata, state: str) -> None:
    policy = {"original_policy": "keep_days", "original_keep_days": 1} if state in {"removed", "going"} else {}
    tenant = await metadata.tenant(**policy)
    image = await metadata.image(tenant)
    ids: dict[str, Any] = {"tenant_id": tenant, "image_id": image.id}
    match state:
        case "REJECTED":
            job = (await metadata.begin(image)).job
            problem = pb.Problem(type="truncated", title="t", detail="d")
            await metadata.call(
                "FinishProcessing", pb.FinishProcessingRequest(**ids, attempt=job.attempt, rejected=problem)
            )
        case "EXPIRED":
            await metadata.later(3 * 3600)
            await metadata.call("ExpireUpload", pb.ExpireUploadRequest(**ids))
        case "removed" | "going":
            await metadata.finish((await metadata.begin(image)).job)
            if state == "removed":
                await metadata.call("RecordOriginalRemoval", pb.RecordOriginalRemovalRequest(**ids))
            else:
                await metadata.later(86_400)
                await told(metadata)
                assert "darkroom.remove_original/1" in metadata.publisher.kinds()  # and not reported yet
        case "DELETED":
            await metadata.call("DeleteImage", pb.DeleteImageRequest(**ids))
        case "unknown":
            ids["image_id"] = str(uuid.uuid4())
    kind = {"DELETED": Kind.GONE, "unknown": Kind.NOT_FOUND}.get(state, Kind.WRONG_STATE)
    assert await refusal(metadata, "ReprocessImage", pb.ReprocessImageRequest(**ids)) is kind
    if state != "going":  # what is still there can be read
        render = pb.BeginRenderingRequest(**ids, preset="zoom", lease=seconds(5))
        assert await refusal(metadata, "BeginRendering", render) is kind
    stranger = pb.ReprocessImageRequest(tenant_id=await metadata.tenant(), image_id=image.id)
    assert await refusal(metadata, "ReprocessImage", stranger) is Kind.NOT_FOUND


async def test_a_variant_joins_its_image_once_and_shows_in_its_etag(metadata: Metadata) -> None:
    tenant = await metadata.tenant()
    image = await metadata.ready_image(tenant)
    usage = await metadata.usage(tenant)
    begun = (await metadata.call("BeginRendering", rendering(image))).rendering
    assert (begun.original_key, begun.size, begun.sha256) == (image.original_key, image.size, image.sha256)
    assert begun.media_prefix == f"media/{tenant}/{image.id}/"
    assert (await metadata.get(tenant, image.id)).image.etag == image.etag, "nothing a tenant can see"
    answers = await asyncio.gather(
        *(metadata.call("RecordVariant", record(image, begun.attempt, size=77 + n)) for n in range(5))
    )
    assert len({answer.variant.size for answer in answers}) == 1, "the first stays"
    now = (await metadata.get(tenant, image.id)).image
    assert [variant.name for variant in now.variants] == [*(variant.name for variant in image.variants), "zoom"]
    assert now.etag != image.etag
    assert await metadata.usage(tenant) == (usage[0], usage[1] + answers[0].variant.size)
    there = (await metadata.call("BeginRendering", rendering(image))).variant
    assert there == answers[0].variant


async def test_a_late_variant_is_refused(metadata: Metadata) -> None:
    tenant = await metadata.tenant()
    image = await metadata.ready_image(tenant)
    attempt = (await metadata.call("BeginRendering", rendering(image))).rendering.attempt
    await reprocess(metadata, tenant, image.id)
    assert await refusal(metadata, "RecordVariant", record(image, attempt)) is Kind.STALE_ATTEMPT
    await metadata.finish((await metadata.begin(image)).job)
    assert await refusal(metadata, "RecordVariant", record(image, attempt)) is Kind.STALE_ATTEMPT
    attempt = (await metadata.call("BeginRendering", rendering(image))).rendering.attempt
    await metadata.call("DeleteImage", pb.DeleteImageRequest(tenant_id=tenant, image_id=image.id))
    assert await refusal(metadata, "RecordVariant", record(image, attempt)) is Kind.STALE_ATTEMPT


async def test_a_deletion_purges_once_more_after_a_rendering_could_have_written(metadata: Metadata) -> None:
    tenant = await metadata.tenant()
    image = await metadata.ready_image(tenant)
    await metadata.later(7200)  # its ticket is long over
    await metadata.call("BeginRendering", rendering(image, lease=600))
    await metadata.call("DeleteImage", pb.DeleteImageRequest(tenant_id=tenant, image_id=image.id))
    purged = pb.RecordPurgeRequest(tenant_id=tenant, image_id=image.id)
    await told(metadata)
    await metadata.call("RecordPurge", purged)
    assert (await metadata.row(image.id))["purged_at"] is None
    await metadata.later(700)
    await told(metadata)
    assert metadata.publisher.kinds().count("darkroom.purge/1") == 2
    await metadata.call("RecordPurge", purged)
    assert (await metadata.row(image.id))["purged_at"] is not None
