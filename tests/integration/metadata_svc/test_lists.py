"""Lists: pages, filters, likeness, page tokens."""

from __future__ import annotations

import base64
import uuid
from typing import Any

import pytest
from darkroom.metadata.v1 import metadata_pb2 as pb

from runtime.errors import DarkroomError, Kind
from tests.support.metadata import Metadata, metadata_service, new_image
from tests.support.postgres import Database


async def listed(metadata: Metadata, tenant: str, **fields: Any) -> pb.ListImagesResponse:
    response: pb.ListImagesResponse = await metadata.call(
        "ListImages", pb.ListImagesRequest(tenant_id=tenant, **fields)
    )
    return response


async def all_pages(metadata: Metadata, tenant: str, **fields: Any) -> list[str]:
    found: list[str] = []
    token = ""
    while True:
        page = await listed(metadata, tenant, page_token=token, **fields)
        assert len(page.images) <= fields.get("page_size", 50)
        found += [image.id for image in page.images]
        token = page.next_page_token
        if not token:
            return found


async def filled(metadata: Metadata, tenant: str, count: int) -> list[str]:
    """Ids of new images, newest first; every third in work, tagged by number."""
    ids = []
    for number in range(count):
        image = await metadata.image(
            tenant, tags={"parity": "even" if number % 2 == 0 else "odd", "all": "yes"}, sha256=bytes([number % 4]) * 32
        )
        if number % 3 == 0:
            await metadata.begin(image)
        ids.append(image.id)
    return sorted(ids, reverse=True)


async def test_a_list_shows_every_image_once_newest_first(metadata: Metadata) -> None:
    tenant, other = await metadata.tenant(), await metadata.tenant()
    ids = await filled(metadata, tenant, 23)
    await metadata.image(other)
    assert await all_pages(metadata, tenant, page_size=5) == ids
    assert await all_pages(metadata, tenant, page_size=23) == ids
    assert await all_pages(metadata, tenant) == ids


async def test_images_that_come_while_one_pages_do_not_disturb(metadata: Metadata) -> None:
    tenant = await metadata.tenant()
    ids = await filled(metadata, tenant, 6)
    first = await listed(metadata, tenant, page_size=3)
    await metadata.image(tenant)
    second = await listed(metadata, tenant, page_size=3, page_token=first.next_page_token)
    assert [image.id for image in (*first.images, *second.images)] == ids


async def test_filters_combine(metadata: Metadata) -> None:
    tenant = await metadata.tenant()
    ids = await filled(metadata, tenant, 24)
    number = {image_id: 23 - index for index, image_id in enumerate(ids)}

    async def numbers(**fields: Any) -> list[int]:
        return [number[image_id] for image_id in await all_pages(metadata, tenant, page_size=4, **fields)]

    backwards = range(23, -1, -1)
    assert await numbers(state=pb.Image.PROCESSING) == [n for n in backwards if n % 3 == 0]
    assert await numbers(state=pb.Image.READY) == []
    assert await numbers(tags={"parity": "odd"}) == [n for n in backwards if n % 2]
    assert await numbers(tags={"parity": "odd", "all": "yes"}) == [n for n in backwards if n % 2]
    assert await numbers(tags={"parity": "odd", "all": "no"}) == []
    assert await numbers(sha256=b"\x01" * 32) == [n for n in backwards if n % 4 == 1]
    assert await numbers(sha256=b"\x01" * 32, tags={"parity": "odd"}, state=pb.Image.PROCESSING) == [
        n for n in backwards if n % 4 == 1 and n % 3 == 0
    ]


async def test_tombstones_show_only_when_asked_for(metadata: Metadata) -> None:
    tenant = await metadata.tenant()
    ids = await filled(metadata, tenant, 5)
    await metadata.call("DeleteImage", pb.DeleteImageRequest(tenant_id=tenant, image_id=ids[1]))
    assert await all_pages(metadata, tenant) == [ids[0], *ids[2:]]
    assert await all_pages(metadata, tenant, tags={"all": "yes"}) == [ids[0], *ids[2:]]
    assert await all_pages(metadata, tenant, state=pb.Image.DELETED) == [ids[1]]


async def test_likeness_lists_the_nearest_first(metadata: Metadata) -> None:
    tenant, other = await metadata.tenant(), await metadata.tenant()
    base = 0xF0F0_F0F0_F0F0_F0F0
    mine = await metadata.ready_image(tenant, likeness=base)
    near = [await metadata.ready_image(tenant, likeness=base ^ ((1 << bits) - 1)) for bits in (3, 0, 10, 11, 3)]
    await metadata.ready_image(other, likeness=base)
    await metadata.image(tenant)
    expected = [near[1].id, near[4].id, near[0].id, near[2].id]
    assert await all_pages(metadata, tenant, similar_to=mine.id) == expected
    assert await all_pages(metadata, tenant, similar_to=mine.id, page_size=1) == expected
    assert await all_pages(metadata, tenant, similar_to=mine.id, page_size=3) == expected
    assert await all_pages(metadata, tenant, similar_to=mine.id, state=pb.Image.REJECTED) == []
    assert await all_pages(metadata, tenant, similar_to=mine.id, sha256=near[0].sha256) == [near[0].id]


