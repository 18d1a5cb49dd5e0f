"""What the database itself holds tenants apart by, whatever the code above it forgets."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator

import asyncpg
import pytest
from darkroom.metadata.v1 import metadata_pb2 as pb

from tests.support.metadata import Metadata, new_image

TENANT_TABLES = ("tenants", "images", "tags", "requests", "usage_deltas", "usage", "request_leases")


@pytest.fixture
async def app(metadata: Metadata) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(metadata.database.app_url)
    yield connection
    await connection.close()


@pytest.fixture
async def two(metadata: Metadata) -> tuple[pb.Image, pb.Image]:
    """An image each of two tenants, with rows in every table."""
    tenants = [await metadata.tenant(), await metadata.tenant()]
    images = [await metadata.image(tenant, request_id="r", tags={"a": "b"}) for tenant in tenants]
    await metadata.parts.sweeper.fold()
    for tenant in tenants:
        await metadata.image(tenant)
        item = pb.LeaseRequestsRequest(item_id=1, tenant_id=tenant, wanted=1)
        await metadata.call("BatchLeaseRequests", pb.BatchLeaseRequestsRequest(items=[item]))
    return images[0], images[1]


@pytest.mark.parametrize("table", TENANT_TABLES)
async def test_sql_that_forgets_the_tenant_returns_nothing(
    metadata: Metadata, two: tuple[pb.Image, pb.Image], app: asyncpg.Connection, table: str
) -> None:
    assert await metadata.owner.fetchval(f"SELECT count(*) FROM darkroom.{table}") >= 2
    assert await app.fetch(f"SELECT * FROM darkroom.{table}") == []


@pytest.mark.parametrize("table", TENANT_TABLES)
async def test_sql_that_forgets_its_condition_sees_its_own_tenant_alone(
    two: tuple[pb.Image, pb.Image], app: asyncpg.Connection, table: str
) -> None:
    column = "id" if table == "tenants" else "tenant_id"
    async with app.transaction():
        await app.execute("SELECT set_config('darkroom.tenants', $1, true)", f"{{{two[0].tenant_id}}}")
        rows = await app.fetch(f"SELECT {column} FROM darkroom.{table}")
    assert {str(row[column]) for row in rows} == {two[0].tenant_id}
    assert await app.fetch(f"SELECT * FROM darkroom.{table}") == [], "the scope ends with its transaction"


async def test_forgotten_conditions_change_nothing_of_others(
    metadata: Metadata, two: tuple[pb.Image, pb.Image], app: asyncpg.Connection
) -> None:
    assert await app.execute("UPDATE darkroom.images SET state = 7, deleted_at = now()") == "UPDATE 0"
    assert await app.execute("DELETE FROM darkroom.tags") == "DELETE 0"
    with pytest.raises(asyncpg.InsufficientPrivilegeError, match="row-level security"):
        await app.execute("INSERT INTO darkroom.usage_deltas VALUES ($1, 1, 1)", uuid.UUID(two[0].tenant_id))


async def test_a_batch_that_mixes_tenants_never_leaks(metadata: Metadata, two: tuple[pb.Image, pb.Image]) -> None:
    mine, theirs = two
    items = [
        pb.GetImageRequest(item_id=1, tenant_id=mine.tenant_id, image_id=mine.id),
        pb.GetImageRequest(item_id=2, tenant_id=mine.tenant_id, image_id=theirs.id),
        pb.GetImageRequest(item_id=3, tenant_id=theirs.tenant_id, image_id=mine.id),
        pb.GetImageRequest(item_id=4, tenant_id=theirs.tenant_id, image_id=theirs.id),
        pb.GetImageRequest(item_id=5, tenant_id=str(uuid.uuid4()), image_id=mine.id),
        pb.GetImageRequest(item_id=6, tenant_id="", image_id=mine.id),
    ]
    response = await metadata.call("BatchGetImages", pb.BatchGetImagesRequest(items=items))
    found = {r.item_id: r.image.id for r in response.results if r.HasField("image")}
    assert found == {1: mine.id, 4: theirs.id}
    assert len(response.results) == len(items)


async def test_the_id_of_anothers_image_makes_an_image_of_ones_own(
    metadata: Metadata, two: tuple[pb.Image, pb.Image]
) -> None:
    mine, theirs = two
    (result,) = await metadata.create(new_image(mine.tenant_id, image_id=theirs.id, filename="mine.jpg"))
    assert (result.image.tenant_id, result.image.filename) == (mine.tenant_id, "mine.jpg")
    assert (await metadata.get(theirs.tenant_id, theirs.id)).image == theirs


async def test_a_batch_of_one_tenant_does_not_open_the_next_transaction(
    metadata: Metadata, two: tuple[pb.Image, pb.Image], app: asyncpg.Connection
) -> None:
    ids = [uuid.UUID(two[0].tenant_id)], [uuid.UUID(two[0].id)]
    assert len(await app.fetch("SELECT ord FROM darkroom.get_images($1, $2)", *ids)) == 1
    assert await app.fetch("SELECT * FROM darkroom.images") == []


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT secret_sha256 FROM darkroom.api_keys",
        "SELECT * FROM darkroom.outbox",
        "DELETE FROM darkroom.images",
        "UPDATE darkroom.images SET attempt = 99",
        "UPDATE darkroom.tenants SET max_bytes = 1",
        "INSERT INTO darkroom.usage VALUES (gen_random_uuid(), 0, 0)",
        "SET ROLE darkroom_owner",
        "SET ROLE darkroom_maintenance",
        "CREATE TABLE darkroom.mine ()",
        "CREATE TABLE public.mine ()",
    ],
)
async def test_the_request_path_may_not(app: asyncpg.Connection, statement: str) -> None:
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await app.execute(statement)


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO darkroom.images SELECT * FROM darkroom.images",
        "UPDATE darkroom.api_keys SET secret_sha256 = ''",
        "UPDATE darkroom.api_keys SET scopes = '{admin}'",
        "UPDATE darkroom.tenants SET max_bytes = 1",
        "DELETE FROM darkroom.tenants",
        "SET ROLE darkroom_owner",
        "CREATE TABLE darkroom.mine ()",
    ],
)
async def test_maintenance_may_not(metadata: Metadata, statement: str) -> None:
    connection = await asyncpg.connect(metadata.database.maintenance_url)
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await connection.execute(statement)
    await connection.close()


async def test_every_table_forces_row_level_security_and_nobody_may_bypass_it(metadata: Metadata) -> None:
    rows = await metadata.owner.fetch(
        """
        SELECT relname, relrowsecurity AND relforcerowsecurity AS forced
        FROM pg_class WHERE relnamespace = 'darkroom'::regnamespace AND relkind = 'r'
        """
    )
    assert {row["relname"] for row in rows if not row["forced"]} == {"migrations"}
    assert not await metadata.owner.fetchval(
        "SELECT bool_or(rolbypassrls OR rolsuper) FROM pg_roles WHERE rolname LIKE 'darkroom%'"
    )


async def test_the_owner_of_the_tables_sees_no_tenants_rows(metadata: Metadata, two: tuple[pb.Image, pb.Image]) -> None:
    async with metadata.owner.transaction():
        await metadata.owner.execute("SET LOCAL ROLE darkroom_owner")
        assert await metadata.owner.fetchval("SELECT count(*) FROM darkroom.images") == 0
