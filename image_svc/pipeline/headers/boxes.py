"""The boxes that AVIF and HEIC consist of: ISO/IEC 14496-12, 4.2."""

from __future__ import annotations

from collections.abc import Iterator
from mmap import mmap
from typing import Final, NamedTuple

from image_svc.pipeline.headers.header import malformed

# Real files have a few hundred (a tile and a property each); a reader pays for each.
MOST_BOXES: Final = 4096
# How pixels are coded: in AV1.
AV1: Final = b"av01"


class Box(NamedTuple):
    """Its kind, and from where to where its content lies."""

    kind: bytes
    start: int
    end: int


def boxes(data: mmap, start: int, end: int) -> Iterator[Box]:
    """The boxes of one level, up to the first that makes no sense."""
    at = start
    for _ in range(MOST_BOXES):
        if at + 8 > end:
            return
        size, kind, head = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8], 8
        if size == 1:
            size, head = int.from_bytes(data[at + 8 : at + 16], "big"), 16
        if size == 0:  # up to the end
            size = end - at
        if size < head:
            return
        yield Box(kind, at + head, at + size)
        at += size
    raise malformed("it has boxes out of all bounds")


def integer(data: mmap | bytes, at: int, size: int) -> int:
    """A number of so many bytes."""
    return int.from_bytes(data[at : at + size], "big")
