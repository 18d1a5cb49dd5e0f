"""What is remembered of a picture: its placeholder, its colour and a hash that finds its copies."""

from __future__ import annotations

from typing import Final

from PIL import Image, ImageStat

from image_svc.pipeline import cosines
from image_svc.pipeline.geometry import inside
from image_svc.pipeline.thumbhash import thumbhash

# The side of the copy that facts are computed from: enough for all three.
PROBE_SIDE: Final = 256
# Cells that a placeholder can show are a seventh of a side; this samples each one more than four times.
_THUMBHASH_SIDE: Final = 32
_COLOR_SIDE: Final = 64
# Kinds of colours, cubes of RGB: a cut at medians would make them all as large as each other, and which is the largest
# a matter of chance. (It would take 1.0 ms, too, a thirtieth of what a thumbnail alone does; this takes 0.2.)
_COLORS: Final = 8
# pHash (https://www.phash.org, Zauner 2010): 8x8 terms of a 32x32 cosine transform, without its first row and column.
_HASH_SIDE: Final = 32
_HASH_TERMS: Final = 8
_WHITE: Final = (255, 255, 255)


def placeholder(picture: Image.Image) -> bytes:
    """The ThumbHash of an RGB or RGBA picture."""
    return thumbhash(picture.resize(inside(picture.size, _THUMBHASH_SIDE), Image.Resampling.BOX))


def dominant_color(picture: Image.Image) -> str:
    """The colour that most of the picture has, `#rrggbb`: the median of its largest kind; transparent is white."""
    small = flatten(picture.resize(inside(picture.size, _COLOR_SIDE), Image.Resampling.BOX), _WHITE)
    kinds = small.quantize(_COLORS, Image.Quantize.FASTOCTREE)
    sizes = kinds.histogram()
    largest = sizes.index(max(sizes))
    # Not the mean: of a drawing on white it would be a grey, for what lies along its edges.
    red, green, blue = ImageStat.Stat(small, kinds.point([255 * (kind == largest) for kind in range(256)], "L")).median
    return f"#{red:02x}{green:02x}{blue:02x}"


def perceptual_hash(picture: Image.Image) -> int:
    """64 bits that differ in few places between copies of a picture of other sizes, formats and qualities."""
    side = (_HASH_SIDE, _HASH_SIDE)
    grey = flatten(picture, _WHITE).convert("L").resize(side, Image.Resampling.BOX)
    rows = cosines.terms(grey.tobytes(), side, _HASH_TERMS + 1, _HASH_TERMS + 1)
    terms = [term for row in rows[1:] for term in row[1:]]
    ordered = sorted(terms)
    median = (ordered[31] + ordered[32]) / 2
    bits = 0
    for term in terms:
        bits = bits << 1 | (term > median)
    return bits


def flatten(picture: Image.Image, background: tuple[int, int, int]) -> Image.Image:
    """The picture as RGB, its transparent parts on a colour."""
    if picture.mode == "RGBA":
        ground = Image.new("RGB", picture.size, background)
        ground.paste(picture, mask=picture.getchannel("A"))
        return ground
    return picture if picture.mode == "RGB" else picture.convert("RGB")
