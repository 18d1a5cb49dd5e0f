"""What the parsers give, and the verdicts that they share."""

from __future__ import annotations

from dataclasses import dataclass

from image_svc.pipeline.types import Reason, Rejected


@dataclass(frozen=True, slots=True)
class Header:
    """What a file announces. `size` is set where the parser reads it; `stored_bytes_per_pixel` is what the decoder must

    hold of the whole picture beside its pixels (the coefficients of a JPEG in several scans).
    """

    frames: int = 1
    size: tuple[int, int] | None = None
    components: int | None = None
    stored_bytes_per_pixel: float = 0.0


def truncated() -> Rejected:
    """The verdict on a file that ends before its own structure does."""
    return Rejected(Reason.TRUNCATED, "The file ends before the picture does.")


def malformed(what: str) -> Rejected:
    """The verdict on a file that starts like an image and is none."""
    return Rejected(Reason.NOT_AN_IMAGE, f"The file starts like an image, but {what}.")
