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
