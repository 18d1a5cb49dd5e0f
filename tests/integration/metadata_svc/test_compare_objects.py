"""Stretches of a listing against stretches of the rows, in the database."""

from __future__ import annotations

import random
import uuid
from collections.abc import Sequence
from typing import Any

import pytest
from darkroom.metadata.v1 import reconcile_pb2 as pb
from darkroom.metadata.v1 import reconcile_pb2_grpc as rpc

from runtime import grpc_client
from runtime.errors import DarkroomError, Kind
from tests.support.metadata import Metadata, metadata_service, seconds
from tests.support.postgres import Database

HOUR = 3600.0


async def compare(
    metadata: Metadata, bucket: pb.Bucket.ValueType, keys: Sequence[str], **fields: Any
) -> pb.CompareObjectsResponse:
    fields = {"last": True, "give_orders": True} | fields
    objects = [pb.StoredObject(key=key, age=seconds(2 * HOUR)) for key in keys]
    request = pb.CompareObjectsRequest(bucket=bucket, objects=objects, minimum_age=seconds(HOUR), **fields)
    stub = rpc.ReconcileServiceStub(metadata.channel)
    response: pb.CompareObjectsResponse = await grpc_client.call(stub.CompareObjects, request, 10)
    return response


@pytest.mark.parametrize("rows", [1, 3, 1000])
async def test_any_number_of_rows_a_call_gives_the_same_answer(database: Database, rows: int) -> None:
    async with metadata_service(database, reconcile_rows=rows) as metadata:
        chance = random.Random(rows)
        tenants = [await metadata.tenant() for _ in range(3)]
        images = [await metadata.ready_image(chance.choice(tenants)) for _ in range(12)]
        for tenant in tenants:  # rows without any object
            await metadata.image(tenant)
        await metadata.later(2 * HOUR)
        lost = set(chance.sample([v.key for image in images for v in image.variants], 7))
        there = [v.key for image in images for v in image.variants if v.key not in lost]
        orphans = [f"media/{uuid.uuid4()}/{image.id}/thumb.webp" for image in images[:4]]
        orphans += [f"media/{tenant}/{uuid.uuid4()}/thumb.webp" for tenant in tenants]
        superseded = [f"media/{image.tenant_id}/{image.id}/thumb.old.webp" for image in images[:2]]
        keys = sorted([*there, *orphans, *superseded, "media/a", "media/z"])

        verdicts: dict[str, int] = {}
        missing: set[str] = set()
        left, position, calls = keys, "", 0
        while True:
            answer = await compare(metadata, pb.BUCKET_MEDIA, left, position=position)
            calls += 1
            verdicts |= {k: v for k, v in zip(left, answer.verdicts, strict=True) if v != pb.VERDICT_UNSPECIFIED}
            missing |= {key for one in answer.missing for key in one.keys}
            left = [k for k, v in zip(left, answer.verdicts, strict=True) if v == pb.VERDICT_UNSPECIFIED]
            position = answer.position
            if answer.done:
                break
        assert left == []
        assert missing == lost
        goes = {key for key, verdict in verdicts.items() if verdict == pb.VERDICT_REMOVE}
        assert goes == {*orphans, *superseded, "media/a", "media/z"}
        assert calls == 15 // rows + 1


async def test_objects_from_before_the_position_are_refused(metadata: Metadata) -> None:
    image = await metadata.ready_image(await metadata.tenant())
    with pytest.raises(DarkroomError) as caught:
        await compare(metadata, pb.BUCKET_MEDIA, [image.variants[0].key], position=f"{image.tenant_id}/{image.id}")
    assert caught.value.kind is Kind.MALFORMED


@pytest.mark.parametrize(
    "fields",
    [{"bucket": pb.BUCKET_UNSPECIFIED}, {"position": "x/y"}, {"minimum_age": seconds(0)}],
    ids=["no bucket", "no position", "no age"],
)
async def test_what_is_out_of_form_is_refused(metadata: Metadata, fields: dict[str, Any]) -> None:
    good: dict[str, Any] = {"bucket": pb.BUCKET_MEDIA, "minimum_age": seconds(1)}
    request = pb.CompareObjectsRequest(**good | fields)
    with pytest.raises(DarkroomError) as caught:
        await grpc_client.call(rpc.ReconcileServiceStub(metadata.channel).CompareObjects, request, 10)
    assert caught.value.kind is Kind.MALFORMED


async def test_nobody_is_told_to_forget_another_images_objects(metadata: Metadata) -> None:
    tenant = await metadata.tenant()
    one, other = [await metadata.ready_image(tenant) for _ in range(2)]
    request = pb.RecordMissingRequest(
        bucket=pb.BUCKET_MEDIA,
        missing=pb.MissingObjects(tenant_id=tenant, image_id=one.id, keys=[other.variants[0].key]),
    )
    with pytest.raises(DarkroomError) as caught:
        await grpc_client.call(rpc.ReconcileServiceStub(metadata.channel).RecordMissing, request, 10)
    assert caught.value.kind is Kind.MALFORMED
    assert (await metadata.get(tenant, other.id)).image == other


async def test_an_upload_that_nobody_noticed_is_ordered_once_and_only_when_asked_for(metadata: Metadata) -> None:
    image = await metadata.image(await metadata.tenant())
    keys = [image.original_key]
    before = await metadata.row(image.id)
    for field, value in (("give_orders", False), ("dry_run", True)):
        await compare(metadata, pb.BUCKET_INCOMING, keys, **{field: value})
        assert await metadata.row(image.id) == before
    assert list((await compare(metadata, pb.BUCKET_INCOMING, keys)).verdicts) == [pb.VERDICT_ORDERED]
    assert list((await compare(metadata, pb.BUCKET_INCOMING, keys)).verdicts) == [pb.VERDICT_KEEP]
    await metadata.parts.sweeper.sweep()
    await metadata.parts.relay.round()
    assert metadata.publisher.kinds() == ["darkroom.check_upload/1"]
