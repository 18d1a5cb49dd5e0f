"""The boxes of AVIF and HEIC: ISO/IEC 14496-12 and 23008-12."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from mmap import mmap
from typing import Final

from image_svc.pipeline import native
from image_svc.pipeline.caps import Caps
from image_svc.pipeline.headers import tracks
from image_svc.pipeline.headers.boxes import AV1, MOST_BOXES, Box, boxes, integer
from image_svc.pipeline.headers.header import Header, Span, damaged, heed, malformed, truncated

# Coded pixels do not end in so many zeros, and a note on the camera hardly; what a download left out does.
_HOLE: Final = bytes(1024)
# Parts of all items, and units of one: real files have one or two; a reader pays for each.
_MOST_PARTS: Final = 16_384
_MOST_UNITS: Final = 16_384
# What a picture cannot be without: its description and its coded pixels.
_NEEDED: Final = frozenset({b"meta", b"moov", b"mdat"})
_HEVC: Final = b"hvc1"
_TILES: Final = b"dimg"  # how an item refers to what it is made of,
_FOR: Final = b"auxl"  # and to what it says more about
_ALPHA: Final = frozenset({b"urn:mpeg:mpegB:cicp:systems:auxiliary:alpha", b"urn:mpeg:hevc:2015:auxid:1"})
# What no unit of HEVC contains (7.3.1.1 of H.265: a 3 stands between), and a hole does.
_NEVER: Final = b"\0\0\0"
# Where an item lies: in the file, or within the description (8.11.3 of 14496-12).
_IN_META: Final = 1


def inspect(data: mmap, caps: Caps) -> Header:
    """Walks the outer boxes: is the file whole, how large is its main picture, which part of it is shown,

    and in which colour space.

    Dimensions that count and frames are read by the libraries, without decoding; but what is too large for these is no
    picture to them.
    """
    described: Box | None = None
    reached, coded, holes = 0, False, []
    for box in boxes(data, 0, len(data)):
        if box.end > len(data):
            if described is not None and coded and box.kind not in _NEEDED:  # what some tools append is no box
                break
            raise truncated()
        coded = coded or box.kind == b"mdat"
        if box.kind == b"meta" or (box.kind == b"moov" and described is None):
            described = box
        elif box.kind == b"mdat" and box.end - box.start > len(_HOLE) and data[box.end - len(_HOLE) : box.end] == _HOLE:
            holes.append((box.end - len(_HOLE), box.end))
        reached = box.end
    if described is None:
        raise truncated() if reached >= len(data) else malformed("it describes no picture")
    inside = _inside(data, described) if described.kind == b"meta" else {}
    properties = _properties(data, inside)
    if not all(_noted(data, inside, hole) for hole in holes):
        raise damaged()
    kinds = _check_items(data, inside)
    crop = None
    for box in properties:
        if box.kind == b"ispe" and box.end - box.start >= 12:  # 6.5.3 of 23008-12
            size = integer(data, box.start + 4, 4), integer(data, box.start + 8, 4)
            caps.check_pixels(*size, 0)
            crop = _crop(data, properties, size)
    return Header(color=_color(data, properties), crop=crop, forgiven=AV1 in kinds or any(tracks.pictures(data, 1)))


def check_pixels(data: mmap) -> None:
    """Decodes what is coded as AV1 of a picture, or of the first of several, for whether it is what it was.

    Raises `Rejected` where it is not. Twice a tenth of a second of CPU for 12 megapixels, and no memory more than what
    then decodes them.
    """
    for described in [box for box in boxes(data, 0, len(data)) if box.kind == b"meta"][-1:]:
        for kind, content, start, end in _coded(data, _inside(data, described)):
            if kind == AV1:
                _check_coded(content, [(start, end)])
    check_frames(data, 1)


def check_frames(data: mmap, count: int) -> None:
    """The same for the first pictures of what moves, and for how transparent they are."""
    for places in tracks.pictures(data, count):
        _check_coded(data, places)


def _check_coded(content: mmap | bytes, places: Sequence[Span]) -> None:
    """Raises `Rejected` where pictures in AV1, each made of those before it, are not as they were sent."""
    if any(end > len(content) for _, end in places):
        raise truncated()
    with native.lent(content) as address:
        heed(native.library().darkroom_av1_whole(address, native.spans(places), len(places)))


def _inside(data: mmap, box: Box) -> dict[bytes, Box]:
    """What a `meta` holds, by kind."""
    return {inner.kind: inner for inner in boxes(data, box.start + 4, box.end)}


def _main(data: mmap, inside: Mapping[bytes, Box]) -> int | None:
    """The number of the main picture (8.11.4 of 14496-12)."""
    box = inside.get(b"pitm")
    return None if box is None else integer(data, box.start + 4, 4 if integer(data, box.start, 1) else 2)


def _held(data: mmap, inside: Mapping[bytes, Box]) -> tuple[list[Box], Box | None]:
    """The properties of all items, in their order, and the box that says which are whose (9.3 of 23008-12)."""
    if b"iprp" not in inside:
        return [], None
    found = {box.kind: box for box in boxes(data, *inside[b"iprp"][1:])}
    return list(boxes(data, *found[b"ipco"][1:])) if b"ipco" in found else [], found.get(b"ipma")


def _properties(data: mmap, inside: Mapping[bytes, Box]) -> list[Box]:
    """What is said of the main picture."""
    main = _main(data, inside)
    return [] if main is None else _said(data, inside, main)


def _said(data: mmap, inside: Mapping[bytes, Box], item: int) -> list[Box]:
    """The properties of an item."""
    known, whose = _held(data, inside)
    return [] if whose is None else [known[at - 1] for at in _associated(data, whose, item) if 1 <= at <= len(known)]


def _noted(data: mmap, inside: Mapping[bytes, Box], hole: Span) -> bool:
    """Whether a place belongs to a note: cameras leave room for more in their Exif."""
    if not {b"iinf", b"iloc"} <= inside.keys():
        return False
    kinds = _kinds(data, inside[b"iinf"])
    return any(
        start <= hole[0] and hole[1] <= start + length
        for item, parts in _places(data, inside)
        if kinds.get(item) not in {_HEVC, AV1}
        for start, length in parts
    )


def _check_items(data: mmap, inside: Mapping[bytes, Box]) -> set[bytes | None]:
    """Raises `Rejected` where coded pixels of the main picture, or of its tiles, have a hole or are said to be shorter

    than they are: libheif and libavif show what there is. How they are coded.
    """
    size, kinds = _length_bytes(data, inside), set()
    for kind, content, start, end in _coded(data, inside):
        if kind == _HEVC and size:
            _check_units(content, start, end, size)
        elif kind == AV1 and content.find(_HOLE, start, end) >= 0:
            raise damaged()
        kinds.add(kind)
    return kinds


def _coded(data: mmap, inside: Mapping[bytes, Box]) -> Iterator[tuple[bytes | None, mmap | bytes, int, int]]:
    """How the main picture, or each of its tiles, is coded, and in what it lies from where to where."""
    main = _main(data, inside)
    if main is None or not {b"iinf", b"iloc"} <= inside.keys():
        return
    kinds = _kinds(data, inside[b"iinf"])
    pixels = {main, *_tiles(data, inside, main), *_opacities(data, inside, main)}
    # Tiles that look the same may be the same.
    places = {(parts, kinds.get(item)) for item, parts in _places(data, inside) if item in pixels}
    if sum(length for parts, _ in places for _, length in parts) > len(data):
        raise malformed("its items lie upon each other")
    for parts, kind in places:
        if any(start + length > len(data) for start, length in parts):
            raise truncated()
        if len(parts) == 1:  # as most do, which need not be copied
            yield kind, data, parts[0][0], sum(parts[0])
        else:
            content = b"".join(data[start : start + length] for start, length in parts)
            yield kind, content, 0, len(content)


def _length_bytes(data: mmap, inside: Mapping[bytes, Box]) -> int:
    """How many bytes tell a unit's length (8.3.3.1.2 of 14496-15), 0 where that is not the same for all items."""
    said = [box for box in _held(data, inside)[0] if box.kind == b"hvcC" and box.end - box.start > 21]
    sizes = {1 + (integer(data, box.start + 21, 1) & 3) for box in said}
    return sizes.pop() if len(sizes) == 1 else 0


