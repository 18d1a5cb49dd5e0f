"""WebP: https://developers.google.com/speed/webp/docs/riff_container"""

from __future__ import annotations

from mmap import mmap
from typing import Final

from image_svc.pipeline.caps import Caps
from image_svc.pipeline.headers.header import Header, damaged, truncated

# Coded pixels do not end in so many zeros, but what a download left out does; nothing else tells.
_HOLE: Final = bytes(32)
_PIXELS: Final = frozenset({b"VP8 ", b"VP8L", b"ANMF"})


def inspect(data: mmap, caps: Caps) -> Header:
    """Walks the chunks: is the file whole, how large is it, and how many frames has it."""
    end = 8 + int.from_bytes(data[4:8], "little")
    if end > len(data):
        raise truncated()
    frames, at = 0, 12
    while at + 8 <= end:
        kind, length = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "little")
        if kind == b"ANMF":
            frames += 1
            caps.check_frames(frames)
        at += 8 + length + (length & 1)
        if kind in _PIXELS and at <= end and data[at - len(_HOLE) : at] == _HOLE:
            raise damaged()
    return Header(frames=max(1, frames), size=_size(data))


def _size(data: mmap) -> tuple[int, int] | None:
    """Width and height, from the first chunk: the canvas, or RFC 9649, 2.5 and 3.4, for a picture without one."""
    kind, body = data[12:16], data[20:30]
    if kind == b"VP8X":
        return 1 + int.from_bytes(body[4:7], "little"), 1 + int.from_bytes(body[7:10], "little")
    if kind == b"VP8L":
        bits = int.from_bytes(body[1:5], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if kind == b"VP8 ":
        return int.from_bytes(body[6:8], "little") & 0x3FFF, int.from_bytes(body[8:10], "little") & 0x3FFF
    return None
