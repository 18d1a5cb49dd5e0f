"""The boxes of AVIF and HEIC: ISO/IEC 14496-12 and 23008-12."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from fractions import Fraction
from mmap import mmap
from typing import Final, NamedTuple

from image_svc.pipeline.caps import Caps
from image_svc.pipeline.headers.header import Header, damaged, malformed, truncated

# Coded pixels do not end in so many zeros, and a note on the camera hardly; what a download left out does.
_HOLE: Final = bytes(1024)
# Real files have a few hundred (a tile and a property each); a reader pays for each.
_MOST_BOXES: Final = 4096
# What a picture cannot be without: its description and its coded pixels.
_NEEDED: Final = frozenset({b"meta", b"moov", b"mdat"})


class _Box(NamedTuple):
    kind: bytes
    start: int  # of its content
    end: int


def inspect(data: mmap, caps: Caps) -> Header:
    """Walks the outer boxes: is the file whole, how large is its main picture, which part of it is shown,

    and in which colour space.

    Dimensions that count and frames are read by the libraries, without decoding; but what is too large for these is no
    picture to them.
    """
    described: _Box | None = None
    reached, coded = 0, False
    for box in _boxes(data, 0, len(data)):
        if box.end > len(data):
            if described is not None and coded and box.kind not in _NEEDED:  # what some tools append is no box
                break
            raise truncated()
        coded = coded or box.kind == b"mdat"
        if box.kind == b"meta" or (box.kind == b"moov" and described is None):
            described = box
        elif box.kind == b"mdat" and box.end - box.start > len(_HOLE) and data[box.end - len(_HOLE) : box.end] == _HOLE:
            raise damaged()
        reached = box.end
    if described is None:
        raise truncated() if reached >= len(data) else malformed("it describes no picture")
    properties = _properties(data, described) if described.kind == b"meta" else []
    crop = None
    for box in properties:
        if box.kind == b"ispe" and box.end - box.start >= 12:  # 6.5.3 of 23008-12
            size = _number(data, box.start + 4, 4), _number(data, box.start + 8, 4)
            caps.check_pixels(*size, 0)
            crop = _crop(data, properties, size)
    return Header(color=_color(data, properties), crop=crop)


def _boxes(data: mmap, start: int, end: int) -> Iterator[_Box]:
    """The boxes of one level, up to the first that makes no sense."""
    at = start
    for _ in range(_MOST_BOXES):
        if at + 8 > end:
            return
        size, kind, head = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8], 8
        if size == 1:
            size, head = int.from_bytes(data[at + 8 : at + 16], "big"), 16
        if size == 0:  # up to the end
            size = end - at
        if size < head:
            return
        yield _Box(kind, at + head, at + size)
        at += size
    raise malformed("it has boxes out of all bounds")


def _properties(data: mmap, meta: _Box) -> list[_Box]:
    """What is said of the main picture (9.3 of 23008-12)."""
    inside = {box.kind: box for box in _boxes(data, meta.start + 4, meta.end)}
    properties = {box.kind: box for box in _boxes(data, *inside[b"iprp"][1:])} if b"iprp" in inside else {}
    if b"pitm" not in inside or b"ipco" not in properties or b"ipma" not in properties:
        return []
    primary = inside[b"pitm"]
    main = _number(data, primary.start + 4, 4 if data[primary.start] else 2)
    known = list(_boxes(data, *properties[b"ipco"][1:]))
    return [known[at - 1] for at in _associated(data, properties[b"ipma"], main) if 1 <= at <= len(known)]


def _color(data: mmap, properties: list[_Box]) -> tuple[int, int] | None:
    """The code points of primaries and transfer, where there is an `nclx` (12.1.5 of 14496-12)."""
    for box in properties:
        if box.kind == b"colr" and data[box.start : box.start + 4] == b"nclx" and box.end - box.start >= 8:
            return _number(data, box.start + 4, 2), _number(data, box.start + 6, 2)
    return None


def _crop(data: mmap, properties: list[_Box], size: tuple[int, int]) -> tuple[int, int, int, int] | None:
    """What a `clap` leaves of a picture of that size (12.1.4 of 14496-12): left, top, right and bottom.

    None where it leaves parts of a pixel, or what is not there: as browsers do it.
    """
    for box in properties:
        if box.kind != b"clap" or box.end - box.start < 32:
            continue
        numbers = struct.unpack_from(">IIIIiIiI", data, box.start)
        if not all(numbers[1::2]):
            return None
        width, height, across, down = map(Fraction, numbers[::2], numbers[1::2])
        left, top = (size[0] - width) / 2 + across, (size[1] - height) / 2 + down
        right, bottom = left + width, top + height
        whole = all(side.denominator == 1 for side in (left, top, right, bottom))
        if whole and 0 <= left < right <= size[0] and 0 <= top < bottom <= size[1]:
            return int(left), int(top), int(right), int(bottom)
        return None
    return None


def _number(data: mmap, at: int, size: int) -> int:
    return int.from_bytes(data[at : at + size], "big")


def _associated(data: mmap, box: _Box, item: int) -> list[int]:
    """The numbers of an item's properties (9.3 of 23008-12)."""
    width = 4 if data[box.start] else 2  # of an item's number, by the version
    wide = data[box.start + 3] & 1
    at = box.start + 8
    for _ in range(min(int.from_bytes(data[box.start + 4 : box.start + 8], "big"), _MOST_BOXES)):
        if at + width >= box.end:
            break
        number, count = int.from_bytes(data[at : at + width], "big"), data[at + width]
        at += width + 1
        step = 2 if wide else 1
        if number == item:
            mask = 0x7FFF if wide else 0x7F
            return [
                int.from_bytes(data[place : place + step], "big") & mask
                for place in range(at, min(at + count * step, box.end), step)
            ]
        at += count * step
    return []