def _check_units(data: mmap | bytes, at: int, end: int, size: int) -> None:
    """Raises `Rejected` where units with lengths of `size` bytes do not fill what lies between two places (4.3.3 of

    14496-15), or one has a hole.
    """
    for _ in range(_MOST_UNITS):
        if at >= end:
            return
        start = at + size
        at = start + integer(data, at, size)
        if at > end or data.find(_NEVER, start, at) >= 0:
            raise damaged()
    raise malformed("it has units out of all bounds")


def _tiles(data: mmap, inside: Mapping[bytes, Box], main: int) -> Iterator[int]:
    """The numbers of the items of which the main picture is put together."""
    for item, others in _references(data, inside, _TILES):
        if item == main:
            yield from others


def _opacities(data: mmap, inside: Mapping[bytes, Box], main: int) -> Iterator[int]:
    """The numbers of the items that say how transparent the main picture is (4.1 of AVIF, 7.5.2 of 23008-12)."""
    for item, others in _references(data, inside, _FOR):
        if main in others and any(
            box.kind == b"auxC" and data[box.start + 4 : box.end].partition(b"\0")[0] in _ALPHA
            for box in _said(data, inside, item)
        ):
            yield item


def _references(data: mmap, inside: Mapping[bytes, Box], kind: bytes) -> Iterator[tuple[int, list[int]]]:
    """Each item with those that it refers to in a way (8.11.12 of 14496-12)."""
    if b"iref" not in inside:
        return
    box = inside[b"iref"]
    width = 4 if integer(data, box.start, 1) else 2
    for reference in boxes(data, box.start + 4, box.end):
        if reference.kind == kind:
            first = reference.start + width + 2
            last = min(reference.end, first + width * MOST_BOXES)
            yield integer(data, reference.start, width), [integer(data, at, width) for at in range(first, last, width)]


