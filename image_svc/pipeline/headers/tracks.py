"""Where the pictures of a moving AVIF lie: ISO/IEC 14496-12, 8.3 to 8.7."""

from __future__ import annotations

from collections.abc import Iterator
from mmap import mmap
from typing import Final

from image_svc.pipeline.headers.boxes import AV1, Box, boxes, integer
from image_svc.pipeline.headers.header import Span

# What leads from a track to the table of its pictures.
_WAY: Final = (b"mdia", b"minf", b"stbl")
# How each of them is coded, how long it is, how many lie in each run, and where the runs begin: in 32 bits or 64.
_NEEDED: Final = frozenset({b"stsd", b"stsz", b"stsc"})
_STARTS: Final = {b"stco": 4, b"co64": 8}
_CODED: Final = int.from_bytes(AV1, "big")
_ENTRY: Final = 12  # bytes of one that tells of runs


def pictures(data: mmap, most: int) -> Iterator[list[Span]]:
    """Of each track in AV1 the places of its pictures, in the order in which they are decoded; no more than `most`."""
    for movie in boxes(data, 0, len(data)):
        if movie.kind == b"moov":
            for track in boxes(data, movie.start, movie.end):
                tables = _tables(data, track) if track.kind == b"trak" else {}
                if tables.keys() >= _NEEDED and integer(data, tables[b"stsd"].start + 12, 4) == _CODED:
                    yield _places(data, tables, most)


def _tables(data: mmap, track: Box) -> dict[bytes, Box]:
    """What is said of a track's pictures, by kind."""
    inside = {box.kind: box for box in boxes(data, track.start, track.end)}
    for kind in _WAY:
        if kind not in inside:
            return {}
        inside = {box.kind: box for box in boxes(data, inside[kind].start, inside[kind].end)}
    return {kind: box._replace(end=min(box.end, len(data))) for kind, box in inside.items()}


def _places(data: mmap, tables: dict[bytes, Box], most: int) -> list[Span]:
    """Each picture behind the one before it, run by run."""
    lengths, runs = tables[b"stsz"].start, tables[b"stsc"]
    same, count = integer(data, lengths + 4, 4), min(integer(data, lengths + 8, 4), most)
    run, places = runs.start + 8, list[Span]()
    for number, start in enumerate(_starts(data, tables, count), 1):
        while run + 2 * _ENTRY <= runs.end and integer(data, run + _ENTRY, 4) <= number:
            run += _ENTRY
        end = start
        for _ in range(min(integer(data, run + 4, 4), count - len(places))):
            length = same or integer(data, lengths + 12 + 4 * len(places), 4)
            places.append((end, end + length))
            end += length
    return places


def _starts(data: mmap, tables: dict[bytes, Box], most: int) -> Iterator[int]:
    """Where the runs begin: none is empty."""
    for kind, width in _STARTS.items():
        if kind in tables:
            first = tables[kind].start + 8
            last = min(tables[kind].end, first + width * min(integer(data, first - 4, 4), most))
            yield from (integer(data, place, width) for place in range(first, last, width))
