"""WebP: https://developers.google.com/speed/webp/docs/riff_container"""

from __future__ import annotations

from collections.abc import Iterator
from mmap import mmap
from typing import Final

from image_svc.pipeline import native
from image_svc.pipeline.caps import Caps
from image_svc.pipeline.headers.header import Header, heed, hole, truncated

# More than libwebp reads ahead (8 bytes), and than coded pixels end with that say nothing (2).
_AHEAD: Final = 16
_PIXELS: Final = frozenset({b"VP8 ", b"VP8L"})
_FRAME_HEAD: Final = 16


def inspect(data: mmap, caps: Caps) -> Header:
    """Walks the chunks: is the file whole, how large is it, and how many frames has it."""
    end = 8 + int.from_bytes(data[4:8], "little")
    if end > len(data):
        raise truncated()
    frames, holes = 0, False
    for kind, start, stop in _chunks(data, 12, end):
        if kind == b"ANMF":
            frames += 1
            caps.check_frames(frames)
        holes = holes or (kind in {*_PIXELS, b"ANMF"} and hole(data, start, stop) >= 0)
    return Header(frames=max(1, frames), size=_size(data), forgiven=holes)


def check_pixels(data: mmap) -> None:
    """Decodes pixels with holes in their data, which may be plain areas. Raises `Rejected` where they are not, and

    MemoryError.
    """
    for kind, start, end in _coded(data):
        if hole(data, start, end) < 0:
            continue
        chunk = kind + (end - start).to_bytes(4, "little") + data[start:end]
        alone = b"RIFF" + (4 + len(chunk)).to_bytes(4, "little") + b"WEBP" + chunk
        plain = len(alone.rstrip(b"\0")) + _AHEAD  # what follows may be there to fill
        with native.lent(alone) as address:
            heed(native.library().darkroom_webp_whole(address, plain, len(alone) - _AHEAD))


def _chunks(data: mmap, at: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Each chunk's kind, and where its content begins and ends."""
    while at + 8 <= end:
        kind, start, length = data[at : at + 4], at + 8, int.from_bytes(data[at + 4 : at + 8], "little")
        yield kind, start, min(start + length, end)
        at = start + length + (length & 1)


def _coded(data: mmap) -> Iterator[tuple[bytes, int, int]]:
    """The chunks that hold pixels, those of frames among them."""
    for kind, start, end in _chunks(data, 12, 8 + int.from_bytes(data[4:8], "little")):
        for inner in _chunks(data, start + _FRAME_HEAD, end) if kind == b"ANMF" else ((kind, start, end),):
            if inner[0] in _PIXELS:
                yield inner


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
