"""An image's life, through the service's RPCs and a real database."""

from __future__ import annotations

from darkroom.metadata.v1 import metadata_pb2 as pb

from tests.support.metadata import Metadata, new_image


async def test_an_image_goes_from_registration_to_ready(metadata: Metadata) -> None:
    tenant = await metadata.tenant()
    image = await metadata.image(tenant, tags={"album": "may"}, presets=["thumb", "small"], sha256=b"s" * 32)
    assert image.state == pb.Image.AWAITING_UPLOAD
    assert image.original_key == f"incoming/{tenant}/{image.id}"
    assert (await metadata.get(tenant, image.id)).image == image

    begun = await metadata.begin(image)
    assert begun.job.attempt == 1
    assert begun.job.media_prefix == f"media/{tenant}/{image.id}/"
    assert list(begun.job.presets) == ["thumb", "small"]
    assert (await metadata.begin(image)).WhichOneof("outcome") == "busy"

    assert (await metadata.finish(begun.job, perceptual_hash=(1 << 64) - 3)).state == pb.Image.READY
    ready = (await metadata.get(tenant, image.id)).image
    assert ready.state == pb.Image.READY
    assert ready.facts.perceptual_hash == (1 << 64) - 3
    assert {v.name: v.size for v in ready.variants} == {"thumb": 30, "small": 70}
    assert ready.tags == {"album": "may"}
    assert ready.HasField("ready_at")
    assert ready.etag != image.etag
    assert await metadata.usage(tenant) == (1, 1100)

    assert await metadata.parts.relay.round() == 1
    assert metadata.publisher.kinds() == ["image.ready"]


async def test_a_batch_of_mixed_tenants_is_one_call(metadata: Metadata) -> None:
    tenants = [await metadata.tenant() for _ in range(3)]
    items = [new_image(tenants[number % 3], filename=f"{number}.jpg") for number in range(30)]
    results = await metadata.create(*items)
    assert [r.image.filename for r in results] == [f"{number}.jpg" for number in range(30)]
    assert [r.image.tenant_id for r in results] == [tenants[number % 3] for number in range(30)]
    assert [await metadata.usage(tenant) for tenant in tenants] == [(10, 10_000)] * 3


async def test_a_final_failure_ends_failed_with_attempts_left_and_another_one_does_not(metadata: Metadata) -> None:
    tenant = await metadata.tenant()
    problem = pb.Problem(type="processing_failed", title="It could not be processed.", detail="It took too long.")
    images = [await metadata.image(tenant) for _ in range(2)]
    answers = []
    for image, final in zip(images, (True, False), strict=True):
        job = (await metadata.begin(image)).job
        request = pb.FailProcessingRequest(
            tenant_id=tenant, image_id=image.id, attempt=job.attempt, problem=problem, final=final
        )
        answers += [await metadata.call("FailProcessing", request) for _ in range(2)]
    assert [answer.state for answer in answers] == [pb.Image.FAILED] * 2 + [pb.Image.PROCESSING] * 2
    assert [answer.HasField("retry_after") for answer in answers] == [False, False, True, True]
    failed, other = [(await metadata.get(tenant, image.id)).image for image in images]
    assert (failed.state, failed.problem) == (pb.Image.FAILED, problem)
    assert other.state == pb.Image.PROCESSING
    assert (await metadata.row(failed.id))["counted"] == 1
    assert (await metadata.begin(failed)).settled.remove_object is False
    assert await metadata.parts.relay.round() == 1
    assert metadata.publisher.kinds() == ["image.failed"]
