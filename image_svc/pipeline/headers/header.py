"""What the parsers give, and the verdicts that they share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from mmap import mmap
from typing import Final

from image_svc.pipeline.types import Reason, Rejected

# An eighth of the smallest sector of a disk: shorter ones take longer to look for (0.2 ms of a photograph's 120).
_HOLE: Final = bytes(64)
# Where a part of a file begins and ends.
Span = tuple[int, int]


class After(Enum):
    """What becomes of a frame's place when its time is over."""

    STAYS = auto()
    CLEARED = auto()
    UNDONE = auto()


@dataclass(frozen=True, slots=True)
class Frame:
    """Of an animation: where it lies, in pixels; whether it is laid over what is there, or takes its place; how long it

    is shown, and what comes then; and a file of this frame alone.
    """

    left: int
    top: int
    width: int
    height: int
    over: bool
    milliseconds: float
    after: After
    alone: bytes


@dataclass(frozen=True, slots=True)
class Header:
    """What a file announces. `size` is set where the parser reads it, `mode` (Pillow's) where no reader of Pillow's

    does; `stored_bytes_per_pixel` is what the decoder must hold of the whole picture beside its pixels (the
    coefficients of a JPEG in several scans). `coded` is where the pixels of a still WebP lie; `details` are where the
    scans lie of which a JPEG shows nothing at an eighth of its size, `coarsest` for how many pixels a sample of it
    stands, across and down, where libjpeg shrinks it. `color` are code points of ITU-T H.273 for colour primaries and
    transfer. In an `inverted` picture the largest grey is black, and its decoder does not know; of one that is
    `forgiven` the decoder may show what there is and not say that pixels are missing. `exif` is a JPEG's, a PNG's or a
    still WebP's, wherever it stands, `profile` (ICC) a JPEG's or a still WebP's. Of a HEIC or AVIF only what lies in
    `crop` is to be shown: left, top, right and bottom, before it is turned. Of a TIFF, `tags` are those that bear on
    its pixels, each with its type and its values as they lie in the file, `place` is where its directory stands, and
    `orientation` how it is turned. `loop` is how often an animation of a PNG is shown, 0 for without end.
    """

    frames: int = 1
    size: tuple[int, int] | None = None
    mode: str | None = None
    stored_bytes_per_pixel: float = 0.0
    coded: Span = (0, 0)
    details: tuple[Span, ...] = ()
    coarsest: tuple[float, float] = (1.0, 1.0)
    color: tuple[int, int] | None = None
    inverted: bool = False
    forgiven: bool = False
    exif: bytes | None = None
    profile: bytes | None = None
    crop: tuple[int, int, int, int] | None = None
    orientation: int = 1
    place: int = 0
    loop: int = 0
    tags: Mapping[int, tuple[int, bytes]] = field(default_factory=dict)


def truncated() -> Rejected:
    """The verdict on a file that ends before its own structure does."""
    return Rejected(Reason.TRUNCATED, "The file ends before the picture does.")


def damaged() -> Rejected:
    """The verdict on a file that contradicts itself, by a check sum or otherwise: something happened to it."""
    return Rejected(Reason.TRUNCATED, "The file is damaged: a part of the picture is missing or not as it was.")


def hole(data: mmap, start: int, end: int) -> int:
    """Where between two places coded data have zeros that a download may have left, or less than 0. They have so many

    of their own only where a picture is of one colour.
    """
    return data.find(_HOLE, start, end)


def malformed(what: str) -> Rejected:
    """The verdict on a file that starts like an image and is none."""
    return Rejected(Reason.NOT_AN_IMAGE, f"The file starts like an image, but {what}.")


def heed(said: int) -> None:
    """Raises `Rejected` or MemoryError where a source of `native/` says that a picture cannot be had as it was sent."""
    if said == 1:
        raise damaged()
    if said == 2:
        raise MemoryError
    if said == 3:
        raise malformed("cannot be decoded")
    if said == 4:
        raise truncated()
