"""The pixels of a JPEG, no more of them than anybody needs, and pixels to a JPEG: what `native/` does, for Python."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Sequence
from mmap import mmap
from typing import Final

from PIL import Image

from image_svc.pipeline import blocks, native
from image_svc.pipeline.geometry import Size
from image_svc.pipeline.headers.header import Header, Span, damaged, malformed, truncated

_MESSAGE_BYTES: Final = 200  # JMSG_LENGTH_MAX of jpeglib.h
# libjpeg can leave out what a half, a quarter or an eighth of the size does not show: it gives means of so many
# samples, where Lanczos would have looked further. The rest of the way is Lanczos' own, and must be so long that this
# cannot be seen any more: by so many times the picture is then to be larger than what is wanted, in each direction. On
# photos full of detail, up to 0.47 dB and 0.003 of SSIM are lost against a whole decode there, and 0.1 dB elsewhere.
_WAY_LEFT: Final = {8: 1.7, 4: 1.4, 2: 1.4}
# And of colours that are stored coarser than the luminance, there must be so many samples for a pixel that is wanted.
_COLOURS_LEFT: Final = 0.9
_DETAILS_END: Final = 8
_COMPONENTS: Final = {"L": 1, "RGB": 3, "CMYK": 4}


class _Order(ctypes.Structure):
    """`Order` of the C source, field for field."""

    _fields_ = (
        ("file", ctypes.c_void_p),
        ("spans", ctypes.POINTER(native.Span)),
        ("span_count", ctypes.c_uint64),
        ("width", ctypes.c_int32),
        ("height", ctypes.c_int32),
        ("components", ctypes.c_int32),
        ("denominator", ctypes.c_int32),
        ("holes", ctypes.c_int32),
        ("out_width", ctypes.c_int32),
        ("out_height", ctypes.c_int32),
        ("out", ctypes.c_void_p),
        ("status", ctypes.c_int32),
        ("missing", ctypes.c_int32),
        ("message", ctypes.c_char * _MESSAGE_BYTES),
    )


_DONE, _BROKEN, _NO_MEMORY, _FOREIGN = range(4)
_BLOCKS: Final = 1


class _Picture(ctypes.Structure):
    """`Picture` of the C source, field for field."""

    _fields_ = (
        ("pixels", ctypes.c_void_p),
        ("width", ctypes.c_int32),
        ("height", ctypes.c_int32),
        ("components", ctypes.c_int32),
        ("quality", ctypes.c_int32),
        ("sink", ctypes.c_int32),
        ("status", ctypes.c_int32),
        ("error", ctypes.c_int32),
        ("message", ctypes.c_char * _MESSAGE_BYTES),
    )


_WRITTEN, _FAILED, _NO_ROOM, _NOT_WRITTEN = range(4)


def reduced(data: mmap, header: Header, size: Size) -> Image.Image:
    """The stored picture in L, RGB or CMYK, as its components have it, reduced to `size` or as large as it is.

    Each component is reduced by a Lanczos filter from its own samples while it is decoded. Raises `Rejected`, and
    MemoryError.
    """
    if header.size is None or header.mode is None:
        raise ValueError("the header is not that of a JPEG")
    denominator = _denominator(header, size)
    spans = _without(header.details if denominator == _DETAILS_END else (), len(data))
    picture = blocks.blank(header.mode, size)
    with native.lent(data) as file:
        order = _Order(
            file=file,
            spans=native.spans(spans),
            span_count=len(spans),
            width=header.size[0],
            height=header.size[1],
            components=_COMPONENTS[header.mode],
            denominator=denominator,
            holes=header.forgiven,
            out_width=size[0],
            out_height=size[1],
        )
        with blocks.lent(picture) as order.out:
            native.library().darkroom_jpeg_reduce(ctypes.byref(order))
    if order.status == _NO_MEMORY:
        raise MemoryError
    if order.status == _FOREIGN:
        raise malformed("its header contradicts itself")
    if order.status != _DONE:
        raise malformed(f"cannot be decoded: {order.message.decode(errors='replace')}")
    if order.missing:
        raise truncated() if order.missing == _BLOCKS else damaged()
    return picture


def write(picture: Image.Image, quality: int, sink: int) -> None:
    """Writes an L or RGB picture to a descriptor, where its position is: baseline, 4:2:0, and with the Huffman codes
    that are best for it (4 % of the bytes for 1 of 9 ms at 2048 pixels).

    The bytes are Pillow's with `optimize`, which takes 16. Raises OSError, and MemoryError.
    """
    order = _Picture(
        width=picture.width,
        height=picture.height,
        components=_COMPONENTS[picture.mode],
        quality=quality,
        sink=sink,
    )
    with blocks.lent(picture) as order.pixels:
        native.library().darkroom_jpeg_write(ctypes.byref(order))
    if order.status == _NO_ROOM:
        raise MemoryError
    if order.status == _NOT_WRITTEN:
        raise OSError(order.error, os.strerror(order.error))
    if order.status != _WRITTEN:
        raise ValueError(f"libjpeg does not write it: {order.message.decode(errors='replace')}")


def _denominator(header: Header, size: Size) -> int:
    """By how much libjpeg may reduce, across and down, before our own filter goes on to `size`."""
    full = header.size or size
    for denominator, left in _WAY_LEFT.items():
        ratios = [there / denominator / wanted for there, wanted in zip(full, size, strict=True)]
        colours = [ratio / coarse for ratio, coarse in zip(ratios, header.coarsest, strict=True)]
        if min(ratios) >= left and min(colours) >= _COLOURS_LEFT:
            return denominator
    return 1


def _without(spans: Sequence[Span], size: int) -> list[Span]:
    """What is left of a file without these parts, which are in order and apart."""
    edges = [0, *(edge for span in spans for edge in span), size]
    return list(zip(edges[::2], edges[1::2], strict=True))
