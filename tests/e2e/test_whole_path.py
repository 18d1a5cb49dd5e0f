"""From registration to finished pictures, and to nothing left, through API Gateway."""

from __future__ import annotations

import asyncio
import io
import json
import time
from typing import Any

import aiohttp
import pytest
from aiobotocore.session import get_session
from PIL import Image

from tests.support.api_client import Api, send
from tests.support.cluster import RunningCluster
from tests.support.pictures import TYPES, picture

WIDTHS = {"thumb": 256, "small": 640, "medium": 1280, "large": 2048}


@pytest.mark.parametrize("content_type", TYPES)
async def test_an_upload_of_each_type_becomes_pictures_without_metadata(
    api: Api, http: aiohttp.ClientSession, content_type: str
) -> None:
    content = picture(content_type, size=(1600, 1200))
    image = await api.settled(await api.upload(content, content_type))
    assert image["state"] == "READY", image["problem"]
    upright = (1200, 1600) if content_type == "image/jpeg" else (1600, 1200)  # the JPEG is to be turned
    assert (image["width"], image["height"]) == upright
    assert {variant["name"] for variant in image["variants"]} == set(WIDTHS)
    for variant in image["variants"]:
        reply = await send(http, "GET", variant["url"])
        assert reply.status == 200
        assert len(reply.body) == variant["size"]
        assert reply.headers["content-type"] == variant["content_type"]
        with Image.open(io.BytesIO(reply.body)) as made:
            assert made.size == (variant["width"], variant["height"])
            assert max(made.size) == min(WIDTHS[variant["name"]], 1600)
            assert not made.getexif()
            assert not {"exif", "xmp", "comment", "photoshop"} & made.info.keys()


async def test_an_image_is_found_tagged_counted_and_fetched(api: Api, http: aiohttp.ClientSession) -> None:
    content = picture(seed=11)
    before = (await api.call("GET", "/v1/usage")).json
    image_id = await api.upload(content, "image/jpeg", tags={"album": "eleven"})
    image = await api.settled(image_id)

    page = (await api.call("GET", "/v1/images?tag=album:eleven&state=READY")).json
    assert [found["id"] for found in page["images"]] == [image_id]
    same = (await api.call("GET", f"/v1/images?sha256={image['sha256']}")).json
    assert image_id in [found["id"] for found in same["images"]]

    stale = await api.call("PATCH", f"/v1/images/{image_id}", json={"tags": {}}, headers={"If-Match": '"other"'})
    assert stale.status == 412
    etag = (await api.call("GET", f"/v1/images/{image_id}")).headers["etag"]
    changed = await api.call(
        "PATCH", f"/v1/images/{image_id}", json={"tags": {"album": "twelve"}}, headers={"If-Match": etag}
    )
    assert changed.status == 200
    assert changed.json["tags"] == {"album": "twelve"}

    for what, expected in (("variants/thumb", None), ("original", content)):
        redirect = await api.call("GET", f"/v1/images/{image_id}/{what}")
        assert redirect.status == 302
        fetched = await send(http, "GET", redirect.headers["location"])
        assert fetched.status == 200
        assert expected is None or fetched.body == expected

    deadline = time.monotonic() + 20
    while (await api.call("GET", "/v1/usage")).json["images"] <= before["images"]:  # it may lag by seconds
        assert time.monotonic() < deadline
        await asyncio.sleep(0.5)


async def test_an_upload_can_be_watched_to_its_end(
    api: Api, http: aiohttp.ClientSession, cluster: RunningCluster
) -> None:
    content = picture(seed=14)
    made = await api.register(content, "image/jpeg")
    path = f"/v1/images/{made['image']['id']}/events"
    states: list[str] = []
    # From the gateway itself: LocalStack's API Gateway hands on a stream when it is over.
    url, headers = cluster.env["DARKROOM_GATEWAY_URL"] + path, {"x-api-key": cluster.env["DARKROOM_API_KEY"]}
    async with http.get(url, headers=headers, timeout=aiohttp.ClientTimeout(total=60)) as response:
        async for line in response.content:
            if line.startswith(b"data: "):
                states.append(json.loads(line[6:])["state"])
                if len(states) == 1:
                    assert (await api.put(made["upload"], content)).status == 200
    assert (states[0], states[-1]) == ("AWAITING_UPLOAD", "READY")
    assert set(states[1:-1]) <= {"PROCESSING"}

    through_api_gateway = await api.call("GET", path)
    assert through_api_gateway.headers["content-type"] == "text/event-stream"
    assert through_api_gateway.body.count(b"event: image") == 1


async def test_a_repeated_registration_gives_the_same_image(api: Api) -> None:
    content = picture(seed=12)
    first = await api.register(content, "image/jpeg", idempotency_key="e2e-same")
    second = await api.register(content, "image/jpeg", idempotency_key="e2e-same")
    assert second["image"]["id"] == first["image"]["id"]
    assert (await api.put(second["upload"], content)).status == 200
    assert (await api.settled(first["image"]["id"]))["state"] == "READY"


async def test_deletion_leaves_no_object_in_any_bucket(api: Api, cluster: RunningCluster) -> None:
    image_id = await api.upload(picture(seed=13), "image/jpeg")
    await api.settled(image_id)
    assert [key for key in await objects(cluster) if image_id in key]

    assert (await api.call("DELETE", f"/v1/images/{image_id}")).status == 202
    assert (await api.call("GET", f"/v1/images/{image_id}")).status == 410
    deadline = time.monotonic() + 30
    while left := [key for key in await objects(cluster) if image_id in key]:
        assert time.monotonic() < deadline, left
        await asyncio.sleep(0.3)


async def test_two_hundred_photos_at_once_all_become_ready(api: Api) -> None:
    contents = [picture(seed=seed, size=(160, 120)) for seed in range(200)]
    ids = await asyncio.gather(*(api.upload(content, "image/jpeg", variants=["thumb"]) for content in contents))
    images = await asyncio.gather(*(api.settled(image_id, seconds=120) for image_id in ids))
    states = [image["state"] for image in images]
    assert states.count("READY") == 200, {state: states.count(state) for state in set(states)}


async def objects(cluster: RunningCluster) -> list[str]:
    """Every version of every object in both buckets."""
    found: list[str] = []
    credentials = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
    where: dict[str, Any] = {"endpoint_url": cluster.env["AWS_ENDPOINT_URL"], "region_name": cluster.env["AWS_REGION"]}
    async with get_session().create_client("s3", **where, **credentials) as s3:
        for bucket in (cluster.env["INCOMING_BUCKET"], cluster.env["MEDIA_BUCKET"]):
            async for page in s3.get_paginator("list_object_versions").paginate(Bucket=bucket):
                for kind in ("Versions", "DeleteMarkers"):
                    found += [item["Key"] for item in page.get(kind, [])]
    return found
