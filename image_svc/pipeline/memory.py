"""How much memory decoding will take, from what the header says: the pixel caps follow from it."""

from __future__ import annotations

from typing import Final

from image_svc.pipeline.geometry import Size
from image_svc.pipeline.headers import Header
from image_svc.pipeline.types import Format

# Bytes per pixel of Pillow's own copy, and of the copies that the first reduction needs beside it. Pillow keeps RGB in
# four bytes; resampling RGBA makes a premultiplied copy.
_STORED: Final = {"1": 1, "L": 1, "P": 1, "LA": 4, "PA": 4, "I;16": 2, "I;16B": 2, "I;16L": 2, "I;16N": 2}
_CONVERTED: Final = {"1": 4, "L": 4, "P": 8, "LA": 8, "PA": 8, "RGBA": 4, "I;16": 5, "I;16B": 5, "I;16L": 5, "I;16N": 5}
# What the decoder holds beside: WebP's canvas, the one before and the frame as bytes; a GIF's frame being composed;
# planes of up to 16 bits and the interleaved copy of the video codecs; a TIFF's strip, which may be all of it.
_DECODER: Final = {Format.WEBP: 12, Format.GIF: 4, Format.AVIF: 14, Format.HEIF: 14, Format.TIFF: 8}


def peak_bytes(format_: Format, mode: str, full: Size, decoded: Size, header: Header) -> int:
    """An upper bound of the bytes in use when a picture of `full` pixels is decoded to `decoded` ones."""
    stored = _STORED.get(mode, 4) + _CONVERTED.get(mode, 0)
    return int(
        full[0] * full[1] * header.stored_bytes_per_pixel
        + full[0] * full[1] * _DECODER.get(format_, 0)
        + decoded[0] * decoded[1] * stored
    )
