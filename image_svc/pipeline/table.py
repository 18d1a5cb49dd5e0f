"""A colour transform looked up in a table: for a large picture a quarter of what lcms2 takes for each pixel."""

from __future__ import annotations

import functools
from array import array
from typing import Final

from PIL import Image, ImageChops, ImageCms, ImageFilter

# 255 / 51 = 5: every node is a value that a sample can have. Fewer nodes are coarser, and no faster to look up.
_SIDE: Final = 52
_STEP: Final = 5
# The table and its test cost 7 ms, which is what lcms2 takes for so many pixels (16 ns each; the table takes 4).
_LEAST_PIXELS: Final = 600_000
# A table is a little off where a transform bends: at the edge of what sRGB can show, and in the dark where curves are
# steep. Tried on so many of the picture's own pixels, it may be off by 0.8 of 255 levels in the root mean square (50
# dB, of which encoding at quality 80 leaves 38) and by 12 in no sample; otherwise lcms2 does the work.
_TRIED: Final = (128, 96)
_MOST_RMS: Final = 0.8
_MOST_OFF: Final = 12


def converted(picture: Image.Image, transform: ImageCms.ImageCmsTransform) -> Image.Image | None:
    """An RGB or RGBA picture through a transform to the same mode, alpha as it is; `None` where lcms2 should do it."""
    if picture.mode not in {"RGB", "RGBA"} or picture.width * picture.height < _LEAST_PIXELS:
        return None
    table = _table(picture.mode, transform)
    sample = picture.resize(_TRIED, Image.Resampling.NEAREST)
    exact = ImageCms.applyTransform(sample, transform)
    if exact is None:
        return None
    off = ImageChops.difference(exact.convert("RGB"), sample.filter(table).convert("RGB")).histogram()
    counts = [sum(off[level::256]) for level in range(256)]
    squares = sum(count * level * level for level, count in enumerate(counts))
    if squares > _MOST_RMS**2 * sum(counts) or any(counts[_MOST_OFF + 1 :]):
        return None
    return picture.filter(table)


def prepare(mode: str, transform: ImageCms.ImageCmsTransform) -> None:
    """Makes the table of a transform that many pictures will share."""
    _table(mode, transform)


@functools.lru_cache(maxsize=3)  # those of two common spaces, and one that the frames of an animation share
def _table(mode: str, transform: ImageCms.ImageCmsTransform) -> ImageFilter.Color3DLUT:
    values = bytes(range(0, 256, _STEP))
    size = _SIDE, _SIDE * _SIDE
    channels = [
        values * (_SIDE * _SIDE),  # red changes first, blue last
        b"".join(bytes([value]) * _SIDE for value in values) * _SIDE,
        b"".join(bytes([value]) * (_SIDE * _SIDE) for value in values),
    ]
    nodes = Image.merge("RGB", [Image.frombytes("L", size, channel) for channel in channels]).convert(mode)
    made = (ImageCms.applyTransform(nodes, transform) or nodes).convert("RGB").tobytes()
    scaled = Image.frombytes("L", (len(made), 1), made).convert("F").point(lambda value: value * (1 / 255))
    # Without the flag Pillow would make a list of the 421,824 numbers. It takes any buffer of floats.
    return ImageFilter.Color3DLUT(_SIDE, array("f", scaled.tobytes()), _copy_table=False)
