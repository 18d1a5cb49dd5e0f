"""`make bench-likeness`: what a search by likeness costs in a large tenant, against reading every hash of it.

    python -m tests.bench.likeness [--images 1000000]

Images are made in SQL: nine tenths with hashes at random, a tenth in families of ten that look alike. Both ways run as
darkroom_app under row-level security, in turn, on the same sought images; the plan is printed.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import tempfile
import time
import uuid
from pathlib import Path
from typing import Any, Final

import asyncpg

from deploy.local import postgres
from metadata_svc import migrate

_ROUNDS: Final = 30
_DISTANCE: Final = 10
_PAGE: Final = 51  # a page of 50, and one more that tells whether there is another

_IMAGES: Final = """
INSERT INTO darkroom.images (
    tenant_id, id, state, filename, content_type, size, upload_method, upload_expires_at, created_at, updated_at,
    ready_at, format, width, height, frames, color, perceptual_hash
)
SELECT
    $1, gen_random_uuid(), 3, 'a.jpg', 'image/jpeg', 1000000, 1, now(), now(), now(), now(), 'JPEG', 4000, 3000, 1,
    '#808080',
    -- Of each hundred, ten are alike: each differs from what they have in common in two bits of its own.
    CASE
        WHEN n % 100 < 10 THEN
            hashtextextended((n / 100)::text, 0) # (1::bigint << (n % 10 * 6)::integer)
                # (1::bigint << (n % 10 * 5 + 3)::integer)
        ELSE hashtextextended(n::text, 1)
    END
FROM generate_series(1::bigint, $2::bigint) n
"""
# What the search was before: every hash of the tenant, through an index that holds nothing else.
_OLD_INDEX: Final = """
CREATE INDEX bench_by_likeness ON darkroom.images (tenant_id, id) INCLUDE (perceptual_hash)
WHERE state = 3 AND perceptual_hash IS NOT NULL
"""
_OLD: Final = """
SELECT i.id FROM darkroom.images i
WHERE i.tenant_id = $1 AND i.state = 3 AND i.perceptual_hash IS NOT NULL
    AND bit_count((i.perceptual_hash # $2)::bit(64)) <= $3
"""
_NEW: Final = "SELECT (s.image).id FROM darkroom.list_similar($1, $2, '{3}', '{}', '{}', NULL, $3, NULL, NULL, $4) s"
# Half of them of families.
_SOUGHT: Final = """
(SELECT id, perceptual_hash FROM darkroom.images WHERE tenant_id = $1 ORDER BY id LIMIT $2 / 2)
UNION ALL
(
    SELECT id, perceptual_hash FROM darkroom.images
    WHERE tenant_id = $1
        AND perceptual_hash IN (SELECT hashtextextended(n::text, 0) # 9 FROM generate_series(1, $2 / 2) n)
)
"""
_PLAN: Final = """
EXPLAIN (ANALYZE, BUFFERS, COSTS OFF)
SELECT DISTINCT l.image_id, bit_count((l.perceptual_hash # $2)::bit(64))
FROM darkroom.likeness l
WHERE l.tenant_id = $1 AND l.slot = ANY ($3::integer[]) AND bit_count((l.perceptual_hash # $2)::bit(64)) <= $4
"""


async def _filled(connection: Any, images: int) -> uuid.UUID:
    tenant, other = uuid.uuid4(), uuid.uuid4()
    started = time.monotonic()
    for owner, count in ((tenant, images), (other, images // 10)):
        await connection.execute(_IMAGES, owner, count)
    _say(f"{images * 11 // 10:,} images written in {time.monotonic() - started:.0f} s, with the rows of the index")
    await connection.execute(_OLD_INDEX)
    await connection.execute("VACUUM ANALYZE darkroom.images")
    await connection.execute("VACUUM ANALYZE darkroom.likeness")
    sizes = "SELECT pg_total_relation_size('darkroom.likeness')::bigint"
    _say(f"the index takes {await connection.fetchval(sizes) / (images * 1.1):.0f} bytes an image")
    return tenant


async def _measured(connection: Any, tenant: uuid.UUID) -> None:
    sought = await connection.fetch(_SOUGHT, tenant, _ROUNDS)
    times: dict[str, list[float]] = {"every hash": [], "index": []}
    found: dict[str, list[int]] = {"every hash": [], "index": []}
    await connection.execute("SET ROLE darkroom_app")
    for row in sought:
        for name, sql, arguments in (
            ("every hash", _OLD, (tenant, row["perceptual_hash"], _DISTANCE)),
            ("index", _NEW, (tenant, row["id"], _DISTANCE, _PAGE)),
        ):
            async with connection.transaction():
                await connection.execute(f"SET LOCAL darkroom.tenants = '{{{tenant}}}'")
                started = time.perf_counter()
                rows = await connection.fetch(sql, *arguments)
                times[name].append((time.perf_counter() - started) * 1000)
            found[name].append(len({one["id"] for one in rows} - {row["id"]}))
    assert found["index"] == found["every hash"], "the index finds what there is, and nothing else"
    medians = {name: statistics.median(values) for name, values in times.items()}
    for name, value in medians.items():
        _say(f"{name:>10}: median {value:.1f} ms of {_ROUNDS} searches, {sum(found[name])} alike found in all")
    _say(f"{medians['every hash'] / medians['index']:.0f} times as fast")
    async with connection.transaction():
        await connection.execute(f"SET LOCAL darkroom.tenants = '{{{tenant}}}'")
        await connection.execute("SET LOCAL enable_seqscan = off")
        probes = await connection.fetchval(
            "SELECT darkroom.likeness_probes($1, $2)", sought[0]["perceptual_hash"], _DISTANCE
        )
        plan = await connection.fetch(_PLAN, tenant, sought[0]["perceptual_hash"], probes, _DISTANCE)
    _say(f"{len(probes)} slots of {1 << 18:,}:")
    for line in plan:
        _say("    " + _short(line[0]))


def _short(line: str) -> str:
    """A line of a plan without the list of all slots."""
    head, brace, rest = line.partition("'{")
    return head + "'{…}" + rest.partition("}")[2] if brace else line


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


async def _run(url: str, images: int) -> None:
    connection = await asyncpg.connect(url)
    await migrate.ensure_roles(connection, {})
    await migrate.apply(connection)
    await _measured(connection, await _filled(connection, images))
    await connection.close()


def main() -> None:
    """Runs the comparison on a server of its own."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.likeness", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--images", type=int, default=1_000_000, help="images of the tenant that is searched")
    options = parser.parse_args()
    quiet = {
        **postgres.VOLATILE,
        "shared_buffers": "512MB",
        "maintenance_work_mem": "256MB",
        "log_min_messages": "fatal",
    }
    with tempfile.TemporaryDirectory() as folder, postgres.running(Path(folder) / "data", settings=quiet) as url:
        asyncio.run(_run(url, options.images))


if __name__ == "__main__":
    main()
