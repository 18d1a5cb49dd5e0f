"""Presets that change while the cluster runs, variants on demand, duplicates: through API Gateway, as a client."""

from __future__ import annotations

import asyncio
import io
import json
import os
import re
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiobotocore.session import get_session
from PIL import Image, ImageChops, ImageStat

from tests.support.api_client import Api, send
from tests.support.cluster import RunningCluster
from tests.support.pictures import drawn, picture

PARAMETER = "/darkroom/local/shared/presets"


class Presets:
    """The parameter. `standing` is what it holds otherwise."""

    def __init__(self, ssm: Any, standing: list[dict[str, Any]]) -> None:
        self.ssm = ssm
        self.standing = standing

    async def put(self, presets: list[dict[str, Any]]) -> None:
        await self.ssm.put_parameter(Name=PARAMETER, Value=json.dumps(presets), Type="String", Overwrite=True)


@pytest.fixture
async def presets(cluster: RunningCluster) -> AsyncIterator[Presets]:
    """The presets in Parameter Store, put back afterwards."""
    credentials = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
    where: dict[str, Any] = {"endpoint_url": cluster.env["AWS_ENDPOINT_URL"], "region_name": cluster.env["AWS_REGION"]}
    async with get_session().create_client("ssm", **where, **credentials) as ssm:
        stored = (await ssm.get_parameter(Name=PARAMETER))["Parameter"]["Value"]
        made = Presets(ssm, json.loads(stored))
        yield made
        await made.put(made.standing)


async def fetched(api: Api, http: aiohttp.ClientSession, image_id: str, name: str) -> Image.Image:
    """The picture that the redirect route leads to, without the key."""
    redirect = await api.patiently("GET", f"/v1/images/{image_id}/variants/{name}")
    assert redirect.status == 302, redirect
    assert not redirect.body
    reply = await send(http, "GET", redirect.headers["location"])
    assert reply.status == 200
    return Image.open(io.BytesIO(reply.body))


async def test_a_changed_preset_is_used_without_a_restart(
    api: Api, http: aiohttp.ClientSession, presets: Presets
) -> None:
    image_id = await api.upload(picture(seed=901, size=(1600, 1200)), "image/jpeg")
    before = await api.settled(image_id)
    assert (await api.call("GET", f"/v1/images/{image_id}/variants/icon")).status == 404
    new = {"filename": "a", "content_type": "image/jpeg", "size": 5, "variants": ["thumb", "icon"]}
    refused = await api.call("POST", "/v1/images", json=new)
    assert (refused.status, [error["pointer"] for error in refused.json["errors"]]) == (422, ["/variants/1"])

    icon = {"name": "icon", "width": 32, "height": 32, "fit": "cover", "format": "png", "eager": False}
    smaller = {"width": 100, "height": 100}
    changed = [preset | (smaller if preset["name"] == "thumb" else {}) for preset in presets.standing]
    await presets.put([*changed, icon])
    deadline = time.monotonic() + 30
    while (await api.call("GET", f"/v1/images/{image_id}/variants/icon")).status == 404:
        assert time.monotonic() < deadline, "the gateway never saw the new preset"
        await asyncio.sleep(0.3)

    made = await fetched(api, http, image_id, "icon")
    assert (made.format, made.size) == ("PNG", (32, 32))
    reference = drawn(901, (1600, 1200)).rotate(-90, expand=True).crop((0, 200, 1200, 1400)).resize((32, 32))
    off = ImageChops.difference(made.convert("RGB"), reference)
    assert max(ImageStat.Stat(off).mean) < 12, "another picture"

    shown = (await api.call("GET", f"/v1/images/{image_id}")).json
    sizes = {variant["name"]: variant["width"] for variant in shown["variants"]}
    assert (sizes["thumb"], sizes["icon"]) == (256, 32), "what was made stays until somebody asks"

    clicks = await asyncio.gather(*(api.call("POST", f"/v1/images/{image_id}/reprocess") for _ in range(3)))
    assert {click.status for click in clicks} == {202}
    for click in clicks:
        assert {variant["name"] for variant in click.json["image"]["variants"]} == {*sizes}
    after = await api.settled(image_id)
    assert after["state"] == "READY"
    now = {variant["name"]: variant for variant in after["variants"]}
    assert (now["thumb"]["width"], now["icon"]["width"]) == (100, 32)
    urls = {variant["name"]: variant["url"].partition("?")[0] for variant in before["variants"]}
    assert {name for name, url in urls.items() if now[name]["url"].partition("?")[0] != url} == {"thumb"}
    assert (await fetched(api, http, image_id, "thumb")).size == (100, 100)
    old = next(variant["url"] for variant in before["variants"] if variant["name"] == "thumb")
    assert (await send(http, "GET", old)).status == 200, "a URL that was given out holds until it expires"

    second = await api.upload(picture(seed=902), "image/jpeg", variants=["icon"])
    assert [variant["name"] for variant in (await api.settled(second))["variants"]] == ["icon"]


