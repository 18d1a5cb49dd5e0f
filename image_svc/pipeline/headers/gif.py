"""GIF: https://www.w3.org/Graphics/GIF/spec-gif89a.txt"""

from __future__ import annotations

from mmap import mmap
from typing import Final

from image_svc.pipeline.caps import Caps
from image_svc.pipeline.headers.header import Header, truncated

_EXTENSION: Final = 0x21
_IMAGE: Final = 0x2C
_TRAILER: Final = 0x3B


def inspect(data: mmap, caps: Caps) -> Header:
    """Walks the blocks and counts the frames, decoding none. A file cut after its first frame has those it has."""
    if len(data) < 13:
        raise truncated()
    at = 13 + _table_bytes(data[10])
    end = len(data)
    frames = 0
    while at < end:
        kind = data[at]
        if kind == _IMAGE and at + 10 < end:
            frames += 1
            caps.check_frames(frames)
            at += 11 + _table_bytes(data[at + 9])  # the descriptor, its colour table, the code size
        elif kind == _EXTENSION:
            at += 2
        else:  # the trailer, or what every decoder takes for one
            break
        while at < end and data[at]:
            at += data[at] + 1
        at += 1
    if not frames:
        raise truncated()
    width, height = int.from_bytes(data[6:8], "little"), int.from_bytes(data[8:10], "little")
    return Header(frames=frames, size=(width, height) if width and height else None)


def _table_bytes(flags: int) -> int:
    """Bytes of a colour table, from the flags that announce it."""
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0
