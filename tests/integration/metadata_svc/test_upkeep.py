"""What happens by itself: the sweeper's orders, the outbox, the ends of things."""

from __future__ import annotations

import asyncio
import json
import uuid
from datetime import timedelta

import pytest
from darkroom.metadata.v1 import metadata_pb2 as pb

from metadata_svc.adapters import statements
from metadata_svc.adapters.publisher import command, event
from metadata_svc.adapters.upkeep import SqlPrune
from metadata_svc.prune import Pruner
from runtime.errors import DarkroomError, Kind
from tests.support.metadata import DAY, Metadata, metadata_service, new_image, seconds
from tests.support.postgres import Database


async def swept(metadata: Metadata) -> list[str]:
    """What one sweep leads to, in no particular order."""
    metadata.publisher.sent.clear()
    await metadata.parts.sweeper.sweep()
    while await metadata.parts.relay.round():
        pass
    return sorted(metadata.publisher.kinds())


async def pruned(metadata: Metadata, batch: int = 100) -> dict[str, int]:
    """What one run of the prune command deletes."""
    prune = SqlPrune(metadata.parts.maintenance, batch=batch, request_life=timedelta(days=1))
    pruner = Pruner(prune, batch=batch, pause=0, longest=60)
    assert await pruner.run()
    return pruner.counts


def ids(image: pb.Image) -> dict[str, str]:
    return {"tenant_id": image.tenant_id, "image_id": image.id}


async def delete(metadata: Metadata, image: pb.Image) -> pb.DeleteImageResponse:
    response: pb.DeleteImageResponse = await metadata.call("DeleteImage", pb.DeleteImageRequest(**ids(image)))
    return response


async def test_an_upload_past_its_deadline_and_grace_is_checked_and_expired_if_it_never_came(
    metadata: Metadata,
) -> None:
    tenant = await metadata.tenant()
    image = await metadata.image(tenant)
    await metadata.later(900 + 500)
    assert await swept(metadata) == []
    await metadata.later(101)
    assert await swept(metadata) == ["darkroom.check_upload/1"]
    assert await swept(metadata) == [], "ordered once, for a while"
    response = await metadata.call("ExpireUpload", pb.ExpireUploadRequest(**ids(image)))
    assert response.state == pb.Image.EXPIRED
    assert await metadata.usage(tenant) == (0, 0)
    await metadata.later(100 * DAY)
    assert await swept(metadata) == []
    settled = (await metadata.begin(image)).settled
    assert settled.remove_object
    assert not settled.media_prefix


async def test_an_order_that_is_not_reported_is_given_again(metadata: Metadata) -> None:
    await metadata.image(await metadata.tenant())
    await metadata.later(1501)
    assert await swept(metadata) == ["darkroom.check_upload/1"]
    await metadata.later(901)
    assert await swept(metadata) == ["darkroom.check_upload/1"]


async def test_a_renewed_upload_is_not_expired_by_an_order_that_was_under_way(metadata: Metadata) -> None:
    image = await metadata.image(await metadata.tenant())
    await metadata.later(1501)
    assert await swept(metadata) == ["darkroom.check_upload/1"]
    renewed = await metadata.call("RenewUpload", pb.RenewUploadRequest(**ids(image), upload_time_to_live=seconds(900)))
    assert renewed.image.etag != image.etag
    response = await metadata.call("ExpireUpload", pb.ExpireUploadRequest(**ids(image)))
    assert response.state == pb.Image.AWAITING_UPLOAD


async def test_renewing_an_upload_is_for_images_that_await_one(metadata: Metadata) -> None:
    image = await metadata.ready_image(await metadata.tenant())
    with pytest.raises(DarkroomError) as caught:
        await metadata.call("RenewUpload", pb.RenewUploadRequest(**ids(image), upload_time_to_live=seconds(900)))
    assert caught.value.kind is Kind.WRONG_STATE


async def test_an_image_in_work_whose_message_was_lost_gets_a_new_one(metadata: Metadata) -> None:
    image = await metadata.image(await metadata.tenant())
    await metadata.begin(image, lease=30)
    await metadata.later(30 + 890)
    assert await swept(metadata) == []
    await metadata.later(11)
    assert await swept(metadata) == ["darkroom.process/1"]
    assert (await metadata.begin(image)).job.attempt == 2