def _kinds(data: mmap, box: Box) -> dict[int, bytes]:
    """How each item is coded (8.11.6 of 14496-12)."""
    found = {}
    for entry in boxes(data, box.start + (8 if integer(data, box.start, 1) else 6), box.end):
        width = 4 if integer(data, entry.start, 1) == 3 else 2
        number = integer(data, entry.start + 4, width)
        found[number] = data[entry.start + 6 + width : entry.start + 10 + width]
    return found


def _places(data: mmap, inside: Mapping[bytes, Box]) -> Iterator[tuple[int, tuple[tuple[int, int], ...]]]:
    """Each item with the places and lengths of its parts (8.11.3 of 14496-12), but for what lies in other items."""
    box = inside[b"iloc"]
    version, sizes = integer(data, box.start, 1), integer(data, box.start + 4, 2)
    offset, length, base, index = sizes >> 12, sizes >> 8 & 15, sizes >> 4 & 15, sizes & 15 if version else 0
    width = 4 if version == 2 else 2
    at, left = box.start + 6 + width, _MOST_PARTS
    for _ in range(min(integer(data, box.start + 6, width), MOST_BOXES)):
        item, at = integer(data, at, width), at + width
        method, at = (integer(data, at, 2) & 15, at + 2) if version else (0, at)
        start, at = integer(data, at + 2, base), at + 2 + base
        parts, at = integer(data, at, 2), at + 2
        left -= parts
        if left < 0:
            raise malformed("its items lie in too many parts")
        if method == _IN_META and b"idat" in inside:
            start += inside[b"idat"].start
        step = index + offset + length
        starts = [start + integer(data, place + index, offset) for place in range(at, at + parts * step, step or 1)]
        lengths = [integer(data, place + index + offset, length) for place in range(at, at + parts * step, step or 1)]
        at += parts * step
        if method <= _IN_META:  # no length is one up to the end
            yield (
                item,
                tuple((first, size or max(0, len(data) - first)) for first, size in zip(starts, lengths, strict=True)),
            )


def _color(data: mmap, properties: list[Box]) -> tuple[int, int] | None:
    """The code points of primaries and transfer, where there is an `nclx` (12.1.5 of 14496-12)."""
    for box in properties:
        if box.kind == b"colr" and data[box.start : box.start + 4] == b"nclx" and box.end - box.start >= 8:
            return integer(data, box.start + 4, 2), integer(data, box.start + 6, 2)
    return None


def _crop(data: mmap, properties: list[Box], size: tuple[int, int]) -> tuple[int, int, int, int] | None:
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


def _associated(data: mmap, box: Box, item: int) -> list[int]:
    """The numbers of an item's properties (9.3 of 23008-12)."""
    width = 4 if data[box.start] else 2  # of an item's number, by the version
    wide = data[box.start + 3] & 1
    at = box.start + 8
    for _ in range(min(int.from_bytes(data[box.start + 4 : box.start + 8], "big"), MOST_BOXES)):
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
