"""The search by likeness: it finds all that there is, and reads no more than it must."""

from __future__ import annotations

import random
import uuid
from typing import Any

import pytest
from darkroom.metadata.v1 import metadata_pb2 as pb

from metadata_svc.rows import signed
from metadata_svc.settings import Settings
from tests.support.metadata import Metadata

WORD = (1 << 64) - 1


def flipped(hash_: int, bits: int, source: random.Random) -> int:
    for bit in source.sample(range(64), bits):
        hash_ ^= 1 << bit
    return hash_


async def images_with(metadata: Metadata, tenant: str, hashes: list[int]) -> list[uuid.UUID]:
    """READY images with these hashes, written as they stand."""
    ids = [uuid.uuid4() for _ in hashes]
    await metadata.owner.execute(
        """
        INSERT INTO darkroom.images (
            tenant_id, id, state, filename, content_type, size, upload_method, upload_expires_at, created_at,
            updated_at, ready_at, format, width, height, frames, perceptual_hash
        )
        SELECT $1, i.id, 3, 'a', 'image/jpeg', 1, 1, now(), now(), now(), now(), 'JPEG', 1, 1, 1, i.hash
        FROM unnest($2::uuid[], $3::bigint[]) i (id, hash)
        """,
        uuid.UUID(tenant),
        ids,
        [signed(hash_) for hash_ in hashes],
    )
    return ids


async def found(metadata: Metadata, tenant: str, likeness_of: uuid.UUID) -> list[str]:
    names: list[str] = []
    token = ""
    while True:
        page = await metadata.call(
            "ListImages",
            pb.ListImagesRequest(tenant_id=tenant, similar_to=str(likeness_of), page_size=7, page_token=token),
        )
        names += [image.id for image in page.images]
        token = page.next_page_token
        if not token:
            return names


@pytest.mark.parametrize("distance", range(16))
async def test_every_pair_within_the_distance_shares_a_slot(metadata: Metadata, distance: int) -> None:
    source = random.Random(distance)
    pairs = [(one := source.getrandbits(64), flipped(one, source.randint(0, distance), source)) for _ in range(300)]
    # The worst there is: the differences spread as evenly as can be, or all in one chunk.
    pairs += [(0, sum(1 << (16 * (n % 4) + n // 4) for n in range(distance))), (WORD, WORD ^ ((1 << distance) - 1))]
    missed = await metadata.owner.fetch(
        """
        SELECT p.one, p.other FROM unnest($1::bigint[], $2::bigint[]) p (one, other)
        WHERE NOT darkroom.likeness_slots(p.other) && darkroom.likeness_probes(p.one, $3)
        """,
        [signed(one) for one, _ in pairs],
        [signed(other) for _, other in pairs],
        distance,
    )
    assert missed == []


async def test_the_search_finds_what_a_look_at_every_hash_finds_in_the_same_order(metadata: Metadata) -> None:
    source = random.Random(7)
    tenant, other = await metadata.tenant(), await metadata.tenant()
    centres = [source.getrandbits(64) for _ in range(5)]
    hashes = [flipped(source.choice(centres), source.randint(0, 16), source) for _ in range(400)]
    ids = await images_with(metadata, tenant, hashes)
    await images_with(metadata, other, hashes[:50])
    most = Settings.model_fields["similar_distance"].default
    for number in source.sample(range(400), 12):
        distances = [((hash_ ^ hashes[number]).bit_count(), id_) for id_, hash_ in zip(ids, hashes, strict=True)]
        near = [(distance, id_) for distance, id_ in distances if distance <= most and id_ != ids[number]]
        expected = [str(id_) for _, id_ in sorted(near, key=lambda one: (one[0], -one[1].int))]
        assert await found(metadata, tenant, ids[number]) == expected


async def test_the_index_follows_an_image_through_its_life(metadata: Metadata) -> None:
    tenant = await metadata.tenant()
    sought = await metadata.ready_image(tenant, likeness=0xFF)
    image = await metadata.ready_image(tenant, likeness=0xFE)
    rows = "SELECT count(*) FROM darkroom.likeness WHERE image_id = $1"

    async def slots() -> int:
        count: int = await metadata.owner.fetchval(rows, uuid.UUID(image.id))
        return count

    assert await found(metadata, tenant, uuid.UUID(sought.id)) == [image.id]
    assert await slots() == 4
    named: dict[str, Any] = {"tenant_id": tenant, "image_id": image.id}
    await metadata.call("ReprocessImage", pb.ReprocessImageRequest(**named))
    assert await found(metadata, tenant, uuid.UUID(sought.id)) == [image.id], "also while it is processed again"
    assert await found(metadata, tenant, uuid.UUID(image.id)) == [sought.id]
    await metadata.finish((await metadata.begin(image)).job, perceptual_hash=WORD)
    assert await found(metadata, tenant, uuid.UUID(sought.id)) == [], "its newest hash counts"
    assert await slots() == 4
    await metadata.call("DeleteImage", pb.DeleteImageRequest(**named))
    assert await slots() == 0


async def test_the_search_reads_its_index_alone_under_row_level_security(metadata: Metadata) -> None:
    tenant = await metadata.tenant()
    source = random.Random(3)
    await images_with(metadata, tenant, [source.getrandbits(64) for _ in range(3000)])
    await metadata.owner.execute("VACUUM ANALYZE darkroom.likeness")
    async with metadata.owner.transaction():
        await metadata.owner.execute("SET LOCAL ROLE darkroom_app")
        await metadata.owner.execute("SET LOCAL enable_seqscan = off; SET LOCAL plan_cache_mode = force_generic_plan")
        await metadata.owner.execute(f"SET LOCAL darkroom.tenants = '{{{tenant}}}'")
        await metadata.owner.execute(
            """
            PREPARE near (uuid, bigint, integer[], integer) AS
            SELECT DISTINCT l.image_id, bit_count((l.perceptual_hash # $2)::bit(64))
            FROM darkroom.likeness l
            WHERE l.tenant_id = $1 AND l.slot = ANY ($3) AND bit_count((l.perceptual_hash # $2)::bit(64)) <= $4
            """
        )
        plan = await metadata.owner.fetch(
            f"EXPLAIN (COSTS OFF) EXECUTE near ('{tenant}', 5, darkroom.likeness_probes(5, 10), 10)"
        )
    text = "\n".join(line[0] for line in plan)
    assert "likeness_pkey" in text
    assert "Seq Scan" not in text
    (condition,) = (line for line in text.splitlines() if "Index Cond" in line)
    assert "tenant_id = $1" in condition
    assert "slot = ANY ($3)" in condition


async def test_a_tenant_sees_no_row_of_another_in_the_index(metadata: Metadata) -> None:
    tenant, other = await metadata.tenant(), await metadata.tenant()
    await images_with(metadata, other, [1, 2, 3])
    async with metadata.owner.transaction():
        await metadata.owner.execute("SET LOCAL ROLE darkroom_app")
        assert await metadata.owner.fetchval("SELECT count(*) FROM darkroom.likeness") == 0
        await metadata.owner.execute(f"SET LOCAL darkroom.tenants = '{{{tenant}}}'")
        assert await metadata.owner.fetchval("SELECT count(*) FROM darkroom.likeness") == 0
