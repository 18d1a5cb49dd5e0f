"""WebP: https://developers.google.com/speed/webp/docs/riff_container, which has become RFC 9649."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from mmap import mmap
from typing import Final

from image_svc.pipeline import native
from image_svc.pipeline.caps import Caps
from image_svc.pipeline.headers.header import Header, heed, malformed, truncated

_PIXELS: Final = frozenset({b"VP8 ", b"VP8L"})
_FRAME_HEAD: Final = 16
_FIRST: Final = 20  # where the content of a file's first chunk begins
_ANIMATION, _EXIF, _ALPHA, _PROFILE = 0x02, 0x08, 0x10, 0x20  # of VP8X (RFC 9649, 2.7.1)
_ALPHA_BIT: Final = 1 << 28  # of a lossless one (3.4)
# What libwebp holds of the whole picture beside its pixels, in bytes: those of a lossless one once more, or the
# opacities of another; of an animation, the canvas, the one before and the frame as bytes.
_LOSSLESS, _OPACITIES, _MOVING = 4.0, 2.0, 12.0


def inspect(data: mmap, caps: Caps) -> Header:
    """Walks the chunks: is the file whole, how large is it, and how many frames has it."""
    end = 8 + int.from_bytes(data[4:8], "little")
    if end > len(data):
        raise truncated()
    flags = data[20] if data[12:16] == b"VP8X" else 0
    frames, coded, lossless, opacities, exif, profile = 0, (0, 0), False, False, b"", None
    for kind, start, stop in _chunks(data, 12, end):
        if kind == b"ANMF":
            frames += 1
            caps.check_frames(frames)
        elif kind in _PIXELS and coded == (0, 0):
            coded, lossless = (start, stop), kind == b"VP8L"
        elif kind == b"ALPH":
            opacities = True
        elif kind == b"EXIF" and flags & _EXIF and not exif:
            exif = data[start:stop]
        elif kind == b"ICCP" and flags & _PROFILE and not profile:
            profile = data[start:stop]
    if frames or flags & _ANIMATION:
        return Header(frames=max(1, frames), size=_size(data), stored_bytes_per_pixel=_MOVING, forgiven=True)
    size = _size(data)
    if size is None or 0 in size or coded == (0, 0):
        raise malformed("it has no picture")
    transparent = flags & _ALPHA if data[12:16] == b"VP8X" else lossless and _lossless_head(data, 12) & _ALPHA_BIT
    return Header(
        size=size,
        mode="RGBA" if transparent else "RGB",
        stored_bytes_per_pixel=_LOSSLESS if lossless else _OPACITIES if opacities else 0.0,
        coded=coded,
        exif=exif,
        profile=profile,
    )


def check_frame(data: mmap, number: int = 0) -> None:
    """Decodes a frame of an animation for whether it needs all of its data. Raises `Rejected`, and MemoryError."""
    for kind, start, end in islice(_frames(data), number, number + 1):
        chunk = kind + (end - start).to_bytes(4, "little") + data[start:end]
        alone = b"RIFF" + (4 + len(chunk)).to_bytes(4, "little") + b"WEBP" + chunk
        with native.lent(alone) as address:
            heed(native.library().darkroom_webp(address, _FIRST, len(alone), *(_coded_size(alone, 12) or (0, 0)), None))


def _chunks(data: mmap, at: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Each chunk's kind, and where its content begins and ends."""
    while at + 8 <= end:
        kind, start, length = data[at : at + 4], at + 8, int.from_bytes(data[at + 4 : at + 8], "little")
        yield kind, start, min(start + length, end)
        at = start + length + (length & 1)


def _frames(data: mmap) -> Iterator[tuple[bytes, int, int]]:
    """The chunk of each frame that holds its pixels."""
    for kind, start, end in _chunks(data, 12, 8 + int.from_bytes(data[4:8], "little")):
        if kind == b"ANMF":
            yield from islice((inner for inner in _chunks(data, start + _FRAME_HEAD, end) if inner[0] in _PIXELS), 1)


def _size(data: mmap) -> tuple[int, int] | None:
    """Width and height, from the first chunk: the canvas, or those of a picture without one."""
    if data[12:16] == b"VP8X":
        return 1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little")
    return _coded_size(data, 12)


def _coded_size(data: mmap | bytes, at: int) -> tuple[int, int] | None:
    """Those of coded pixels (RFC 9649, 2.5 and 3.4), by the chunk that stands there."""
    kind, body = data[at : at + 4], data[at + 8 : at + 18]
    if kind == b"VP8L":
        bits = _lossless_head(data, at)
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if kind == b"VP8 ":
        return int.from_bytes(body[6:8], "little") & 0x3FFF, int.from_bytes(body[8:10], "little") & 0x3FFF
    return None


def _lossless_head(data: mmap | bytes, at: int) -> int:
    """14 bits of width, of height, and one for transparency: behind the signature of the chunk that stands there."""
    return int.from_bytes(data[at + 9 : at + 13], "little")
