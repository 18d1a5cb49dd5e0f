"""Colour spaces that a file names without a profile, as ICC profiles: one way to sRGB for all.

HEIC, AVIF and PNG name them by the code points of ITU-T H.273 (the same as ISO/IEC 23091-2), PNG by numbers too.
"""

from __future__ import annotations

import functools
import math
import struct
from collections.abc import Callable, Mapping
from typing import Any, Final

Matrix = tuple[tuple[float, float, float], ...]
# x and y of red, green, blue and white.
Primaries = tuple[float, float, float, float, float, float, float, float]

_D65: Final = (0.3127, 0.3290)
_BT709: Final[Primaries] = (0.640, 0.330, 0.300, 0.600, 0.150, 0.060, *_D65)
# H.273, table 2. 2 says nothing; what is not here is rare enough to be shown as it is.
_PRIMARIES: Final[dict[int, Primaries]] = {
    1: _BT709,
    2: _BT709,
    4: (0.67, 0.33, 0.21, 0.71, 0.14, 0.08, 0.310, 0.316),
    5: (0.64, 0.33, 0.29, 0.60, 0.15, 0.06, *_D65),
    6: (0.630, 0.340, 0.310, 0.595, 0.155, 0.070, *_D65),
    7: (0.630, 0.340, 0.310, 0.595, 0.155, 0.070, *_D65),
    9: (0.708, 0.292, 0.170, 0.797, 0.131, 0.046, *_D65),
    11: (0.680, 0.320, 0.265, 0.690, 0.150, 0.060, 0.314, 0.351),
    12: (0.680, 0.320, 0.265, 0.690, 0.150, 0.060, *_D65),
    22: (0.630, 0.340, 0.295, 0.605, 0.155, 0.077, *_D65),
}
# An entry for each 8-bit value and three between.
_STEPS: Final = 255 * 4
# cd/m2 of white paper in high dynamic range (ITU-R BT.2408, 2.1), and the peak of the display that HLG is made for.
_WHITE: Final = 203.0
_HLG_PEAK: Final = 1000.0
# Up to here, as a part of white, high dynamic range is shown as it is; what is brighter is bent towards white.
_KNEE: Final = 0.7
# ICC.1:2022: D50 of the connection space, and the Bradford transform to it (annex E).
_D50: Final = (0.9642, 1.0, 0.8249)
_BRADFORD: Final[Matrix] = ((0.8951, 0.2664, -0.1614), (-0.7502, 1.7135, 0.0367), (0.0389, -0.0685, 1.0296))
# PNG's numbers are as good as sRGB's when they are this close; libpng takes the same share for the exponent.
_CLOSE: Final = 0.003
_CLOSE_GAMMA: Final = 0.05
_GAMMAS: Final = (0.1, 10.0)


def of_code_points(primaries: int, transfer: int) -> bytes | None:
    """The profile of what H.273's numbers name; None for sRGB, for what they leave open and for unknown ones."""
    chromaticities = _PRIMARIES.get(primaries)
    if chromaticities is None:
        return None
    # The video curves (1, 6, 14, 15) are meant for displays that show them as sRGB is shown.
    curve = _CURVES.get(transfer, _srgb)
    return None if chromaticities == _BT709 and curve is _srgb else _profile(chromaticities, curve)


def display_p3() -> bytes:
    """The profile of what recent telephones and screens show (SMPTE EG 432-1 with sRGB's curve)."""
    return _profile(_PRIMARIES[12], _srgb)


def adobe_rgb() -> bytes:
    """The profile of the space that cameras offer beside sRGB (Adobe RGB (1998), 4.3)."""
    return _profile((0.64, 0.33, 0.21, 0.71, 0.15, 0.06, *_D65), _power(563 / 256))


def of_png(info: Mapping[Any, Any]) -> bytes | None:
    """The profile of a PNG's `gAMA` and `cHRM`, from Pillow's `info`; None for sRGB and for numbers without sense."""
    if "srgb" in info:
        return None
    exponent, chromaticities = info.get("gamma"), info.get("chromaticity")
    curve: Callable[[float], float] = _srgb
    if isinstance(exponent, float) and _GAMMAS[0] <= exponent <= _GAMMAS[1] and abs(exponent * 2.2 - 1) > _CLOSE_GAMMA:
        curve = _power(1 / exponent)
    primaries = _BT709
    if isinstance(chromaticities, tuple) and len(chromaticities) == 8:
        white, others = chromaticities[:2], chromaticities[2:]
        primaries = (*others, *white)
    if max(abs(a - b) for a, b in zip(primaries, _BT709, strict=True)) < _CLOSE:
        return None if curve is _srgb else _profile(_BT709, curve)
    try:
        return _profile(primaries, curve)
    except (ArithmeticError, struct.error):
        return None


