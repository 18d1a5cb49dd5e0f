"""JPEG: ITU-T T.81, annex B."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from mmap import mmap
from typing import Final

from image_svc.pipeline import native
from image_svc.pipeline.caps import Caps
from image_svc.pipeline.headers import exif
from image_svc.pipeline.headers.header import Header, damaged, hole, malformed, truncated
from image_svc.pipeline.types import Reason, Rejected

_SOF: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_SOF_ACCEPTED: Final = frozenset({0xC0, 0xC1, 0xC2})  # Huffman-coded: baseline, extended, progressive
_SOF_PROGRESSIVE: Final = 0xC2
_SOS: Final = 0xDA
_EOI: Final = 0xD9
_APP1: Final = 0xE1
_APP2: Final = 0xE2
# FF, the marker itself and two bytes of length.
_SEGMENT_HEAD: Final = 4
# ICC.1:2010, annex B.4: after the name, the piece's number and how many there are.
_PROFILE: Final = b"ICC_PROFILE\0"
_ALONE: Final = frozenset({0x01, *range(0xD0, 0xD9)})
_NOTES: Final = frozenset({*range(0xE0, 0xF0), 0xFE})  # of applications, and comments
# What a decoder keeps of each sample until the last scan: one 16-bit coefficient.
_COEFFICIENT_BYTES: Final = 2
# Real files have some hundred: a large profile, a maker's notes, tables for each scan. Each one costs Python's time.
_MOST_SEGMENTS: Final = 10_000
# Coded data do not end in so many zeros and without an end marker, but what a download left out does.
_HOLE: Final = bytes(32)
# Stretches of zeros up to a marker that are looked at; real files have one.
_MOST_FILLED: Final = 64
_NOT_ZERO: Final = re.compile(rb"[^\0]")
_ALL_COEFFICIENTS: Final = (1 << 64) - 1
_MODES: Final = {1: "L", 3: "RGB", 4: "CMYK"}  # by components


@dataclass(frozen=True, slots=True)
class _Frame:
    """A frame header (B.2.2). `full` are the components that are sampled as finely as any; see `Header.coarsest`."""

    size: tuple[int, int]
    progressive: bool
    components: bytes
    full: frozenset[int]
    samples: float  # a pixel, over all components
    coarsest: tuple[float, float]


@dataclass(frozen=True, slots=True)
class _Scan:
    """A scan's header (B.2.3): components, first and last coefficient, and the bit that they come to. `mark` is the

    number of its marker in the file.
    """

    mark: int
    components: bytes
    first: int
    last: int
    last_bit: int


def inspect(data: mmap, caps: Caps) -> Header:
    """Walks the markers as libjpeg does: dimensions, components and the number of scans.

    Exactly one frame header is admitted, before the first scan, so that every later reader sees the same one.
    """
    frame: _Frame | None = None
    scans: list[_Scan] = []
    marks: list[int] = []  # where each marker stands
    notes: list[bytes] = []
    pieces: list[bytes] = []
    end = None
    for marker, at, length in _segments(data):
        marks.append(at if marker == _EOI else at - _SEGMENT_HEAD)
        if marker == _EOI:
            end = at
        elif marker in _SOF:
            if frame is not None:
                raise malformed("it has two frame headers")
            frame = _frame(marker, data[at : at + length])
        elif marker == _APP1 and not scans and data[at : at + len(exif.HEAD)] == exif.HEAD:
            notes.append(data[at + len(exif.HEAD) : at + length])
        elif marker == _APP2 and not scans and data[at : at + len(_PROFILE)] == _PROFILE:
            pieces.append(data[at + len(_PROFILE) : at + length])
        elif marker == _SOS:
            if frame is None:
                raise malformed("its data come before its header")
            scans.append(_scan(data[at : at + length], frame, len(marks) - 1))
            if len(scans) > caps.max_scans:
                raise Rejected(Reason.TOO_COMPLEX, f"The JPEG has more than {caps.max_scans} scans.")
    if frame is None or not _complete(frame, scans):
        raise truncated()
    if end is None and data[-len(_HOLE) :] == _HOLE:
        raise damaged()
    marks.append(len(data))
    one = len(scans) == 1 and not frame.progressive and len(scans[0].components) == len(frame.components)
    return Header(
        size=frame.size,
        mode=_MODES[len(frame.components)],
        forgiven=_holed(data, marks[scans[0].mark], marks[-1] if end is None else end),
        # Decoded row by row, there are no coefficients to keep.
        stored_bytes_per_pixel=0.0 if one else frame.samples * _COEFFICIENT_BYTES,
        coarsest=frame.coarsest,
        exif=b"".join(notes),  # whose second piece goes on where the first ends
        profile=_profile(pieces),
        # Where the end marker is missing, all must be read to know that nothing else is.
        details=tuple(
            (marks[scan.mark], marks[scan.mark + 1])
            for scan in scans
            if end is not None and scan.first > 0 and frame.full.issuperset(scan.components)
        ),
    )


def _holed(data: mmap, at: int, end: int) -> bool:
    """Whether coded data may have a hole. Zeros up to a marker are there to fill."""
    for _ in range(_MOST_FILLED):
        found = hole(data, at, end)
        if found < 0:
            return False
        behind = _NOT_ZERO.search(data, found, end)
        if behind is None:
            return False
        at = behind.start()
        if data[at] != 0xFF or data[at + 1] == 0:
            return True
    return True


def _profile(pieces: list[bytes]) -> bytes | None:
    """What the pieces make in their order; None where some are missing."""
    pieces.sort()
    if not pieces or len(pieces[0]) < 2 or pieces[0][1] != len(pieces):
        return None
    return b"".join(piece[2:] for piece in pieces)


def _complete(frame: _Frame, scans: Sequence[_Scan]) -> bool:
    """Whether the scans bring all coefficients of each component to their last bit (G.1.1)."""
    brought = dict.fromkeys(frame.components, 0)  # a bit for each coefficient
    for scan in scans:
        if scan.last_bit == 0 and scan.first <= scan.last <= 63:
            for name in scan.components:
                brought[name] = brought.get(name, 0) | (1 << scan.last + 1) - (1 << scan.first)
    return all(brought[name] == _ALL_COEFFICIENTS for name in frame.components)


def frame_size(data: mmap, start: int, end: int) -> tuple[int, int] | None:
    """Width and height of the JPEG between two places of another file, None where there is none. Raises `Rejected` for

    a kind that is not accepted.
    """
    for marker, at, length in _segments(data[start:end]):
        if marker in _SOF and length >= 5:
            _check_kind(marker)
            return int.from_bytes(data[start + at + 3 : start + at + 5], "big"), int.from_bytes(
                data[start + at + 1 : start + at + 3], "big"
            )
    return None


def _segments(data: mmap | bytes) -> Iterator[tuple[int, int, int]]:
    """Each marker with the place and length of what it announces, up to the end marker (with its own place), if any."""
    at = 2
    segments = 0
    while (found := _next_marker(data, at)) < len(data):
        marker = data[found + 1]
        at = found + 2
        if marker == _EOI:
            yield marker, found, 0
            return
        if marker in _ALONE:
            continue
        length = int.from_bytes(data[at : at + 2], "big")
        if marker in _NOTES:
            length = max(length, 2)  # a note that has no length: libjpeg goes on behind it, and so do all viewers
        if length < 2 or at + length > len(data):
            return
        segments += 1
        if segments > _MOST_SEGMENTS:
            raise Rejected(Reason.TOO_COMPLEX, f"The JPEG has more than {_MOST_SEGMENTS} segments.")
        yield marker, at + 2, length - 2
        at += length


def _next_marker(data: mmap | bytes, at: int) -> int:
    """Where the next marker stands, the length of the data where none does. Python's own search takes ten times longer.

    FF 00 is a byte of coded data, D0 to D7 restart the coder, and FF before FF fills.
    """
    with native.lent(data) as address:
        return int(native.library().darkroom_jpeg_marker(address, len(data), at))


def _check_kind(marker: int) -> None:
    if marker not in _SOF_ACCEPTED:
        raise Rejected(Reason.UNSUPPORTED_FORMAT, "This kind of JPEG (lossless or arithmetic) is not accepted.")


def _frame(marker: int, segment: bytes) -> _Frame:
    _check_kind(marker)
    if len(segment) < 6 or len(segment) < 6 + 3 * segment[5]:
        raise malformed("its header is cut short")
    if segment[0] != 8:
        raise Rejected(Reason.UNSUPPORTED_FORMAT, f"JPEG with {segment[0]} bits a sample is not accepted.")
    height, width, components = int.from_bytes(segment[1:3], "big"), int.from_bytes(segment[3:5], "big"), segment[5]
    if components not in _MODES:
        raise Rejected(Reason.UNSUPPORTED_FORMAT, f"JPEG with {components} components is not accepted.")
    if not width or not height:
        raise malformed("its dimensions are zero")
    names = segment[6 : 6 + 3 * components : 3]
    factors = [(factor >> 4, factor & 15) for factor in segment[7 : 7 + 3 * components : 3]]
    if not all(1 <= h <= 4 and 1 <= v <= 4 for h, v in factors):
        raise malformed("its sampling factors are out of range")
    most = max(h for h, _ in factors), max(v for _, v in factors)
    return _Frame(
        size=(width, height),
        progressive=marker == _SOF_PROGRESSIVE,
        components=names,
        full=frozenset(name for name, factor in zip(names, factors, strict=True) if factor == most),
        samples=sum(h * v for h, v in factors) / (most[0] * most[1]),
        coarsest=_coarsest([(most[0] / h, most[1] / v) for h, v in factors]),
    )


def _coarsest(pixels: list[tuple[float, float]]) -> tuple[float, float]:
    """For how many pixels samples stand where libjpeg shrinks: it spares colours as long as it can halve both ways."""
    across, down = 1.0, 1.0
    for pair in pixels:
        x, y = pair
        while x % 2 == 0 and y % 2 == 0:
            x, y = x / 2, y / 2
        across, down = max(across, x), max(down, y)
    return across, down


def _scan(segment: bytes, frame: _Frame, mark: int) -> _Scan:
    if len(segment) < 4 or len(segment) < 4 + 2 * segment[0]:
        raise malformed("the header of a scan is cut short")
    names = segment[1 : 1 + 2 * segment[0] : 2]
    first, last, bits = segment[1 + 2 * segment[0] : 4 + 2 * segment[0]]
    return _Scan(mark, names, first, last, bits & 15) if frame.progressive else _Scan(mark, names, 0, 63, 0)
