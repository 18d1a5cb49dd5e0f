"""ThumbHash: a placeholder of about 25 bytes. The public algorithm of https://github.com/evanw/thumbhash (MIT), written

anew with the cosine transform split into rows and columns, which makes it an order of magnitude cheaper in Python.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from operator import mul
from typing import NamedTuple

from PIL import Image


class _Channel(NamedTuple):
    dc: float
    ac: list[float]
    scale: float


def thumbhash(picture: Image.Image) -> bytes:
    """The ThumbHash of an RGB or RGBA picture of at most 100 x 100 pixels."""
    width, height = picture.size
    if width > 100 or height > 100:
        raise ValueError(f"{width}x{height} does not fit into 100x100")
    red, green, blue, *rest = ([v / 255 for v in band.tobytes()] for band in picture.split())
    alpha = rest[0] if rest else []
    opacity = sum(alpha)
    has_alpha = bool(alpha) and opacity < width * height
    if has_alpha:  # composite on the average colour
        red, green, blue = (_on_average(band, alpha, opacity) for band in (red, green, blue))
    limit = 5 if has_alpha else 7
    lx = max(1, _round(limit * width / max(width, height)))
    ly = max(1, _round(limit * height / max(width, height)))
    luminance = [(r + g + b) / 3 for r, g, b in zip(red, green, blue, strict=True)]
    yellow_blue = [(r + g) / 2 - b for r, g, b in zip(red, green, blue, strict=True)]
    red_green = [r - g for r, g in zip(red, green, strict=True)]
    l_channel = _encode(luminance, picture.size, max(3, lx), max(3, ly))
    p_channel = _encode(yellow_blue, picture.size, 3, 3)
    q_channel = _encode(red_green, picture.size, 3, 3)
    channels = [l_channel, p_channel, q_channel]
    landscape = width > height
    header24 = (
        _round(63 * l_channel.dc)
        | _round(31.5 + 31.5 * p_channel.dc) << 6
        | _round(31.5 + 31.5 * q_channel.dc) << 12
        | _round(31 * l_channel.scale) << 18
        | has_alpha << 23
    )
    header16 = (
        (ly if landscape else lx)
        | _round(63 * p_channel.scale) << 3
        | _round(63 * q_channel.scale) << 9
        | landscape << 15
    )
    header = header24.to_bytes(3, "little") + header16.to_bytes(2, "little")
    if has_alpha:
        a_channel = _encode(alpha, picture.size, 5, 5)
        channels.append(a_channel)
        header += bytes([_round(15 * a_channel.dc) | _round(15 * a_channel.scale) << 4])
    nibbles = [_round(15 * value) for channel in channels for value in channel.ac]
    nibbles += [0] * (len(nibbles) & 1)
    return header + bytes(low | high << 4 for low, high in zip(nibbles[::2], nibbles[1::2], strict=True))


def _round(value: float) -> int:
    """As JavaScript's Math.round, which the reference uses."""
    return math.floor(value + 0.5)


def _on_average(band: Sequence[float], alpha: Sequence[float], opacity: float) -> list[float]:
    average = sum(map(mul, band, alpha)) / opacity if opacity else 0.0
    return [average * (1 - a) + v * a for v, a in zip(band, alpha, strict=True)]


def _encode(band: Sequence[float], size: tuple[int, int], nx: int, ny: int) -> _Channel:
    """The lowest terms of a channel's cosine transform: the constant, the others scaled to 0..1, and that scale."""
    width, height = size
    columns = _cosines(width, nx)
    rows = [band[y * width : (y + 1) * width] for y in range(height)]
    along = [[sum(map(mul, row, cosines)) for row in rows] for cosines in columns]
    terms: list[float] = []
    for cy, cosines in enumerate(_cosines(height, ny)):
        for cx in range(nx):
            if cx * ny >= nx * (ny - cy):
                break
            terms.append(sum(map(mul, along[cx], cosines)) / (width * height))
    dc, ac = terms[0], terms[1:]
    scale = max(map(abs, ac), default=0.0)
    return _Channel(dc, [0.5 + 0.5 / scale * value for value in ac] if scale else ac, scale)


@functools.lru_cache(maxsize=16)
def _cosines(length: int, count: int) -> list[list[float]]:
    """So many waves, each at the middle of so many pixels. The same pictures' are asked for again by each channel, and
    those of the usual shapes of photos by each photo.
    """
    return [[math.cos(math.pi / length * wave * (at + 0.5)) for at in range(length)] for wave in range(count)]