def _srgb(value: float) -> float:
    """IEC 61966-2-1."""
    return value / 12.92 if value <= 0.04045 else float(((value + 0.055) / 1.055) ** 2.4)


@functools.cache
def _power(exponent: float) -> Callable[[float], float]:
    return lambda value: float(value**exponent)


def _pq(value: float) -> float:
    """SMPTE ST 2084, shown on a display that knows no brighter white than paper."""
    root = value ** (1 / 78.84375)
    nits = 10_000 * (max(root - 0.8359375, 0) / (18.8515625 - 18.6875 * root)) ** (1 / 0.1593017578125)
    return _bent(nits / _WHITE)


def _hlg(value: float) -> float:
    """ITU-R BT.2100 HLG, shown likewise."""
    scene = value * value / 3 if value <= 0.5 else (math.exp((value - 0.55991073) / 0.17883277) + 0.28466892) / 12
    return _bent(scene**1.2 * _HLG_PEAK / _WHITE)


def _bent(light: float) -> float:
    if light <= _KNEE:
        return light
    return _KNEE + (1 - _KNEE) * (1 - math.exp(-(light - _KNEE) / (1 - _KNEE)))


# H.273, table 3.
_CURVES: Final[dict[int, Callable[[float], float]]] = {
    4: _power(2.2),
    5: _power(2.8),
    8: _power(1.0),
    16: _pq,
    17: _power(2.6),
    18: _hlg,
}


@functools.lru_cache(maxsize=4)
def _profile(primaries: Primaries, curve: Callable[[float], float]) -> bytes:
    """A matrix profile (ICC.1:2022, 8.3): primaries, and how values stand for light, both from 0 to 1."""
    columns = _columns(primaries)
    light = [min(65535, max(0, round(65535 * curve(step / _STEPS)))) for step in range(_STEPS + 1)]
    tone = struct.pack(f">4s4xI{len(light)}H", b"curv", len(light), *light)
    tags = [(name, _xyz(column)) for name, column in zip((b"rXYZ", b"gXYZ", b"bXYZ"), columns, strict=True)]
    tags += [(b"wtpt", _xyz(_D50)), (b"rTRC", tone), (b"gTRC", tone), (b"bTRC", tone)]
    table, body = struct.pack(">I", len(tags)), b""
    start = 128 + 4 + 12 * len(tags)
    for name, content in tags:
        padded = content + bytes(-len(content) % 4)
        table += struct.pack(">4sII", name, start + len(body), len(content))
        body += padded
    header = struct.pack(
        ">I4x4s4s4s4s12x4s4x16x4x3i",
        start + len(body),
        b"\x04\x40\0\0",
        b"mntr",
        b"RGB ",
        b"XYZ ",
        b"acsp",
        *_fixed(_D50),
    )
    return header.ljust(128, b"\0") + table + body


def _columns(primaries: Primaries) -> Matrix:
    """What a full red, green and blue are in the connection space."""
    *xy, wx, wy = primaries
    corners = [(x / y, 1.0, (1 - x - y) / y) for x, y in zip(xy[::2], xy[1::2], strict=True)]
    white = (wx / wy, 1.0, (1 - wx - wy) / wy)
    across = _transposed(corners)
    shares = _times(_inverse(across), white)
    scale = [to / of for to, of in zip(_times(_BRADFORD, _D50), _times(_BRADFORD, white), strict=True)]
    back = _inverse(_BRADFORD)
    result = []
    for corner, share in zip(corners, shares, strict=True):
        cone = _times(_BRADFORD, tuple(value * share for value in corner))
        result.append(_times(back, tuple(value * by for value, by in zip(cone, scale, strict=True))))
    return tuple(result)


def _transposed(rows: Any) -> Matrix:
    return tuple(zip(*rows, strict=True))


def _times(matrix: Any, vector: Any) -> tuple[float, float, float]:
    a, b, c = (sum(x * y for x, y in zip(row, vector, strict=True)) for row in matrix)
    return a, b, c


def _inverse(m: Any) -> Matrix:
    """By cofactors. Raises ZeroDivisionError where there is none."""
    (a, b, c), (d, e, f), (g, h, i) = m
    one = a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g)
    return (
        ((e * i - f * h) / one, (c * h - b * i) / one, (b * f - c * e) / one),
        ((f * g - d * i) / one, (a * i - c * g) / one, (c * d - a * f) / one),
        ((d * h - e * g) / one, (b * g - a * h) / one, (a * e - b * d) / one),
    )


def _xyz(values: Any) -> bytes:
    return struct.pack(">4s4x3i", b"XYZ ", *_fixed(values))


def _fixed(values: Any) -> tuple[int, ...]:
    return tuple(round(value * 65536) for value in values)