@pytest.mark.parametrize(
    ("policy", "days", "due_after"),
    [("keep", None, None), ("keep_days", 3, 3 * DAY), ("delete", None, 900 + 300)],
)
async def test_an_original_goes_as_the_tenants_policy_asks(
    metadata: Metadata, policy: str, days: int | None, due_after: float | None
) -> None:
    tenant = await metadata.tenant(original_policy=policy, original_keep_days=days)
    image = await metadata.ready_image(tenant)
    assert await swept(metadata) == ["image.ready"]
    if due_after is None:
        await metadata.later(1000 * DAY)
        assert await swept(metadata) == []
        return
    await metadata.later(due_after - 10)
    assert await swept(metadata) == [], "a ticket would bring it back"
    await metadata.later(20)
    assert await swept(metadata) == ["darkroom.remove_original/1"]
    assert await metadata.usage(tenant) == (1, 1100)
    await metadata.call("RecordOriginalRemoval", pb.RecordOriginalRemovalRequest(**ids(image)))
    assert await metadata.usage(tenant) == (1, 100)
    now = (await metadata.get(tenant, image.id)).image
    assert now.original_removed
    assert now.etag != image.etag
    await metadata.later(1000 * DAY)
    assert await swept(metadata) == []
    assert (await metadata.begin(image)).settled.remove_object


async def test_a_deleted_image_is_a_tombstone_then_purged_then_unknown(metadata: Metadata) -> None:
    tenant = await metadata.tenant()
    image = await metadata.ready_image(tenant, tags={"a": "b"}, request_id="r")
    await metadata.later(2000)
    first = await delete(metadata, image)
    again = await delete(metadata, image)
    assert (first.receipt, first.deleted_at) == (again.receipt, again.deleted_at)
    assert str(uuid.UUID(first.receipt)) == first.receipt
    assert (await metadata.get(tenant, image.id)).image.state == pb.Image.DELETED
    assert await metadata.usage(tenant) == (0, 0)
    assert await swept(metadata) == ["darkroom.purge/1", "image.deleted", "image.ready"]
    settled = (await metadata.begin(image)).settled
    assert (settled.remove_object, settled.media_prefix) == (True, f"media/{tenant}/{image.id}/")

    await metadata.call("RecordPurge", pb.RecordPurgeRequest(**ids(image)))
    row = await metadata.row(image.id)
    kept = {name: value for name, value in row.items() if value not in (None, "", 0, [], False)}
    assert set(kept) == {
        "tenant_id", "id", "state", "version", "revision", "upload_method", "traceparent", "upload_expires_at",
        "created_at", "updated_at", "attempt", "counted", "deleted_at", "receipt", "purge_after", "purged_at", "due_at",
    }  # fmt: skip
    assert await metadata.owner.fetchval("SELECT count(*) FROM darkroom.tags") == 0
    tombstone = (await metadata.get(tenant, image.id)).image
    assert (tombstone.state, tombstone.filename) == (pb.Image.DELETED, "")
    assert (await delete(metadata, image)).receipt == first.receipt

    await metadata.later(7 * DAY - 100)
    assert (await pruned(metadata))["tombstones"] == 0
    assert (await metadata.get(tenant, image.id)).HasField("image")
    await metadata.later(200)
    assert await swept(metadata) == [], "the sweeper has no business with it any more"
    assert (await metadata.get(tenant, image.id)).HasField("image")
    assert (await pruned(metadata))["tombstones"] == 1
    assert (await metadata.get(tenant, image.id)).HasField("error")
    with pytest.raises(DarkroomError) as caught:
        await delete(metadata, image)
    assert caught.value.kind is Kind.NOT_FOUND
    assert (await metadata.begin(image)).settled.remove_object
    assert await metadata.usage(tenant) == (0, 0)


async def test_a_purge_is_not_the_last_while_objects_can_still_come(metadata: Metadata) -> None:
    image = await metadata.image(await metadata.tenant())
    begun = await metadata.begin(image, lease=30)
    await delete(metadata, image)
    assert await swept(metadata) == ["darkroom.purge/1", "image.deleted"]
    with pytest.raises(DarkroomError) as caught:
        await metadata.finish(begun.job)
    assert caught.value.kind is Kind.STALE_ATTEMPT
    await metadata.call("RecordPurge", pb.RecordPurgeRequest(**ids(image)))
    assert (await metadata.row(image.id))["filename"] == ""
    await metadata.later(1190)
    assert await swept(metadata) == []
    await metadata.later(20)
    assert await swept(metadata) == ["darkroom.purge/1"], "the ticket is over for five minutes: now nothing can come"
    await metadata.call("RecordPurge", pb.RecordPurgeRequest(**ids(image)))
    await metadata.later(DAY)
    assert await swept(metadata) == []


