"""JPEG: ITU-T T.81, annex B."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from mmap import mmap
from typing import Final

from image_svc.pipeline.caps import Caps
from image_svc.pipeline.headers.header import Header, damaged, malformed, truncated
from image_svc.pipeline.types import Reason, Rejected

_SOF: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_SOF_ACCEPTED: Final = frozenset({0xC0, 0xC1, 0xC2})  # Huffman-coded: baseline, extended, progressive
_SOF_PROGRESSIVE: Final = 0xC2
_SOS: Final = 0xDA
_EOI: Final = 0xD9
_APP1: Final = 0xE1
_EXIF: Final = b"Exif\0\0"
_ALONE: Final = frozenset({0x01, *range(0xD0, 0xD9)})
# The next marker after coded data: 0xFF00 is a stuffed byte, D0-D7 restart the coder, FF before FF fills. It must start
# with one literal byte: `re` then looks for that at the speed of memchr, ten times faster than for `\xff+`.
_MARKER: Final = re.compile(rb"\xff([\x01-\xcf\xd8-\xfe])", re.DOTALL)
# What a decoder keeps of each sample until the last scan: one 16-bit coefficient.
_COEFFICIENT_BYTES: Final = 2
# Real files have some hundred: a large profile, a maker's notes, tables for each scan. Each one costs Python's time.
_MOST_SEGMENTS: Final = 10_000
# Coded data do not end in so many zeros and without an end marker, but what a download left out does.
_HOLE: Final = bytes(32)
_ALL_COEFFICIENTS: Final = (1 << 64) - 1


@dataclass(slots=True)
class _Received:
    """Which coefficients of each component the scans have brought, and to what bit (G.1.1)."""

    progressive: bool
    components: bytes
    # By component: a bit for each coefficient, for those that came at all and for those that came to their last bit.
    whole: dict[int, int] = field(default_factory=dict)

    def add(self, scan: bytes) -> None:
        """Counts a scan's header (B.2.3)."""
        names = scan[1 : 1 + 2 * scan[0] : 2]
        first, last, bits = scan[1 + 2 * scan[0] : 4 + 2 * scan[0]]
        if not self.progressive:
            first, last, bits = 0, 63, 0
        if bits & 15 == 0 and first <= last <= 63:
            brought = (1 << last + 1) - (1 << first)
            for name in names:
                self.whole[name] = self.whole.get(name, 0) | brought

    def all(self) -> bool:
        """Whether nothing is missing, but perhaps the end of the last scan."""
        return all(self.whole.get(name) == _ALL_COEFFICIENTS for name in self.components)


def inspect(data: mmap, caps: Caps) -> Header:
    """Walks the markers as libjpeg does: dimensions, components and the number of scans.

    Exactly one frame header is admitted, before the first scan, so that every later reader sees the same one.
    """
    frame: Header | None = None
    received = _Received(False, b"")
    scans, several, end = 0, False, None
    for marker, at, length in _segments(data):
        if marker == _EOI:
            end = at
        elif marker in _SOF:
            if frame is not None:
                raise malformed("it has two frame headers")
            several = marker == _SOF_PROGRESSIVE
            frame = _frame(marker, data[at : at + length])
            received = _Received(several, data[at + 6 : at + 6 + 3 * (frame.components or 0) : 3])
        elif marker == _APP1 and data[at : at + 12] == _EXIF * 2:
            raise Rejected(Reason.TOO_COMPLEX, "The JPEG's notes begin again and again.")
        elif marker == _SOS:
            if frame is None:
                raise malformed("its data come before its header")
            scans += 1
            if scans > caps.max_scans:
                raise Rejected(Reason.TOO_COMPLEX, f"The JPEG has more than {caps.max_scans} scans.")
            if length < 4 or length < 4 + 2 * data[at]:
                raise malformed("the header of a scan is cut short")
            several = several or scans > 1 or data[at] != frame.components
            received.add(data[at : at + length])
    if frame is None or scans == 0 or not received.all():
        raise truncated()
    if end is None and data[-len(_HOLE) :] == _HOLE:
        raise damaged()
    if several:
        return frame
    # Decoded row by row: no coefficients to keep.
    return replace(frame, stored_bytes_per_pixel=0.0, single_scan_end=len(data) if end is None else end)


def frame_size(data: mmap, start: int, end: int) -> tuple[int, int] | None:
    """Width and height of the JPEG between two places of another file, None where there is none."""
    for marker, at, length in _segments(data[start:end]):
        if marker in _SOF and length >= 5:
            return int.from_bytes(data[start + at + 3 : start + at + 5], "big"), int.from_bytes(
                data[start + at + 1 : start + at + 3], "big"
            )
    return None


def _segments(data: mmap | bytes) -> Iterator[tuple[int, int, int]]:
    """Each marker with the place and length of what it announces, up to the end marker (with its own place), if any."""
    at = 2
    segments = 0
    while match := _MARKER.search(data, at):
        marker = match[1][0]
        at = match.end()
        if marker == _EOI:
            yield marker, match.start(), 0
            return
        if marker in _ALONE:
            continue
        length = int.from_bytes(data[at : at + 2], "big")
        if length < 2 or at + length > len(data):
            return
        segments += 1
        if segments > _MOST_SEGMENTS:
            raise Rejected(Reason.TOO_COMPLEX, f"The JPEG has more than {_MOST_SEGMENTS} segments.")
        yield marker, at + 2, length - 2
        at += length


def _frame(marker: int, segment: bytes) -> Header:
    """Reads a frame header (B.2.2). All coefficients are kept until the last scan, where there are several."""
    if marker not in _SOF_ACCEPTED:
        raise Rejected(Reason.UNSUPPORTED_FORMAT, "This kind of JPEG (lossless or arithmetic) is not accepted.")
    if len(segment) < 6 or len(segment) < 6 + 3 * segment[5]:
        raise malformed("its header is cut short")
    if segment[0] != 8:
        raise Rejected(Reason.UNSUPPORTED_FORMAT, f"JPEG with {segment[0]} bits a sample is not accepted.")
    height, width, components = int.from_bytes(segment[1:3], "big"), int.from_bytes(segment[3:5], "big"), segment[5]
    if components not in {1, 3, 4}:
        raise Rejected(Reason.UNSUPPORTED_FORMAT, f"JPEG with {components} components is not accepted.")
    if not width or not height:
        raise malformed("its dimensions are zero")
    factors = [(segment[at] >> 4, segment[at] & 15) for at in range(7, 7 + 3 * components, 3)]
    if not all(1 <= h <= 4 and 1 <= v <= 4 for h, v in factors):
        raise malformed("its sampling factors are out of range")
    samples = sum(h * v for h, v in factors) / (max(h for h, _ in factors) * max(v for _, v in factors))
    return Header(size=(width, height), components=components, stored_bytes_per_pixel=samples * _COEFFICIENT_BYTES)
