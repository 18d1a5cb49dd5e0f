"""ThumbHash: a placeholder of about 25 bytes. The public algorithm of https://github.com/evanw/thumbhash (MIT), written

anew with the cosine transform split into rows and columns, and taken of red, green and blue before they are mixed.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from operator import mul
from typing import Final, NamedTuple

from PIL import Image

from image_svc.pipeline import cosines

_Terms = list[list[float]]
# What a channel has of red, green and blue.
_LUMINANCE: Final = (1 / 3, 1 / 3, 1 / 3)
_YELLOW_BLUE: Final = (1 / 2, 1 / 2, -1.0)
_RED_GREEN: Final = (1.0, -1.0, 0.0)
# What a picture of one colour has left of its terms, by how sums round: the same hash on every machine.
_NOISE: Final = 1e-9


class _Channel(NamedTuple):
    dc: float
    ac: list[float]
    scale: float


def thumbhash(picture: Image.Image) -> bytes:
    """The ThumbHash of an RGB or RGBA picture of at most 100 x 100 pixels."""
    size = width, height = picture.size
    if width > 100 or height > 100:
        raise ValueError(f"{width}x{height} does not fit into 100x100")
    red, green, blue, *rest = [band.tobytes() for band in picture.split()]
    bands: Sequence[Iterable[float]] = (red, green, blue)
    alpha = [value / 255 for value in rest[0]] if rest else []
    has_alpha = bool(alpha) and sum(alpha) < width * height
    if has_alpha:  # composite on the average colour
        bands = [_on_average(band, alpha) for band in (red, green, blue)]
    limit = 5 if has_alpha else 7
    lx = max(1, _round(limit * width / max(width, height)))
    ly = max(1, _round(limit * height / max(width, height)))
    nx, ny = max(3, lx), max(3, ly)
    mixed = [cosines.terms(band, size, nx, ny) for band in bands]
    l_channel = _channel(_mixed(mixed, _LUMINANCE), nx, ny)
    p_channel = _channel(_mixed(mixed, _YELLOW_BLUE), 3, 3)
    q_channel = _channel(_mixed(mixed, _RED_GREEN), 3, 3)
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
        a_channel = _channel(cosines.terms(alpha, size, 5, 5), 5, 5)
        channels.append(a_channel)
        header += bytes([_round(15 * a_channel.dc) | _round(15 * a_channel.scale) << 4])
    nibbles = [_round(15 * value) for channel in channels for value in channel.ac]
    nibbles += [0] * (len(nibbles) & 1)
    return header + bytes(low | high << 4 for low, high in zip(nibbles[::2], nibbles[1::2], strict=True))


def _round(value: float) -> int:
    """As JavaScript's Math.round, which the reference uses."""
    return math.floor(value + 0.5)


def _on_average(band: bytes, alpha: Sequence[float]) -> list[float]:
    opacity = sum(alpha)
    average = sum(map(mul, band, alpha)) / opacity if opacity else 0.0
    return [average * (1 - a) + v * a for v, a in zip(band, alpha, strict=True)]


def _mixed(bands: Sequence[_Terms], weights: Sequence[float]) -> _Terms:
    """The terms of a sum of red, green and blue, each from 0 to 1: the same sum of theirs."""
    return [
        [sum(map(mul, three, weights)) / 255 for three in zip(*rows, strict=True)] for rows in zip(*bands, strict=True)
    ]


def _channel(terms: _Terms, nx: int, ny: int) -> _Channel:
    """The lowest terms of a channel: the constant, the others scaled to 0..1, and that scale."""
    dc, *ac = [terms[cy][cx] for cy in range(ny) for cx in range(nx) if cx * ny < nx * (ny - cy)]
    scale = max(map(abs, ac), default=0.0)
    if scale < _NOISE:
        return _Channel(dc, [0.0] * len(ac), 0.0)
    return _Channel(dc, [0.5 + 0.5 / scale * value for value in ac], scale)
