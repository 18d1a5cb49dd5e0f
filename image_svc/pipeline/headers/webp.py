"""WebP: https://developers.google.com/speed/webp/docs/riff_container"""

from __future__ import annotations

from mmap import mmap
from typing import Final

from image_svc.pipeline.caps import Caps
from image_svc.pipeline.headers.header import Header, damaged, truncated

# What a download left out is zeros, and nothing else tells. So are coded pixels where a picture ends in one colour, but
# no more of them than one for each 10,000 pixels (libwebp 1.2 and 1.6, method 4, white; other methods write fewer).
_HOLE: Final = 4096
_PIXELS_A_ZERO: Final = 4000
_PIXELS: Final = frozenset({b"VP8 ", b"VP8L", b"ANMF"})


def inspect(data: mmap, caps: Caps) -> Header:
    """Walks the chunks: is the file whole, how large is it, and how many frames has it."""
    end = 8 + int.from_bytes(data[4:8], "little")
    if end > len(data):
        raise truncated()
    size = _size(data)
    hole = bytes(max(_HOLE, size[0] * size[1] // _PIXELS_A_ZERO if size else 0))
    frames, at = 0, 12
    while at + 8 <= end:
        kind, length = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "little")
        if kind == b"ANMF":
            frames += 1
            caps.check_frames(frames)
        at += 8 + length + (length & 1)
        if kind in _PIXELS and length > len(hole) and at <= end and data[at - len(hole) : at] == hole:
            raise damaged()
    return Header(frames=max(1, frames), size=size)


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
