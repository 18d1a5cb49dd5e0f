"""What a client is told of an image that was not developed: one table."""

from __future__ import annotations

from typing import Final

from image_svc.domain.model import Problem
from image_svc.pipeline.types import Reason

# Each reason of the contract: the title, the same whenever it is given, and what the client can do about it.
_REJECTIONS: Final[dict[Reason, tuple[str, str]]] = {
    Reason.NOT_AN_IMAGE: (
        "The file is not an image.",
        "Upload a JPEG, PNG, WebP, GIF, AVIF, HEIC or TIFF file.",
    ),
    Reason.UNSUPPORTED_FORMAT: (
        "The file's format is not accepted.",
        "Save the picture as JPEG, PNG, WebP, GIF, AVIF, HEIC or TIFF and upload that.",
    ),
    Reason.CONTENT_TYPE_MISMATCH: (
        "The file is of another type than was announced.",
        "Register it again with the type that it really has.",
    ),
    Reason.TRUNCATED: (
        "The file is damaged or incomplete.",
        "Check that the picture opens, and upload it again from the source.",
    ),
    Reason.TOO_MANY_PIXELS: (
        "The picture has too many pixels.",
        "Scale it down and upload it again.",
    ),
    Reason.TOO_MANY_FRAMES: (
        "The animation has too many frames.",
        "Shorten it and upload it again.",
    ),
    Reason.TOO_LARGE: (
        "The file is larger than was announced.",
        "Register it again with its real size.",
    ),
    Reason.TOO_COMPLEX: (
        "Decoding the file takes too much time or memory.",
        "Save the picture anew with ordinary settings and upload that.",
    ),
    Reason.CONTENT_MISMATCH: (
        "The bytes are not the ones that were announced.",
        "Register the file again with its real size and SHA-256.",
    ),
}

_FAILED_TITLE: Final = "The image could not be processed."
_FAILED_ADVICE: Final = "This is no fault of the file: ask for it to be processed again."


def rejected(reason: Reason, detail: str) -> Problem:
    """The problem of a file that is refused. `detail` says what was wrong with this very one."""
    title, advice = _REJECTIONS[reason]
    found = detail.strip().rstrip(".")
    return Problem(reason.value, title, f"{found[:1].upper()}{found[1:]}. {advice}" if found else advice)


def failed(cause: str) -> Problem:
    """The problem of an image that we could not process. `cause` is a short phrase without internals."""
    return Problem("processing_failed", _FAILED_TITLE, f"{cause}. {_FAILED_ADVICE}")
