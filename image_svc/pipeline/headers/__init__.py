"""Reads what a file announces of itself, before any decoder sees it: one small parser per format.

They look for what the caps need (frames, scans, what chunks inflate to), and for a file that ends before its own
structure does. They decide nothing about pixels: the decoder's view of the dimensions is checked against the caps too.
"""

from __future__ import annotations

from collections.abc import Callable
from mmap import mmap
from typing import Final

from image_svc.pipeline.caps import Caps
from image_svc.pipeline.headers import gif, isobmff, jpeg, png, tiff, webp
from image_svc.pipeline.headers.header import Header
from image_svc.pipeline.types import Format

__all__ = ["Header", "inspect"]

_INSPECTORS: Final[dict[Format, Callable[[mmap, Caps], Header]]] = {
    Format.JPEG: jpeg.inspect,
    Format.PNG: png.inspect,
    Format.GIF: gif.inspect,
    Format.WEBP: webp.inspect,
    Format.AVIF: isobmff.inspect,
    Format.HEIF: isobmff.inspect,
    Format.TIFF: tiff.inspect,
}


def inspect(data: mmap, format_: Format, caps: Caps) -> Header:
    """The header of a file of that format. Raises `Rejected`."""
    return _INSPECTORS[format_](data, caps)
