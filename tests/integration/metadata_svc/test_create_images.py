"""Registering images: batches, repetitions, races, quotas."""

from __future__ import annotations

import asyncio
import hashlib
import uuid
from typing import Any

import pytest
from darkroom.metadata.v1 import metadata_pb2 as pb

from runtime.errors import DarkroomError, Kind
from tests.support.metadata import Metadata, new_image, seconds, uuid7


def error_of(result: Any) -> DarkroomError:
    assert result.WhichOneof("result") == "error", result
    return DarkroomError.from_status(result.error)


async def test_what_is_returned_at_creation_is_what_is_read_afterwards(metadata: Metadata) -> None:
    tenant = await metadata.tenant()
    item = new_image(
        tenant,
        filename='na"me, ünïcode\n.jpg',
        content_type="image/heic",
        size=(1 << 30) - 1,
        sha256=b"\x01" * 32,
        upload_method=pb.UPLOAD_METHOD_MULTIPART,
        presets=["a", "b"],
        tags={"k": 'v"\\', "ключ": "значение"},
        upload_time_to_live=seconds(61.25),
    )
    (result,) = await metadata.create(item)
    assert (await metadata.get(tenant, item.image_id)).image == result.image
    assert result.image.upload_method == pb.UPLOAD_METHOD_MULTIPART
    expires, created = result.image.upload_expires_at, result.image.created_at
    assert expires.ToNanoseconds() - created.ToNanoseconds() == 61_250_000_000


async def test_an_unset_upload_method_is_a_put(metadata: Metadata) -> None:
    image = await metadata.image(await metadata.tenant(), upload_method=0)
    assert image.upload_method == pb.UPLOAD_METHOD_PUT


async def test_a_repeated_image_id_changes_nothing(metadata: Metadata) -> None:
    tenant = await metadata.tenant()
    item = new_image(tenant, filename="first.jpg", tags={"a": "1"})
    (first,) = await metadata.create(item)
    (again,) = await metadata.create(
        new_image(tenant, image_id=item.image_id, filename="second.jpg", size=5, tags={"b": "2"})
    )
    assert again.image.filename == first.image.filename == "first.jpg"
    assert again.image.tags == {"a": "1"}
    assert await metadata.usage(tenant) == (1, 1000)


async def test_a_request_id_returns_what_its_first_call_made(metadata: Metadata) -> None:
    tenant = await metadata.tenant()
    first = await metadata.image(tenant, request_id="r", filename="first.jpg")
    again = await metadata.image(tenant, request_id="r", filename="second.jpg")
    assert (again.id, again.filename) == (first.id, "first.jpg")
    assert await metadata.usage(tenant) == (1, 1000)


async def test_a_request_id_belongs_to_one_tenant(metadata: Metadata) -> None:
    one = await metadata.image(await metadata.tenant(), request_id="r")
    other = await metadata.image(await metadata.tenant(), request_id="r")
    assert one.id != other.id


async def test_a_request_id_with_other_content_is_refused_for_that_item_alone(metadata: Metadata) -> None:
    tenant = await metadata.tenant()
    await metadata.image(tenant, request_id="r")
    other = hashlib.sha256(b"another body").digest()
    bad, good = await metadata.create(
        new_image(tenant, request_id="r", request_sha256=other), new_image(tenant, filename="good.jpg")
    )
    assert error_of(bad).kind is Kind.IDEMPOTENCY_CONFLICT
    assert good.image.filename == "good.jpg"
    assert await metadata.usage(tenant) == (2, 2000)


async def test_duplicates_within_a_batch_get_the_one_result(metadata: Metadata) -> None:
    tenant, other = await metadata.tenant(), await metadata.tenant()
    conflicting = hashlib.sha256(b"another body").digest()
    image_id = uuid7()
    results = await metadata.create(
        new_image(tenant, request_id="r", filename="leader.jpg"),
        new_image(tenant, request_id="r", filename="follower.jpg"),
        new_image(tenant, request_id="r", request_sha256=conflicting),
        new_image(other, request_id="r", filename="other.jpg"),
        new_image(tenant, image_id=image_id, filename="leader2.jpg"),
        new_image(tenant, image_id=image_id, filename="follower2.jpg"),
        new_image(tenant, request_id="r", filename="third.jpg"),
    )
    assert results[0].image.filename == "leader.jpg"
    assert results[1].image.id == results[6].image.id == results[0].image.id
    assert results[1].image.filename == "leader.jpg"
    assert error_of(results[2]).kind is Kind.IDEMPOTENCY_CONFLICT
    assert results[3].image.filename == "other.jpg"
    assert results[4].image.id == results[5].image.id
    assert results[5].image.filename == "leader2.jpg"
    assert await metadata.usage(tenant) == (2, 2000)
    assert await metadata.usage(other) == (1, 1000)


