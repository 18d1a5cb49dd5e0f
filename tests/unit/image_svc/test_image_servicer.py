"""RequeueImage."""

from typing import Any

import pytest
from darkroom.image.v1 import image_pb2

from image_svc.ports import Unreachable
from image_svc.service import ImageService
from runtime.errors import DarkroomError, Kind
from tests.support import virtual_clock
from tests.support.image_worker import Worker, renderer, settle
from tests.support.image_world import TENANT, FakeMetadata, FakeQueue, FakeStore, World


async def _requeue(world: World, image_id: str, tenant_id: str = TENANT) -> image_pb2.RequeueImageResponse:
    servicer = ImageService(FakeMetadata(world), FakeStore(world), FakeQueue(world), renderer(world), retry_seconds=5)
    context: Any = None  # not looked at
    return await servicer.RequeueImage(image_pb2.RequeueImageRequest(tenant_id=tenant_id, image_id=image_id), context)


@pytest.mark.parametrize("state", ["AWAITING_UPLOAD", "PROCESSING"])
def test_an_image_whose_event_was_lost_becomes_ready(state: str) -> None:
    async def story() -> None:
        world = World()
        row = world.register(state=state)
        world.letters.clear()
        answer = await _requeue(world, row.image_id)
        assert answer.message_id in world.letters
        worker = Worker(world)
        await settle(world)
        await worker.stop()
        assert row.state == "READY"

    virtual_clock.run(story())


@pytest.mark.parametrize(
    ("row", "kind"),
    [
        ({"state": "DELETED"}, Kind.GONE),
        ({"state": "EXPIRED"}, Kind.WRONG_STATE),
        ({"state": "READY", "original_removed": True}, Kind.WRONG_STATE),
        ({"upload": False}, Kind.WRONG_STATE),
    ],
)
def test_an_image_without_its_bytes_is_not_requeued(row: dict[str, Any], kind: Kind) -> None:
    async def story() -> None:
        world = World()
        image_id = world.register(**row).image_id
        world.letters.clear()
        with pytest.raises(DarkroomError) as caught:
            await _requeue(world, image_id)
        assert caught.value.kind is kind
        assert not world.letters

    virtual_clock.run(story())


@pytest.mark.parametrize(
    ("image_id", "tenant_id", "kind"),
    [("", TENANT, Kind.MALFORMED), ("x", "", Kind.MALFORMED), ("unknown", TENANT, Kind.NOT_FOUND)],
)
def test_what_does_not_name_an_image_is_refused(image_id: str, tenant_id: str, kind: Kind) -> None:
    async def story() -> None:
        with pytest.raises(DarkroomError) as caught:
            await _requeue(World(), image_id, tenant_id)
        assert caught.value.kind is kind

    virtual_clock.run(story())


@pytest.mark.parametrize("call", ["registered", "head", "send"])
def test_an_outage_behind_is_said_to_be_one(call: str) -> None:
    async def story() -> None:
        world = World()
        row = world.register()
        world.faults[call] = [Unreachable("internals")]
        with pytest.raises(DarkroomError) as caught:
            await _requeue(world, row.image_id)
        assert caught.value.kind is Kind.UNAVAILABLE
        assert "internals" not in caught.value.detail

    virtual_clock.run(story())
