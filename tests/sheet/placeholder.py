"""What a client shows while a picture loads: the reverse of a ThumbHash."""

from __future__ import annotations

import math
from typing import Final

from PIL import Image

_SIDE: Final = 32


def shown(hash_: bytes) -> Image.Image:
    """The picture that a ThumbHash stands for, RGBA, as `thumbHashToRGBA` of https://github.com/evanw/thumbhash."""
    header24 = int.from_bytes(hash_[:3], "little")
    header16 = int.from_bytes(hash_[3:5], "little")
    has_alpha, landscape = header24 >> 23, header16 >> 15
    lx = max(3, (5 if has_alpha else 7) if landscape else header16 & 7)
    ly = max(3, header16 & 7 if landscape else (5 if has_alpha else 7))
    nibbles = [half for byte in hash_[6 if has_alpha else 5 :] for half in (byte & 15, byte >> 4)]

    def channel(nx: int, ny: int, scale: float) -> list[tuple[int, int, float]]:
        terms = []
        for cy in range(ny):
            for cx in range(0 if cy else 1, nx):
                if cx * ny >= nx * (ny - cy):
                    break
                terms.append((cx, cy, (nibbles.pop(0) / 7.5 - 1) * scale))
        return terms

    luminance = channel(lx, ly, (header24 >> 18 & 31) / 31)
    yellow_blue = channel(3, 3, (header16 >> 3 & 63) / 63 * 1.25)
    red_green = channel(3, 3, (header16 >> 9 & 63) / 63 * 1.25)
    alpha = channel(5, 5, (hash_[5] >> 4) / 15) if has_alpha else []
    constants = (header24 & 63) / 63, (header24 >> 6 & 63) / 31.5 - 1, (header24 >> 12 & 63) / 31.5 - 1
    opacity = (hash_[5] & 15) / 15 if has_alpha else 1.0
    ratio = lx / ly
    width, height = (_SIDE, max(1, round(_SIDE / ratio))) if ratio > 1 else (max(1, round(_SIDE * ratio)), _SIDE)

    def at(terms: list[tuple[int, int, float]], constant: float, x: int, y: int) -> float:
        return constant + 2 * sum(
            value * math.cos(math.pi / width * (x + 0.5) * cx) * math.cos(math.pi / height * (y + 0.5) * cy)
            for cx, cy, value in terms
        )

    pixels = bytearray()
    for y in range(height):
        for x in range(width):
            light, yellow, red = (
                at(terms, constant, x, y)
                for terms, constant in zip((luminance, yellow_blue, red_green), constants, strict=True)
            )
            blue = light - 2 / 3 * yellow
            mixed = (3 * light - blue + red) / 2
            values = (mixed, mixed - red, blue, at(alpha, opacity, x, y))
            pixels += bytes(round(255 * min(1.0, max(0.0, value))) for value in values)
    return Image.frombytes("RGBA", (width, height), bytes(pixels))