async def test_a_follower_of_a_refused_leader_is_refused_too(metadata: Metadata) -> None:
    tenant = await metadata.tenant(max_images=0)
    results = await metadata.create(new_image(tenant, request_id="r"), new_image(tenant, request_id="r"))
    assert [error_of(result).kind for result in results] == [Kind.QUOTA_EXCEEDED] * 2
    assert await metadata.owner.fetchval("SELECT count(*) FROM darkroom.requests") == 0


async def test_racing_calls_with_one_request_id_get_one_image(metadata: Metadata) -> None:
    tenant = await metadata.tenant()
    for turn in range(10):
        items = [new_image(tenant, request_id=f"r{turn}", filename=f"{number}.jpg") for number in range(8)]
        results = await asyncio.gather(*(metadata.create(item) for item in items))
        assert len({(r.image.id, r.image.filename) for (r,) in results}) == 1
    assert await metadata.usage(tenant) == (10, 10_000)


async def test_racing_calls_with_one_image_id_get_one_image(metadata: Metadata) -> None:
    tenant = await metadata.tenant()
    for _ in range(10):
        item = new_image(tenant)
        results = await asyncio.gather(
            *(metadata.create(pb.CreateImageRequest.FromString(item.SerializeToString())) for _ in range(8))
        )
        assert {r.image.id for (r,) in results} == {item.image_id}
    assert await metadata.usage(tenant) == (10, 10_000)


async def test_a_loser_waits_for_a_winner_that_has_not_committed(metadata: Metadata) -> None:
    """Two connections, one transaction held open: the second must not answer before the first has committed."""
    tenant = await metadata.tenant()
    winner = new_image(tenant, request_id="r", filename="winner.jpg")
    transaction = metadata.owner.transaction()
    await transaction.start()
    await metadata.owner.fetch(
        """
        SELECT ord FROM darkroom.create_images(
            ARRAY[$1::uuid], ARRAY[$2::uuid], ARRAY['r'], ARRAY[$3::bytea], ARRAY['winner.jpg'], ARRAY['image/jpeg'],
            ARRAY[7::bigint], ARRAY[NULL::bytea], ARRAY[1::smallint], ARRAY[''], ARRAY[NULL], ARRAY[900.0], ARRAY[''],
            '24 hours', '10 minutes'
        )
        """,
        uuid.UUID(tenant),
        uuid.UUID(winner.image_id),
        winner.request_sha256,
    )
    loser = asyncio.create_task(metadata.create(new_image(tenant, request_id="r", filename="loser.jpg")))
    await asyncio.sleep(0.2)
    assert not loser.done()
    await transaction.commit()
    (result,) = await loser
    assert (result.image.id, result.image.filename) == (winner.image_id, "winner.jpg")


async def test_racing_batches_that_name_the_same_requests_in_opposite_orders_do_not_deadlock(
    metadata: Metadata,
) -> None:
    tenants = [await metadata.tenant() for _ in range(4)]
    for turn in range(5):
        names = [(tenant, f"{turn}-{number}") for number in range(20) for tenant in tenants]
        forth = [new_image(tenant, request_id=name) for tenant, name in names]
        back = [new_image(tenant, request_id=name) for tenant, name in reversed(names)]
        one, two = await asyncio.gather(metadata.create(*forth), metadata.create(*back))
        assert {r.image.id for r in one} == {r.image.id for r in two}
    assert await metadata.usage(tenants[0]) == (100, 100_000)


async def test_a_replay_moves_the_deadline_of_an_image_that_awaits_its_upload(metadata: Metadata) -> None:
    tenant = await metadata.tenant()
    first = await metadata.image(tenant, request_id="r")
    await metadata.later(600)
    again = await metadata.image(tenant, request_id="r")
    assert again.upload_expires_at.ToSeconds() >= first.upload_expires_at.ToSeconds()
    assert again.etag != first.etag
    row = await metadata.row(first.id)
    assert (row["due_at"] - row["upload_expires_at"]).total_seconds() == 600


async def test_a_replay_leaves_an_image_in_work_alone(metadata: Metadata) -> None:
    tenant = await metadata.tenant()
    first = await metadata.image(tenant, request_id="r")
    await metadata.begin(first)
    before = (await metadata.get(tenant, first.id)).image
    again = await metadata.image(tenant, request_id="r", upload_time_to_live=seconds(3000))
    assert again == before


