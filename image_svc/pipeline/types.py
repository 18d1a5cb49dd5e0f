"""What the pipeline takes and gives. Imported on both sides of the sandbox, so it imports nothing heavy.

The bounds are for the other side: what a child says is checked against them, because a file may have taken it over.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated

import msgspec

# Pixels along one side of any picture that has at most 100 million.
Side = Annotated[int, msgspec.Meta(ge=1, le=100_000_000)]


class Format(StrEnum):
    """The accepted formats, by the names of the contract."""

    JPEG = "JPEG"
    PNG = "PNG"
    WEBP = "WEBP"
    GIF = "GIF"
    AVIF = "AVIF"
    HEIF = "HEIF"
    TIFF = "TIFF"


class Reason(StrEnum):
    """Why a file is REJECTED, in the words of the contract. Only what the file itself causes."""

    NOT_AN_IMAGE = "not_an_image"
    UNSUPPORTED_FORMAT = "unsupported_format"
    CONTENT_TYPE_MISMATCH = "content_type_mismatch"
    TRUNCATED = "truncated"
    TOO_MANY_PIXELS = "too_many_pixels"
    TOO_MANY_FRAMES = "too_many_frames"
    TOO_LARGE = "too_large"
    TOO_COMPLEX = "too_complex"
    CONTENT_MISMATCH = "content_mismatch"


@dataclass(frozen=True, slots=True)
class Used:
    """What became of a file's allowance: user + system time, wall time from order to answer, peak resident bytes."""

    cpu_seconds: float
    wall_seconds: float
    peak_memory: int


class Rejected(Exception):  # noqa: N818 - a verdict on the file, not an error of ours
    """The file is not an acceptable image: final. `detail` is for the client: what was wrong with this very file.

    `used` is known where it was a child that looked at the file.
    """

    used: Used | None = None

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Facts:
    """What the decoder saw.

    `format` is one of JPEG, PNG, WEBP, GIF, AVIF, HEIF, TIFF; `width` and `height` are pixels after orientation;
    `frames` is 1 for a still image; `color` is `#rrggbb`; `perceptual_hash` has 64 bits.
    """

    format: Format
    width: Side
    height: Side
    frames: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]
    thumbhash: Annotated[bytes, msgspec.Meta(min_length=5, max_length=32)]
    color: Annotated[str, msgspec.Meta(pattern="^#[0-9a-f]{6}$")]
    perceptual_hash: int

    def __post_init__(self) -> None:
        if not 0 <= self.perceptual_hash < 1 << 64:  # more than msgspec's own bounds can say
            raise ValueError("the perceptual hash has more than 64 bits")


@dataclass(frozen=True, slots=True)
class Made:
    """What was made for one preset: its pixels across and down."""

    width: Side
    height: Side


@dataclass(frozen=True, slots=True)
class Variant:
    """One derivative. `extension` has no dot; `size` is in bytes."""

    preset: str
    content_type: str
    extension: str
    width: int
    height: int
    size: int
