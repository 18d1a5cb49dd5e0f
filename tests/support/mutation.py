"""Mutated files: seeds of every format and layout, and changes of the kinds that find faults in parsers."""

from __future__ import annotations

import random
import zlib
from collections.abc import Callable
from typing import Final

import numpy as np
from PIL import Image

from image_svc.pipeline import spaces
from tests.support import hostile, rasters
from tests.support.developing import DATA, drawn, encoded

_LARGEST_SEED: Final = 60_000
# Values at the edges of what fields hold.
_EDGES: Final = (
    0,
    1,
    0x7F,
    0x80,
    0xFF,
    0x7FFF,
    0x8000,
    0xFFFF,
    0x10000,
    0x7FFFFFFF,
    0x80000000,
    0xFFFFFFFE,
    0xFFFFFFFF,
)
_MOST_CHANGES: Final = 6
_MOST_COPIED: Final = 2_000


def seeds() -> dict[str, list[bytes]]:
    """Small honest files by format; each holds what its format can, profiles and notes too."""
    picture = drawn((96, 72))
    noise = Image.blend(picture, Image.effect_noise(picture.size, 70).convert("RGB"), 0.4)
    clear = noise.copy()
    clear.putalpha(Image.radial_gradient("L").resize(noise.size))
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010F] = "Telltale"
    notes = {"exif": exif.tobytes(), "icc_profile": _profile()}
    pixels = np.array(noise)
    made = {
        "JPEG": [
            encoded(noise, "JPEG", **notes),
            encoded(noise, "JPEG", progressive=True, comment=b"a note"),
            encoded(noise, "JPEG", restart_marker_blocks=2, subsampling=0),
            encoded(noise.convert("L"), "JPEG"),
            encoded(noise.convert("CMYK"), "JPEG"),
        ],
        "PNG": [
            encoded(clear, "PNG", **notes),
            encoded(noise.quantize(32), "PNG", transparency=3),
            rasters.png(pixels.astype(np.uint16) * 257, 16, interlaced=True),
            rasters.png(pixels[:, :, :1] >> 4, 4, interlaced=True),
            hostile.moving("PNG"),
        ],
        "WEBP": [
            encoded(clear, "WEBP", **notes),
            encoded(clear, "WEBP", lossless=True),
            encoded(noise, "WEBP"),
            hostile.moving("WEBP"),
        ],
        "GIF": [encoded(noise, "GIF"), encoded(noise, "GIF", interlace=0, comment=b"a note"), hostile.moving("GIF")],
        "AVIF": [encoded(clear, "AVIF", **notes), encoded(noise, "AVIF"), hostile.moving("AVIF", 3)],
        "HEIF": [encoded(clear, "HEIF", **notes), encoded(noise, "HEIF", tile_size=32), encoded(noise, "HEIF")],
        "TIFF": [
            encoded(noise, "TIFF", compression=compression, **notes)
            for compression in (None, "tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg")
        ]
        + [
            rasters.tiff(pixels.astype(np.uint16) * 257, rasters.RGB, order=">", planar=True, tile=32, deflate=True),
            rasters.tiff(pixels[:, :, :1], rasters.PALETTE, tags=[(320, 3, list(range(768)))]),
            encoded(noise.convert("1"), "TIFF", compression="group4"),
            encoded(noise, "TIFF", big_tiff=True),
        ],
    }
    for path in sorted(DATA.iterdir()):
        format_ = {".jpg": "JPEG", ".png": "PNG"}.get(path.suffix)
        if format_ and path.stat().st_size <= _LARGEST_SEED:
            made[format_].append(path.read_bytes())
    return made


def _profile() -> bytes:
    """One that is not sRGB's, so that it is applied."""
    return spaces.of_code_points(9, 4) or b""


def mutated(random_: random.Random, format_: str, all_seeds: dict[str, list[bytes]]) -> bytes:
    """One mutated file of a format; the same for the same state of `random_`."""
    own = all_seeds[format_]
    content = bytearray(random_.choice(own))
    for _ in range(random_.randint(1, _MOST_CHANGES)):
        if not content:
            break
        random_.choice(_CHANGES)(random_, content, own)
    if format_ == "PNG" and random_.random() < 0.8:  # else its check sums would stop nearly all at the door
        content = bytearray(_with_check_sums(bytes(content)))
    return bytes(content)


def _flip(random_: random.Random, content: bytearray, _: list[bytes]) -> None:
    at = random_.randrange(len(content))
    content[at] ^= 1 << random_.randrange(8)


def _bytes(random_: random.Random, content: bytearray, _: list[bytes]) -> None:
    at = random_.randrange(len(content))
    count = random_.randint(1, 16)
    content[at : at + count] = random_.randbytes(count)


def _edge(random_: random.Random, content: bytearray, _: list[bytes]) -> None:
    width = random_.choice((1, 2, 4))
    at = _near_the_start(random_, content)
    value = random_.choice(_EDGES) & ((1 << 8 * width) - 1)
    content[at : at + width] = value.to_bytes(width, random_.choice(("big", "little")))


def _small_step(random_: random.Random, content: bytearray, _: list[bytes]) -> None:
    at = _near_the_start(random_, content)
    content[at] = (content[at] + random_.randint(-4, 4)) & 0xFF


def _cut(random_: random.Random, content: bytearray, _: list[bytes]) -> None:
    at = random_.randrange(len(content))
    del content[at : at + random_.randint(1, _MOST_COPIED)]


def _repeat(random_: random.Random, content: bytearray, _: list[bytes]) -> None:
    at, to = random_.randrange(len(content)), random_.randrange(len(content))
    content[to:to] = content[at : at + random_.randint(1, _MOST_COPIED)] * random_.choice((1, 1, 2, 20))


def _end(random_: random.Random, content: bytearray, _: list[bytes]) -> None:
    del content[random_.randrange(1, len(content) + 1) :]


def _hole(random_: random.Random, content: bytearray, _: list[bytes]) -> None:
    at = random_.randrange(len(content))
    count = random_.randint(1, _MOST_COPIED)
    content[at : at + count] = bytes(min(count, len(content) - at))


def _of_another(random_: random.Random, content: bytearray, own: list[bytes]) -> None:
    other = random_.choice(own)
    at, of = random_.randrange(len(content)), random_.randrange(len(other))
    part = other[of : of + random_.randint(1, _MOST_COPIED)]
    content[at : at + len(part)] = part


def _near_the_start(random_: random.Random, content: bytearray) -> int:
    """Half of the places are in the first quarter of a kilobyte, where the headers are."""
    return random_.randrange(min(len(content), 256) if random_.random() < 0.5 else len(content))


_CHANGES: Final[tuple[Callable[[random.Random, bytearray, list[bytes]], None], ...]] = (
    _flip,
    _flip,
    _bytes,
    _edge,
    _edge,
    _edge,
    _small_step,
    _small_step,
    _cut,
    _repeat,
    _end,
    _hole,
    _of_another,
)


def _with_check_sums(png: bytes) -> bytes:
    """The PNG with the check sum that each of its chunks should have, as far as they can be told apart."""
    fixed, at = png[:8], 8
    while at + 12 <= len(png):
        length = int.from_bytes(png[at : at + 4], "big")
        if at + 12 + length > len(png):
            break
        body = png[at + 4 : at + 8 + length]
        fixed += png[at : at + 4] + body + zlib.crc32(body).to_bytes(4, "big")
        at += 12 + length
    return fixed + png[at:]