async def test_an_image_in_the_wrong_state_is_not_processed_again(api: Api) -> None:
    waiting = (await api.register(picture(seed=903), "image/jpeg"))["image"]["id"]
    rejected = await api.upload(b"no picture at all " * 20, "image/jpeg")
    assert (await api.settled(rejected))["state"] == "REJECTED"
    for image_id in (waiting, rejected):
        assert (await api.call("POST", f"/v1/images/{image_id}/reprocess")).status == 409
        assert (await api.call("GET", f"/v1/images/{image_id}/variants/thumb")).status == 409


def resaved(content: bytes, **how: Any) -> bytes:
    """The same picture with other bytes."""
    with Image.open(io.BytesIO(content)) as image:
        out = io.BytesIO()
        size = how.pop("size", image.size)
        image.resize(size).save(out, "JPEG", exif=image.getexif(), **how)
        return out.getvalue()


async def test_duplicates_are_found_by_content_and_by_likeness_within_the_tenant_alone(
    api: Api, http: aiohttp.ClientSession, cluster: RunningCluster
) -> None:
    other = Api(http, cluster.env["DARKROOM_API_URL"], cluster.env["DARKROOM_SECOND_API_KEY"])
    content = picture(seed=911, size=(1200, 900))
    alike = [resaved(content, quality=40), resaved(content, size=(700, 525), quality=90)]
    first = await api.upload(content, "image/jpeg")
    twin = await api.upload(content, "image/jpeg")
    copies = [await api.upload(copy, "image/jpeg") for copy in alike]
    noise = Image.effect_noise((1200, 900), 80).convert("RGB")
    out = io.BytesIO()
    noise.save(out, "JPEG")
    unlike = await api.upload(out.getvalue(), "image/jpeg")
    strangers = await other.upload(content, "image/jpeg")
    for image_id in (first, twin, *copies, unlike):
        assert (await api.settled(image_id))["state"] == "READY"
    image = await api.settled(first)
    await other.settled(strangers)

    async def listed(query: str) -> list[str]:
        found: list[str] = []
        token = ""
        while True:
            page = (await api.call("GET", f"/v1/images?{query}&page_size=1{token}")).json
            found += [one["id"] for one in page["images"]]
            if page["next_page_token"] is None:
                return found
            token = f"&page_token={page['next_page_token']}"

    assert await listed(f"sha256={image['sha256']}") == [twin, first], "newest first"
    near = await listed(f"similar_to={first}")
    assert set(near) >= {twin, *copies}
    assert not {first, unlike, strangers} & set(near)
    own = int(image["perceptual_hash"], 16)
    distances = [(own ^ int((await api.settled(one))["perceptual_hash"], 16)).bit_count() for one in near]
    assert distances == sorted(distances), "nearest first"
    assert distances[-1] <= 10
    assert await listed(f"similar_to={first}&sha256={image['sha256']}") == [twin]
    hidden = await api.call("GET", f"/v1/images?similar_to={strangers}")
    assert (hidden.status, hidden.json["errors"][0]["pointer"]) == (422, "/similar_to")


async def test_the_loop_of_the_document_orders_every_image_of_a_tenant(
    http: aiohttp.ClientSession, cluster: RunningCluster
) -> None:
    key = cluster.env["DARKROOM_SECOND_API_KEY"]
    api = Api(http, cluster.env["DARKROOM_API_URL"], key)
    ids = [await api.upload(picture(seed=930 + n), "image/jpeg", variants=["thumb"]) for n in range(3)]
    for image_id in ids:
        await api.settled(image_id)
    document = (Path(__file__).parents[2] / "docs" / "presets.md").read_text()
    (script,) = [block for block in re.findall(r"```sh\n(.*?)```", document, re.DOTALL) if "reprocess" in block]
    loop = await asyncio.create_subprocess_exec(
        "bash",
        "-euc",
        script.replace("page_size=100", "page_size=2"),
        env={"PATH": os.environ["PATH"], "DARKROOM_API_URL": api.url, "DARKROOM_API_KEY": key},
        stdout=asyncio.subprocess.PIPE,
    )
    said = (await asyncio.wait_for(loop.communicate(), 60))[0].decode().split("\n")
    assert loop.returncode == 0
    assert {f"{image_id} 202" for image_id in ids} <= set(said)
    for image_id in ids:
        assert (await api.settled(image_id))["state"] == "READY"
