"""TIFF 6.0 and BigTIFF (www.awaresystems.be/imaging/tiff/bigtiff.html): only its first directory is looked at."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from mmap import mmap
from typing import Final, NamedTuple

from image_svc.pipeline import native
from image_svc.pipeline.caps import Caps
from image_svc.pipeline.headers import jpeg
from image_svc.pipeline.headers.header import Header, damaged, heed, malformed, truncated
from image_svc.pipeline.types import Reason, Rejected

_BIG: Final = 43
_BITS_PER_SAMPLE: Final = 258
_COMPRESSION: Final = 259
_PHOTOMETRIC: Final = 262
_SAMPLES_PER_PIXEL: Final = 277
_PLANAR: Final = 284
_SAMPLE_FORMAT: Final = 339
_DNG_VERSION: Final = 50706
# None, CCITT 1D/G3/G4, LZW, JPEG, Deflate (two numbers), PackBits. The others are rare and their decoders little tried.
_ACCEPTED: Final = frozenset({1, 2, 3, 4, 5, 7, 8, 32946, 32773})
# Real files have a few dozen; a reader pays for each.
_MAX_ENTRIES: Final = 1024
# A palette of 16-bit values, and bytes: the tables of JPEG in TIFF and the colour profile.
_COLOR_MAP: Final = 320
_TABLES: Final = 347
_NEEDED: Final = (_COLOR_MAP, _TABLES, 34675)
_ORIENTATION: Final = 274
# TIFF 6.0, section 8, for what is not said; photometric must be.
_DEFAULTS: Final = {
    _BITS_PER_SAMPLE: 1,
    _COMPRESSION: 1,
    _PHOTOMETRIC: 1,
    _SAMPLES_PER_PIXEL: 1,
    _PLANAR: 1,
    _SAMPLE_FORMAT: 1,
}
# What says where samples lie: dimensions, and those of strips and tiles.
_WIDTH, _HEIGHT, _ROWS, _TILE_WIDTH, _TILE_HEIGHT = 256, 257, 278, 322, 323
_EXTRA_SAMPLES: Final = 338
_LAYOUT: Final = frozenset(
    {*_DEFAULTS, _WIDTH, _HEIGHT, _ROWS, _TILE_WIDTH, _TILE_HEIGHT, _EXTRA_SAMPLES, 273, 279, 324, 325}
)
# What more Pillow is to know: the order of bits. All others are notes, or for libtiff alone.
_FILL_ORDER: Final = 266
# What is read here and is for nobody else.
_SUBSAMPLING: Final = 530
_OWN: Final = frozenset({_ORIENTATION, _DNG_VERSION, _SUBSAMPLING})
_READ: Final = frozenset({*_LAYOUT, *_NEEDED, _FILL_ORDER, *_OWN})
_PALETTE: Final = 3
_YCBCR: Final = 6
# RGB, inks and YCbCr: several samples.
_COLORS: Final = frozenset({2, 5, 6})
_JPEG: Final = 7
_START, _END = b"\xff\xd8", b"\xff\xd9"  # of a JPEG
# Of CCITT 1D and G4 and of JPEG libtiff shows what there is, however little, and no more than warns. Of the others it
# does not read as far as the check sum, or the code for the end.
_LZW: Final = 5
_DEFLATE: Final = frozenset({8, 32946})
_FORGIVEN: Final = frozenset({2, 4, _JPEG, _LZW, *_DEFLATE})
# Strips are inflated in pieces, and no more of them than pixels can need: tiles reach beyond all edges of a picture.
_PIECE: Final = 1 << 16
_BEYOND: Final = 4
# Offsets and lengths: of strips, and of tiles.
_PLACES: Final = ((273, 279), (324, 325))
# Of the types that numbers of interest have: BYTE, SHORT, LONG, LONG8.
_TYPES: Final = {1: "B", 3: "H", 4: "I", 16: "Q"}
# Bytes of a value of the others: ASCII, RATIONAL, SBYTE, UNDEFINED, SSHORT, SLONG, SRATIONAL, FLOAT, DOUBLE, SLONG8.
_SIZES: Final = {2: 1, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 17: 8}


class _Entry(NamedTuple):
    kind: int
    values: int
    place: int

    @property
    def form(self) -> str | None:
        """Its type as struct names it."""
        return _TYPES.get(self.kind)

    @property
    def bytes(self) -> int:
        """Of all values."""
        return self.values * _width(self.kind)


def _width(kind: int) -> int:
    """Bytes of a value; 0 for a type that nobody knows."""
    return struct.calcsize(_TYPES[kind]) if kind in _TYPES else _SIZES.get(kind, 0)


_Directory = dict[int, _Entry]


def inspect(data: mmap, _caps: Caps) -> Header:
    """Reads the first directory for kinds of pixels that are not accepted, and tells camera raw files apart.

    Pillow is told what is found here, libtiff reads it for itself, and Pillow 12.1.1 believes that both are the same: a
    tag of the pixels' that comes twice, is of no whole numbers or left to be guessed could make them differ, and is
    refused. Notes are left alone, wherever they lie.
    """
    order = "<" if data[:2] == b"II" else ">"
    try:
        place, directory = _directory(data, order)
        first = {tag: _first(data, directory, tag, order) for tag in _DEFAULTS}
        if _DNG_VERSION in directory:
            raise Rejected(Reason.UNSUPPORTED_FORMAT, "Camera raw (DNG) is not accepted.")
        compression, bits = first[_COMPRESSION], first[_BITS_PER_SAMPLE]
        if compression not in _ACCEPTED:
            raise Rejected(Reason.UNSUPPORTED_FORMAT, f"TIFF compression {compression} is not accepted.")
        if first[_SAMPLE_FORMAT] not in {1, 4}:  # unsigned, or not said
            raise Rejected(Reason.UNSUPPORTED_FORMAT, "TIFF with signed or floating-point samples is not accepted.")
        if first[_PLANAR] == 2 and first[_SAMPLES_PER_PIXEL] == 2:
            raise Rejected(Reason.UNSUPPORTED_FORMAT, "TIFF with grey and alpha in planes is not accepted.")
        if (first[_PLANAR], first[_PHOTOMETRIC]) == (2, _YCBCR) and compression != _JPEG:
            _check_planes(data, directory, order)
        if bits not in {1, 2, 4, 8, 16}:
            raise Rejected(Reason.UNSUPPORTED_FORMAT, f"TIFF with {bits} bits a sample is not accepted.")
        if _SAMPLES_PER_PIXEL not in directory and first[_PHOTOMETRIC] in _COLORS:
            raise malformed("it does not say how many samples a pixel has")
        if compression == _JPEG:
            _check_jpegs(data, directory, order)
        _check_whole(data, directory, order)
        if first[_PHOTOMETRIC] == _PALETTE and _count(directory, _COLOR_MAP) != 3 << bits:
            raise malformed("its palette does not have a colour for each value")
        turn = _first(data, directory, _ORIENTATION, order)
        tags = {
            tag: (entry.kind, _content(data, tag, entry, order)) for tag, entry in directory.items() if tag not in _OWN
        }
    except (struct.error, OverflowError):  # a place beyond the end, or beyond every end
        raise truncated() from None
    return Header(
        inverted=bits == 16 and first[_PHOTOMETRIC] == 0,
        forgiven=compression in _FORGIVEN,
        orientation=turn if 1 <= turn <= 8 else 1,
        place=place,
        tags=tags,
    )


def check_pixels(data: mmap) -> None:
    """Decodes all pixels for what libtiff says of them, or for what stands at their end. Raises `Rejected` where some

    are missing, or others than were sent, and MemoryError.
    """
    order = "<" if data[:2] == b"II" else ">"
    _, directory = _directory(data, order)
    compression = _first(data, directory, _COMPRESSION, order)
    if compression in _DEFLATE:
        _check_sums(data, directory, order)
        return
    if compression == _LZW:
        _check_ends(data, directory, order)
        return
    if compression == _JPEG:
        _check_coefficients(data, directory, order)
    with native.lent(data) as address:
        heed(native.library().darkroom_tiff_whole(address, len(data)))


def _check_coefficients(data: mmap, directory: _Directory, order: str) -> None:
    """Raises `Rejected` where what is coded in a strip or tile is not what a picture can be, or more than its own.

    The tables stand in a file of their own, and are put before the rest of each as if they had always been there.
    """
    tables = _TABLES in directory and _content(data, _TABLES, directory[_TABLES], order)
    before = tables.removesuffix(_END) if tables else _START
    for content in _pieces(data, directory, order):
        alone = before + content.removeprefix(_START)
        with native.lent(alone) as address:
            heed(native.library().darkroom_jpeg_whole(address, len(alone)))


def _check_sums(data: mmap, directory: _Directory, order: str) -> None:
    """Raises `Rejected` where a strip or tile is not what its check sum says."""
    sides = [_first(data, directory, tag, order) for tag in (_WIDTH, _HEIGHT, _SAMPLES_PER_PIXEL)]
    deep = max(1, _first(data, directory, _BITS_PER_SAMPLE, order) // 8)
    left = _BEYOND * deep * sides[0] * sides[1] * sides[2] + _PIECE
    for content in _pieces(data, directory, order):
        stream, rest = zlib.decompressobj(), content
        try:
            while rest and left > 0:
                left -= len(stream.decompress(rest, _PIECE))
                rest = stream.unconsumed_tail
        except zlib.error as error:
            if "data check" in str(error):
                raise damaged() from None
            # The rest is for libtiff to say: it may not need what is wrong.


def _check_ends(data: mmap, directory: _Directory, order: str) -> None:
    """Raises `Rejected` where the codes of a strip or tile end within a row.

    Some writers fill the last strip with rows that nobody sees, some write no code for the end, and some one byte more.
    """
    if _first(data, directory, _PHOTOMETRIC, order) == _YCBCR:  # whose rows may come in pairs
        return
    samples = _first(data, directory, _SAMPLES_PER_PIXEL, order) if _first(data, directory, _PLANAR, order) == 1 else 1
    width = _first(data, directory, _TILE_WIDTH if _TILE_WIDTH in directory else _WIDTH, order)
    row = -(-width * samples * _first(data, directory, _BITS_PER_SAMPLE, order) // 8)
    for content in _pieces(data, directory, order):
        if (
            content[:1] == b"\0" and content[1:2] and content[1] & 1
        ):  # as it was before 1988, and libtiff still reads it
            continue
        end, count = native.lzw(content, 8, highest_first=True)
        if end is native.End.CODED and count % max(1, row) > 1:
            raise damaged()


def _pieces(data: mmap, directory: _Directory, order: str) -> Iterator[bytes]:
    """Strips or tiles, as they are coded."""
    for offsets, counts in _PLACES:
        places = zip(_values(data, directory, offsets, order), _values(data, directory, counts, order), strict=False)
        yield from (data[offset : offset + count] for offset, count in places)


def _content(data: mmap, tag: int, entry: _Entry, order: str) -> bytes:
    """A tag's values as they lie in the file. Raises struct.error where they lie beyond its end."""
    if entry.bytes > len(data):
        raise truncated()
    (content,) = struct.unpack_from(f"{entry.bytes}s", data, entry.place)
    if tag == _COLOR_MAP and entry.form == "H":
        form = f"{order}{entry.values}H"
        levels = struct.unpack(form, content)
        if max(levels, default=256) < 256:  # of 8 bits, as some have written it and libtiff takes it
            return struct.pack(form, *(level * 257 for level in levels))
    return bytes(content)


