"""A worker's memory does not grow with the files that it has seen. `make memory` asks it of a thousand."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path

from darkroom.metadata.v1 import metadata_pb2 as pb

from tests.support.image_stack import Service, Stack
from tests.support.pictures import picture

FILES = int(os.environ.get("MEMORY_FILES", "60"))
# What a process settles at: caches fill, the allocator finds its sizes, connections open.
WARM_UP = min(100, FILES // 3)
BATCH = 10
MIB = 1024 * 1024
# What may come and go by chance; measured over a thousand files: less than one.
TOLERANCE = 3 * MIB
SIZES = ((320, 240), (1200, 900), (2000, 1500), (64, 2000))


def memory(worker: Service) -> dict[str, int]:
    """Resident bytes of the worker and of its sandbox's helper, each with the pages that it shares."""
    (helper,) = Path(f"/proc/{worker.process.pid}/task/{worker.process.pid}/children").read_text().split()
    return {"worker": resident(worker.process.pid), "helper": resident(int(helper))}


def resident(process: int) -> int:
    (line,) = [one for one in Path(f"/proc/{process}/status").read_text().splitlines() if one.startswith("VmRSS")]
    return int(line.split()[1]) * 1024


def files() -> Iterator[tuple[bytes, str]]:
    """Good pictures of several kinds and sizes, broken ones, and what is none; no two the same."""
    chance = random.Random(7)
    kinds = ("image/jpeg", "image/png", "image/webp", "image/gif", "image/tiff")
    number = 0
    while True:
        number += 1
        kind = chance.choice(kinds)
        content = picture(kind, seed=number, size=chance.choice(SIZES))
        fate = number % 10
        if fate == 3:
            content = content[: len(content) * 2 // 3]
        elif fate == 6:
            at = chance.randrange(len(content) // 2, len(content))
            content = content[:at] + chance.randbytes(200) + content[at + 200 :]
        elif fate == 9:
            content = chance.randbytes(chance.randrange(100, 1_000_000))
        yield content, kind


async def test_memory_after_many_mixed_files_is_what_it_was_after_the_first(running: Stack) -> None:
    worker = await running.worker()
    source = files()
    seen: list[tuple[int, dict[str, int]]] = []
    states: set[int] = set()
    for done in range(BATCH, FILES + BATCH, BATCH):
        images = [
            await running.upload(content, content_type=kind) for content, kind in (next(source) for _ in range(BATCH))
        ]
        states |= {image.state for image in await running.settled(images)}
        await running.place.empty()
        seen.append((done, memory(worker)))
    assert states == {pb.Image.READY, pb.Image.REJECTED}
    for done, parts in seen:
        print(f"{done:5} files: " + ", ".join(f"{name} {size / MIB:.1f} MiB" for name, size in parts.items()))
    for name in ("worker", "helper"):
        settled = max(parts[name] for done, parts in seen if done <= WARM_UP)
        last = min(parts[name] for done, parts in seen[-3:])
        assert last <= settled + TOLERANCE, f"the {name} grew from {settled} to {last} bytes"
    assert worker.process.returncode is None
