"""What the pipeline takes and gives. Imported on both sides of the sandbox, so it imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


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


class Rejected(Exception):  # noqa: N818 - a verdict on the file, not an error of ours
    """The file is not an acceptable image: final. `detail` is for the client: what was wrong with this very file."""

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

    format: str
    width: int
    height: int
    frames: int
    thumbhash: bytes
    color: str
    perceptual_hash: int


@dataclass(frozen=True, slots=True)
class Variant:
    """One derivative. `extension` has no dot; `size` is in bytes."""

    preset: str
    content_type: str
    extension: str
    width: int
    height: int
    size: int
