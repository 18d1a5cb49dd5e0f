"""Variants on demand and the processing anew, as a client meets them, with every service as a process of its own."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import signal
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from PIL import Image

from tests.integration.gateway.conftest import Answer, House
from tests.support.image_stack import Service, free_port
from tests.support.pictures import picture

PRESETS = json.dumps(
    [
        {"name": "thumb", "width": 64, "height": 64, "fit": "cover", "format": "webp"},
        {"name": "zoom", "width": 400, "height": 400, "format": "jpeg", "eager": False},
        {"name": "dot", "width": 8, "height": 8, "fit": "cover", "format": "png", "eager": False},
    ]
)


@dataclass
class Darkroom:
    """A gateway with an image_svc behind it."""

    house: House
    port: int
    key: str
    workers: list[Service] = field(default_factory=list)

    @property
    def worker(self) -> Service:
        return self.workers[-1]

    async def start_worker(self) -> None:
        self.workers.append(await self.house.behind.worker(port=self.house.image_port, presets=PRESETS))

    async def call(self, method: str, path: str, **options: Any) -> Answer:
        return await self.house.call(method, path, key=options.pop("key", self.key), port=self.port, **options)

    async def ready(self, content: bytes, **fields: Any) -> str:
        """The id of an image that went all the way."""
        new = {
            "filename": "photo.jpg",
            "content_type": "image/jpeg",
            "size": len(content),
            "sha256": hashlib.sha256(content).hexdigest(),
        }
        made = await self.call("POST", "/v1/images", json=new | fields)
        assert made.status == 201, made.body
        upload = made.json["upload"]
        async with self.house.client.put(upload["url"], data=content, headers=upload["headers"]) as response:
            assert response.status == 200
        image_id = str(made.json["image"]["id"])
        image = await self.settled(image_id)
        assert image["state"] == "READY", image
        return image_id

    async def settled(self, image_id: str) -> Any:
        async with asyncio.timeout(60):
            while True:
                image = (await self.call("GET", f"/v1/images/{image_id}?wait=10")).json
                if image["state"] not in {"AWAITING_UPLOAD", "PROCESSING"}:
                    return image

    async def fetched(self, answer: Answer) -> Image.Image:
        assert answer.status == 302, answer.body
        async with self.house.client.get(answer.headers["location"]) as response:
            assert response.status == 200
            return Image.open(io.BytesIO(await response.read()))


@pytest.fixture
async def darkroom(house: House, key: str) -> AsyncIterator[Darkroom]:
    """With short times, so that a test sees them end."""
    port = free_port()
    made = Darkroom(house, port, key)
    await made.start_worker()
    gateway = await house.gateway(port, presets=PRESETS, render_seconds=3)
    await house.until_ready(port)
    yield made
    for service in (gateway, *made.workers):
        if service.process.returncode is None:
            await service.stop()


async def test_a_preset_on_demand_is_made_by_the_first_who_asks(darkroom: Darkroom) -> None:
    image_id = await darkroom.ready(picture(seed=1, size=(900, 600)))
    before = (await darkroom.call("GET", f"/v1/images/{image_id}")).json
    assert [variant["name"] for variant in before["variants"]] == ["thumb"]
    answers = await asyncio.gather(*(darkroom.call("GET", f"/v1/images/{image_id}/variants/zoom") for _ in range(6)))
    assert len({answer.headers["location"] for answer in answers}) == 1
    made = await darkroom.fetched(answers[0])
    assert (made.format, made.size) == ("JPEG", (267, 400))
    after = (await darkroom.call("GET", f"/v1/images/{image_id}")).json
    assert [variant["name"] for variant in after["variants"]] == ["thumb", "zoom"]
    assert after["variants"][1]["url"] == answers[0].headers["location"], "one URL in a window"
    stranger = await darkroom.house.key(await darkroom.house.tenant())
    assert (await darkroom.call("GET", f"/v1/images/{image_id}/variants/dot", key=stranger)).status == 404
    named = await darkroom.ready(picture(seed=2), variants=["dot"])
    assert [one["name"] for one in (await darkroom.settled(named))["variants"]] == ["dot"], "asked for with the upload"


async def test_a_slow_rendering_answers_202_and_then_the_variant(darkroom: Darkroom) -> None:
    image_id = await darkroom.ready(picture(seed=3, size=(900, 600)))
    darkroom.worker.process.send_signal(signal.SIGSTOP)
    try:
        slow = await darkroom.call("GET", f"/v1/images/{image_id}/variants/zoom")
        assert (slow.status, slow.json["image"]["id"]) == (202, image_id)
        assert int(slow.headers["retry-after"]) >= 1
    finally:
        darkroom.worker.process.send_signal(signal.SIGCONT)
    async with asyncio.timeout(30):
        while (answer := await darkroom.call("GET", f"/v1/images/{image_id}/variants/zoom")).status != 302:
            assert answer.status in {202, 503}, "the channel may have to find its server again"
            await asyncio.sleep(0.2)
    assert (await darkroom.fetched(answer)).size == (267, 400)


async def test_without_image_svc_what_is_made_is_served_and_the_rest_is_to_be_asked_for_later(
    darkroom: Darkroom,
) -> None:
    image_id = await darkroom.ready(picture(seed=4, size=(900, 600)))
    await darkroom.worker.kill()
    assert (await darkroom.call("GET", f"/v1/images/{image_id}/variants/thumb")).status == 302
    away = await darkroom.call("GET", f"/v1/images/{image_id}/variants/zoom")
    assert away.status in {202, 503}
    assert int(away.headers["retry-after"]) >= 1
    assert (await darkroom.call("GET", "/readyz", key=None)).status == 200
    again = await darkroom.call("POST", f"/v1/images/{image_id}/reprocess")
    assert (again.status, again.json["image"]["state"]) == (202, "PROCESSING")
    shown = (await darkroom.call("GET", f"/v1/images/{image_id}")).json
    assert [variant["name"] for variant in shown["variants"]] == ["thumb"]
    assert (await darkroom.call("GET", f"/v1/images/{image_id}/variants/thumb")).status == 302
    assert (await darkroom.call("GET", f"/v1/images/{image_id}/variants/zoom")).status == 202
    await darkroom.start_worker()
    assert (await darkroom.settled(image_id))["state"] == "READY", "the order waited in the queue"


async def test_a_rendering_under_way_ends_before_its_worker_does(darkroom: Darkroom) -> None:
    image_id = await darkroom.ready(picture(seed=5, size=(4000, 3000)))
    asking = asyncio.create_task(darkroom.call("GET", f"/v1/images/{image_id}/variants/zoom"))
    await asyncio.sleep(0.05)
    assert await darkroom.worker.stop() == 0
    assert (await asking).status in {302, 503}
    assert "Traceback" not in darkroom.worker.log.read_text()