async def test_a_request_id_is_free_again_after_a_day(metadata: Metadata) -> None:
    tenant = await metadata.tenant()
    first = await metadata.image(tenant, request_id="r")
    await metadata.later(24 * 3600 + 1)
    other = hashlib.sha256(b"another body").digest()
    second = await metadata.image(tenant, request_id="r", request_sha256=other)
    assert second.id != first.id
    assert (await metadata.image(tenant, request_id="r", request_sha256=other)).id == second.id


async def test_the_number_of_images_is_limited_exactly_when_calls_follow_each_other(metadata: Metadata) -> None:
    tenant = await metadata.tenant(max_images=5)
    results = await metadata.create(*(new_image(tenant) for _ in range(3)))
    assert all(result.HasField("image") for result in results)
    results = await metadata.create(*(new_image(tenant) for _ in range(4)))
    assert [result.WhichOneof("result") for result in results] == ["image", "image", "error", "error"]
    assert error_of(results[3]).kind is Kind.QUOTA_EXCEEDED
    await metadata.parts.sweeper.fold()
    (result,) = await metadata.create(new_image(tenant))
    assert error_of(result).kind is Kind.QUOTA_EXCEEDED
    assert await metadata.usage(tenant) == (5, 5000)


async def test_what_does_not_fit_does_not_keep_out_what_does(metadata: Metadata) -> None:
    tenant, other = await metadata.tenant(max_bytes=1000), await metadata.tenant()
    results = await metadata.create(
        new_image(tenant, size=600),
        new_image(other, size=5000),
        new_image(tenant, size=500),
        new_image(tenant, size=400),
        new_image(tenant, size=1),
    )
    assert [result.WhichOneof("result") for result in results] == ["image", "image", "error", "image", "error"]
    assert await metadata.usage(tenant) == (2, 1000)


async def test_a_replay_at_the_limit_is_no_new_image(metadata: Metadata) -> None:
    tenant = await metadata.tenant(max_images=1)
    item = new_image(tenant, request_id="r")
    (first,) = await metadata.create(item)
    by_request, by_id = await metadata.create(
        new_image(tenant, request_id="r"), new_image(tenant, image_id=item.image_id)
    )
    assert by_request.image.id == by_id.image.id == first.image.id


async def test_an_image_above_the_tenants_size_limit_is_unprocessable(metadata: Metadata) -> None:
    tenant = await metadata.tenant(max_image_bytes=999)
    (result,) = await metadata.create(new_image(tenant, size=1000))
    error = error_of(result)
    assert (error.kind, error.pointer) == (Kind.UNPROCESSABLE, "/size")


@pytest.mark.parametrize(
    ("fields", "pointer"),
    [
        ({"image_id": "no-uuid"}, "/image_id"),
        ({"filename": "a\x00b"}, "/filename"),
        ({"size": -1}, "/size"),
        ({"sha256": b"short"}, "/sha256"),
        ({"request_id": "r", "request_sha256": b""}, "/request_id"),
        ({"upload_method": 7}, "/upload_method"),
        ({"tags": {"a\x00": "b"}}, "/tags"),
    ],
)
async def test_an_item_out_of_form_fails_alone(metadata: Metadata, fields: dict[str, Any], pointer: str) -> None:
    tenant = await metadata.tenant()
    bad, good = await metadata.create(new_image(tenant, **fields), new_image(tenant, filename="good.jpg"))
    error = error_of(bad)
    assert error.pointer == pointer
    assert error.kind in (Kind.MALFORMED, Kind.UNPROCESSABLE)
    assert good.image.filename == "good.jpg"


async def test_an_unknown_tenant_gets_nothing_stored(metadata: Metadata) -> None:
    (result,) = await metadata.create(new_image(str(uuid.uuid4())))
    assert error_of(result).kind is Kind.NOT_FOUND
    assert await metadata.owner.fetchval("SELECT count(*) FROM darkroom.images") == 0


async def test_a_batch_above_the_limit_is_refused(metadata: Metadata) -> None:
    items = [pb.CreateImageRequest(item_id=number) for number in range(1001)]
    with pytest.raises(DarkroomError, match="at most 1000") as caught:
        await metadata.call("BatchCreateImages", pb.BatchCreateImagesRequest(items=items))
    assert caught.value.kind is Kind.MALFORMED


async def test_an_empty_batch_is_answered_empty(metadata: Metadata) -> None:
    assert await metadata.create() == []


async def test_a_replay_of_an_image_that_is_gone_is_not_found(metadata: Metadata) -> None:
    tenant = await metadata.tenant()
    image = await metadata.image(tenant, request_id="r")
    await metadata.owner.execute("DELETE FROM darkroom.images WHERE id = $1", uuid.UUID(image.id))
    (result,) = await metadata.create(new_image(tenant, request_id="r"))
    assert error_of(result).kind is Kind.NOT_FOUND
