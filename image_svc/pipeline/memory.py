"""How much memory decoding will take, from what the header says: the pixel caps follow from it.

The figures were measured as the growth of the address space, per pixel, with pictures of 12 megapixels in every format
and mode; the tests hold them against pictures just below their caps.
"""

from __future__ import annotations

from typing import Final

from image_svc.pipeline.geometry import Size
from image_svc.pipeline.headers import Header
from image_svc.pipeline.types import Format

# Bytes per pixel in Pillow's own storage: it keeps three channels in four bytes.
_PIXEL: Final = 4
_STORED: Final = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16B": 2, "I;16L": 2, "I;16N": 2}
# What must lie beside that before the first reduction: another mode, and for transparency a premultiplied copy.
_CONVERTED: Final = {
    "1": 1,
    "P": 4,
    "PA": 8,
    "LA": 8,
    "RGBA": 4,
    "I;16": 5,
    "I;16B": 5,
    "I;16L": 5,
    "I;16N": 5,
    "LAB": 4,
}
_TRANSPARENT: Final = 8
# What the decoder holds: a GIF's frame being composed; planes of up to 16 bits and the interleaved copy of the video
# codecs; a TIFF's strip, which may be all of it.
_DECODER: Final = {Format.GIF: 4, Format.AVIF: 10, Format.HEIF: 10, Format.TIFF: 4}
# How often the file itself lies in memory: mapped, and for some decoders read as well.
_FILES: Final = {Format.JPEG: 1, Format.PNG: 1, Format.GIF: 1}
_FILES_OTHERWISE: Final = 2
# The largest copy, and that turned and in another colour space.
_COPIES: Final = 3


def peak_bytes(
    format_: Format, mode: str, header: Header, *, full: Size, decoded: Size, needed: Size, transparent: bool, file: int
) -> int:
    """An upper bound, in bytes, for a file of `file` bytes and `full` pixels that is reduced to `needed` ones.

    `decoded` is how many are decoded: fewer for a JPEG that is shrunk. In a `transparent` one some colour stands for
    none.
    """
    area, read = full[0] * full[1], decoded[0] * decoded[1]
    converted = _TRANSPARENT if transparent else _CONVERTED.get(mode, 0)
    decoding = area * (header.stored_bytes_per_pixel + _DECODER.get(format_, 0))
    pixels = read * (_STORED.get(mode, _PIXEL) + converted)
    reducing = _PIXEL * needed[0] * (decoded[1] + _COPIES * needed[1])  # across first, then down
    return int(decoding + pixels + reducing + file * _FILES.get(format_, _FILES_OTHERWISE))