def _check_jpegs(data: mmap, directory: _Directory, order: str) -> None:
    """Raises `Rejected` where a strip or tile holds a smaller JPEG than its place: the rest would be stale memory."""
    width, height = _first(data, directory, _WIDTH, order), _first(data, directory, _HEIGHT, order)
    tiled = _TILE_WIDTH in directory
    offsets, counts = _PLACES[tiled]
    rows = _first(data, directory, _TILE_HEIGHT if tiled else _ROWS, order) or height
    needed = _first(data, directory, _TILE_WIDTH, order) if tiled else width
    strips = max(1, -(-height // rows))  # of each plane, in planes
    places = zip(_values(data, directory, offsets, order), _values(data, directory, counts, order), strict=False)
    for number, (offset, count) in enumerate(places):
        frame = jpeg.frame_size(data, offset, offset + count)
        tall = rows if tiled else min(rows, height - number % strips * rows)
        # Subsampled planes are as much smaller as their factors say: only what no factor explains is refused.
        if frame is None or frame[0] * 4 < needed or frame[1] * 4 < tall:
            raise truncated()
        if _first(data, directory, _PLANAR, order) == 1 and (frame[0] < needed or frame[1] < tall):
            raise truncated()


def _check_planes(data: mmap, directory: _Directory, order: str) -> None:
    """Raises `Rejected` where planes of colour are smaller than that of luminance: libtiff takes all for one size."""
    sampling = _values(data, directory, _SUBSAMPLING, order) or (2, 2)  # TIFF 6.0, section 21
    if set(sampling) != {1}:
        raise Rejected(Reason.UNSUPPORTED_FORMAT, "TIFF with subsampled colours in planes is not accepted.")


def _first(data: mmap, directory: _Directory, tag: int, order: str) -> int:
    """The first value of a tag, or what is meant where it is missing or no whole number."""
    entry = directory.get(tag)
    if entry is None or entry.form is None or not entry.values:
        return _DEFAULTS.get(tag, 0)
    return int(struct.unpack_from(order + entry.form, data, entry.place)[0])


def _count(directory: _Directory, tag: int) -> int:
    """How many values a tag has."""
    return directory[tag].values if tag in directory else 0


def _check_whole(data: mmap, first: _Directory, order: str) -> None:
    """Raises `Rejected` where strips or tiles lie beyond the end of the file."""
    for offsets, counts in _PLACES:
        places = zip(_values(data, first, offsets, order), _values(data, first, counts, order), strict=False)
        if any(offset + count > len(data) for offset, count in places):
            raise truncated()


def _values(data: mmap, first: _Directory, tag: int, order: str) -> tuple[int, ...]:
    """All values of a tag that holds whole numbers. Raises struct.error where they lie beyond the end."""
    entry = first.get(tag)
    if entry is None or entry.form is None:
        return ()
    if entry.values > len(data):
        raise truncated()
    return struct.unpack_from(f"{order}{entry.values}{entry.form}", data, entry.place)


def _directory(data: mmap, order: str) -> tuple[int, _Directory]:
    """Where the directory is, and the values of each tag that bears on pixels. Raises struct.error where it lies beyond
    the end.
    """
    big = struct.unpack_from(order + "H", data, 2) == (_BIG,)
    word = "Q" if big else "I"
    (place,) = struct.unpack_from(order + word, data, 8 if big else 4)
    if place > len(data):
        raise truncated()
    (entries,) = struct.unpack_from(order + ("Q" if big else "H"), data, place)
    if entries > _MAX_ENTRIES:
        raise malformed("its directory is out of all bounds")
    at = place + (8 if big else 2)
    size = struct.calcsize(word)
    found: _Directory = {}
    for _ in range(entries):
        tag, kind, count = struct.unpack_from(order + "HH" + word, data, at)
        entry = _Entry(kind, count, at + 4 + size)
        at += 4 + 2 * size
        if tag not in _READ:
            continue
        if entry.bytes > size:
            (values,) = struct.unpack_from(order + word, data, entry.place)
            entry = entry._replace(place=values)
        if tag == _ORIENTATION and entry.form not in {"H", "I"}:  # as it should be, and as some write it: see `exif`
            continue
        if tag in found or (tag in _LAYOUT and entry.form is None):
            raise malformed("its directory can be read in two ways")
        found[tag] = entry
    return place, found