@pytest.mark.parametrize("whose", ["unknown", "others", "not ready"])
async def test_likeness_needs_a_ready_image_of_ones_own(metadata: Metadata, whose: str) -> None:
    tenant = await metadata.tenant()
    likeness_of = {
        "unknown": str(uuid.uuid4()),
        "others": (await metadata.ready_image(await metadata.tenant())).id,
        "not ready": (await metadata.image(tenant)).id,
    }[whose]
    with pytest.raises(DarkroomError) as caught:
        await listed(metadata, tenant, similar_to=likeness_of)
    assert (caught.value.kind, caught.value.pointer) == (Kind.UNPROCESSABLE, "/similar_to")


async def test_a_page_token_belongs_to_its_list_and_cannot_be_changed(metadata: Metadata) -> None:
    tenant, other = await metadata.tenant(), await metadata.tenant()
    await filled(metadata, tenant, 4)
    token = (await listed(metadata, tenant, page_size=2)).next_page_token
    assert (await listed(metadata, tenant, page_size=1, page_token=token)).images, "the size may change"
    raw = bytearray(base64.urlsafe_b64decode(token + "=="))
    raw[5] ^= 1
    tampered = base64.urlsafe_b64encode(bytes(raw)).decode().rstrip("=")
    wrong: list[tuple[str, dict[str, Any]]] = [
        (tenant, {"page_token": tampered}),
        (tenant, {"page_token": "nonsense"}),
        (tenant, {"page_token": token + "A"}),
        (tenant, {"page_token": "ü"}),
        (tenant, {"page_token": token, "state": pb.Image.READY}),
        (tenant, {"page_token": token, "tags": {"a": "b"}}),
        (other, {"page_token": token}),
    ]
    for asker, fields in wrong:
        with pytest.raises(DarkroomError) as caught:
            await listed(metadata, asker, **fields)
        assert (caught.value.kind, caught.value.pointer) == (Kind.MALFORMED, "/page_token")


async def test_page_sizes_have_a_default_and_a_limit(database: Database) -> None:
    async with metadata_service(database, page_size_default=3, page_size_max=5) as metadata:
        tenant = await metadata.tenant()
        await metadata.create(*(new_image(tenant) for _ in range(9)))
        assert len((await listed(metadata, tenant)).images) == 3
        assert len((await listed(metadata, tenant, page_size=100)).images) == 5
        with pytest.raises(DarkroomError, match="negative"):
            await listed(metadata, tenant, page_size=-1)


@pytest.mark.parametrize(
    ("states", "tags"),
    [([1, 2, 3, 4, 5, 6], {}), ([1], {}), ([1, 2, 3, 4, 5, 6], {"t": "1"})],
    ids=["all", "one state", "one tag"],
)
async def test_a_page_reads_few_more_rows_than_it_shows(
    metadata: Metadata, states: list[int], tags: dict[str, str]
) -> None:
    """Whatever else there is: other states, other tags, and nine tombstones for each image."""
    tenant = await metadata.tenant()
    await metadata.create(*(new_image(tenant, tags={"t": str(n % 2)}) for n in range(1000)))
    await metadata.owner.execute(
        """
        WITH dead AS (
            UPDATE darkroom.images SET state = 7, deleted_at = now(), purged_at = now()
            WHERE id > (SELECT id FROM darkroom.images ORDER BY id LIMIT 1 OFFSET 99)
            RETURNING id
        )
        DELETE FROM darkroom.tags t USING dead WHERE t.image_id = dead.id
        """
    )
    await metadata.owner.execute("VACUUM (ANALYZE) darkroom.images")
    await metadata.owner.execute("VACUUM (ANALYZE) darkroom.tags")
    async with metadata.owner.transaction():
        await metadata.owner.execute("SET LOCAL ROLE darkroom_app")
        rows = await metadata.owner.fetch(
            "SELECT id FROM darkroom.list_images($1, $2, $3, $4, NULL, NULL, 10)",
            uuid.UUID(tenant),
            states,
            list(tags),
            list(tags.values()),
        )
        read = await metadata.owner.fetchval("SELECT pg_stat_get_xact_tuples_fetched('darkroom.images'::regclass)")
    assert len(rows) == 10
    assert read <= 30


async def test_a_tenant_without_images_gets_an_empty_page(metadata: Metadata) -> None:
    page = await listed(metadata, await metadata.tenant())
    assert (list(page.images), page.next_page_token) == ([], "")


@pytest.mark.parametrize(
    ("fields", "pointer"),
    [
        ({"tenant_id": "x"}, "/tenant_id"),
        ({"sha256": b"short"}, "/sha256"),
        ({"state": 99}, "/state"),
        ({"similar_to": "x"}, "/similar_to"),
        ({"tags": {"": "x"}}, "/tags"),
    ],
)
async def test_a_question_out_of_form_is_refused(metadata: Metadata, fields: dict[str, Any], pointer: str) -> None:
    request = pb.ListImagesRequest(**({"tenant_id": str(uuid.uuid4())} | fields))
    with pytest.raises(DarkroomError) as caught:
        await metadata.call("ListImages", request)
    assert caught.value.pointer == pointer
