"""The pixels of a still WebP: what `native/webp.c` does, for Python.

Pillow would take it for an animation of one frame, on a canvas of its own: for twice the time and thrice the memory.
"""

from __future__ import annotations

from mmap import mmap

from PIL import Image

from image_svc.pipeline import blocks, native
from image_svc.pipeline.headers import Header
from image_svc.pipeline.headers.header import heed


def decoded(data: mmap, header: Header) -> Image.Image:
    """The stored picture. Raises `Rejected`, and MemoryError."""
    if header.size is None or header.mode is None:
        raise ValueError("the header is not that of a still WebP")
    picture = blocks.blank(header.mode, header.size)
    with native.lent(data) as file, blocks.lent(picture) as pixels:
        heed(native.library().darkroom_webp(file, *header.coded, *header.size, pixels))
    return picture