async def test_a_purge_of_an_image_that_is_not_deleted_is_refused(metadata: Metadata) -> None:
    image = await metadata.image(await metadata.tenant())
    with pytest.raises(DarkroomError) as caught:
        await metadata.call("RecordPurge", pb.RecordPurgeRequest(**ids(image)))
    assert caught.value.kind is Kind.WRONG_STATE


async def test_two_sweepers_at_once_give_each_order_once(metadata: Metadata) -> None:
    tenant = await metadata.tenant()
    await metadata.create(*(new_image(tenant) for _ in range(60)))
    await metadata.later(1501)
    await asyncio.gather(*(metadata.parts.sweeper.sweep() for _ in range(4)))
    assert await metadata.owner.fetchval("SELECT count(*) FROM darkroom.outbox") == 60
    assert await metadata.owner.fetchval("SELECT count(DISTINCT image_id) FROM darkroom.outbox") == 60


async def test_more_than_a_batch_is_swept_in_one_pass(database: Database) -> None:
    async with metadata_service(database, sweep_batch=7) as metadata:
        tenant = await metadata.tenant()
        await metadata.create(*(new_image(tenant, request_id=str(number)) for number in range(30)))
        await metadata.later(DAY + 1)
        await metadata.parts.sweeper.sweep()
        assert await metadata.owner.fetchval("SELECT count(*) FROM darkroom.outbox") == 30


async def test_idempotency_keys_are_forgotten_after_their_life_and_no_earlier(database: Database) -> None:
    async with metadata_service(database) as metadata:
        tenant = await metadata.tenant()
        await metadata.create(*(new_image(tenant, request_id=str(number)) for number in range(30)))
        await metadata.later(DAY - 60)
        await metadata.create(new_image(tenant, request_id="young"))
        assert await pruned(metadata, batch=7) == {"tombstones": 0, "requests": 0}
        await metadata.later(61)
        await metadata.parts.sweeper.sweep()
        assert await metadata.owner.fetchval("SELECT count(*) FROM darkroom.requests") == 31
        assert await pruned(metadata, batch=7) == {"tombstones": 0, "requests": 30}
        assert await metadata.owner.fetchval("SELECT request_id FROM darkroom.requests") == "young"


async def test_pruning_passes_over_what_somebody_holds(metadata: Metadata) -> None:
    tenant = await metadata.tenant()
    images = [await metadata.image(tenant) for _ in range(3)]
    for image in images:
        await delete(metadata, image)
        await metadata.later(DAY)
        await metadata.call("RecordPurge", pb.RecordPurgeRequest(**ids(image)))
    await metadata.later(8 * DAY)
    async with metadata.owner.transaction():
        await metadata.owner.execute("SELECT FROM darkroom.images WHERE id = $1 FOR UPDATE", uuid.UUID(images[1].id))
        assert await asyncio.wait_for(pruned(metadata), 5) == {"tombstones": 2, "requests": 0}
    assert await pruned(metadata) == {"tombstones": 1, "requests": 0}


async def test_usage_folds_to_the_same_sums_by_several_folders_at_once(metadata: Metadata) -> None:
    tenants = [await metadata.tenant() for _ in range(3)]
    for _ in range(5):
        await metadata.create(*(new_image(tenant) for tenant in tenants))
    before = [await metadata.usage(tenant) for tenant in tenants]
    await asyncio.gather(*(metadata.parts.sweeper.fold() for _ in range(4)))
    assert await metadata.owner.fetchval("SELECT count(*) FROM darkroom.usage_deltas") == 0
    assert [await metadata.usage(tenant) for tenant in tenants] == before == [(5, 5000)] * 3


async def test_folding_while_images_are_registered_loses_nothing(metadata: Metadata) -> None:
    tenant = await metadata.tenant()

    async def register() -> None:
        for _ in range(20):
            await metadata.image(tenant)

    async def fold() -> None:
        for _ in range(20):
            await metadata.parts.sweeper.fold()
            images, size = await metadata.usage(tenant)
            assert size == images * 1000

    await asyncio.gather(register(), register(), fold(), fold())
    assert await metadata.usage(tenant) == (40, 40_000)


async def test_messages_wait_out_a_time_when_nobody_takes_them(metadata: Metadata) -> None:
    image = await metadata.ready_image(await metadata.tenant())
    metadata.publisher.down = True
    assert await metadata.parts.relay.round() == 0
    metadata.publisher.down = False
    assert await metadata.parts.relay.round() == 0, "it waits before it tries again"
    await metadata.later(1.5)
    assert await metadata.parts.relay.round() == 1
    assert [str(message.image_id) for message in metadata.publisher.sent] == [image.id]
    assert await metadata.owner.fetchval("SELECT count(*) FROM darkroom.outbox") == 0


async def test_an_event_waits_for_an_older_one_of_its_image(metadata: Metadata) -> None:
    image = await metadata.ready_image(await metadata.tenant())
    metadata.publisher.down = True
    await metadata.parts.relay.round()
    metadata.publisher.down = False
    await delete(metadata, image)
    await metadata.parts.relay.round()
    assert metadata.publisher.kinds() == ["darkroom.purge/1"], "commands do not wait for events"
    await metadata.later(1.5)
    await metadata.parts.relay.round()
    await metadata.parts.relay.round()
    assert metadata.publisher.kinds() == ["darkroom.purge/1", "image.ready", "image.deleted"]


async def test_a_relay_that_died_leaves_its_messages_to_the_next(metadata: Metadata) -> None:
    await metadata.ready_image(await metadata.tenant())
    claimed = await metadata.parts.relay._outbox.claim()
    assert len(claimed) == 1
    assert await metadata.parts.relay.round() == 0
    await metadata.later(61)
    assert await metadata.parts.relay.round() == 1
    assert metadata.publisher.sent[0].id == claimed[0].id, "the same event, by its id"


async def test_the_relay_is_woken_by_what_this_process_writes(database: Database) -> None:
    async with metadata_service(database, relay_interval_seconds=3600) as metadata:
        relay = asyncio.create_task(metadata.parts.relay.run())
        await asyncio.sleep(0.2)
        await metadata.ready_image(await metadata.tenant())
        await asyncio.wait_for(metadata.publisher.taken.wait(), 5)
        relay.cancel()
        await asyncio.wait([relay])


async def test_an_event_has_the_shape_of_standard_webhooks_and_no_secret(metadata: Metadata) -> None:
    image = await metadata.ready_image(await metadata.tenant(), filename='ü".jpg', tags={"album": "may"}, likeness=255)
    await metadata.parts.relay.round()
    body = json.loads(event(metadata.publisher.sent[0]))
    assert set(body) == {"id", "type", "timestamp", "data"}
    assert body["type"] == "image.ready"
    data = body["data"]
    assert (data["id"], data["tenant_id"], data["state"]) == (image.id, image.tenant_id, "READY")
    assert (data["filename"], data["tags"]) == ('ü".jpg', {"album": "may"})
    assert data["perceptual_hash"] == "00000000000000ff"
    assert [variant["name"] for variant in data["variants"]] == ["thumb", "small"]
    assert "url" not in json.dumps(data)
    assert "key" not in data["variants"][0]
    assert data["etag"] == image.etag


async def test_a_command_is_the_protos_json_with_its_own_field_names(metadata: Metadata) -> None:
    image = await metadata.image(await metadata.tenant())
    await delete(metadata, image)
    await metadata.parts.relay.round()
    message = next(m for m in metadata.publisher.sent if m.kind == "darkroom.purge/1")
    assert json.loads(command(message)) == {
        "schema": "darkroom.purge/1",
        "tenant_id": image.tenant_id,
        "image_id": image.id,
        "original_key": image.original_key,
        "media_prefix": f"media/{image.tenant_id}/{image.id}/",
        "traceparent": f"00-{'a' * 32}-{'b' * 16}-01",
    }


async def test_an_idle_poll_reads_no_table(metadata: Metadata) -> None:
    """Rows that rest are in no index that a poll reads."""
    tenant = await metadata.tenant()
    await metadata.create(*(new_image(tenant) for _ in range(500)))
    await metadata.owner.execute("UPDATE darkroom.images SET due_at = NULL; ANALYZE darkroom.images")
    sweep = statements.load()["sweep_images"].replace("$1", "500").replace("$2", "900")
    plan = await metadata.owner.fetch(f"EXPLAIN {sweep}")
    assert "images_due" in "".join(row[0] for row in plan)
