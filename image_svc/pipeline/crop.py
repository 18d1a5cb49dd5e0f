"""Where to cut when a box does not have the picture's shape."""

from __future__ import annotations

from itertools import accumulate
from typing import Final

from PIL import Image, ImageChops, ImageFilter

from image_svc.pipeline.geometry import Size

# Detail is looked for in a copy of this many pixels a side: finer texture (grass, noise) should not count.
_SIDE: Final = 96
# What a window at the very edge loses against a centred one: without a clear reason, the middle is right.
_CENTRE_BIAS: Final = 0.35


def window(picture: Image.Image, size: Size) -> tuple[int, int]:
    """The left and top edge of the most telling part of `size` pixels of an RGB or RGBA picture.

    Tells by detail (edges of the luminance) and by colour (saturation), summed along the axis that has room to spare;
    the same picture always gives the same answer.
    """
    spare = picture.width - size[0], picture.height - size[1]
    if spare[0] <= 0 and spare[1] <= 0:
        return 0, 0
    scale = min(1.0, _SIDE / max(picture.size))
    small = picture.resize(
        (max(1, round(picture.width * scale)), max(1, round(picture.height * scale))), Image.Resampling.BOX
    )
    interest = _interest(small)
    left = _best(interest.resize((small.width, 1), Image.Resampling.BOX), picture.width, size[0])
    top = _best(interest.resize((1, small.height), Image.Resampling.BOX), picture.height, size[1])
    return left, top


def _interest(small: Image.Image) -> Image.Image:
    """How much each pixel matters, as a grey picture."""
    rgb = small.convert("RGB")
    edges = rgb.convert("L").filter(ImageFilter.FIND_EDGES)
    if min(edges.size) > 2:  # the filter leaves the border pixels as they were
        edges = edges.crop((1, 1, edges.width - 1, edges.height - 1)).resize(edges.size, Image.Resampling.NEAREST)
    red, green, blue = rgb.split()
    saturation = ImageChops.subtract(
        ImageChops.lighter(ImageChops.lighter(red, green), blue), ImageChops.darker(ImageChops.darker(red, green), blue)
    )
    interest = ImageChops.add(edges, saturation.point([value // 4 for value in range(256)]))
    if small.mode == "RGBA":
        interest = ImageChops.multiply(interest, small.getchannel("A"))
    return interest


def _best(profile: Image.Image, whole: int, part: int) -> int:
    """Where a window of `part` of `whole` pixels should start, given the interest along that axis."""
    spare = whole - part
    if spare <= 0:
        return 0
    values = list(profile.tobytes())
    sums = [0, *accumulate(values)]
    cells = len(values)

    def upto(position: float) -> float:
        at = min(position / whole * cells, cells)
        index = min(int(at), cells - 1)
        return sums[index] + (at - index) * values[index]

    steps = min(spare, cells)

    def score(step: int) -> tuple[float, float]:
        start = spare * step / steps
        off_centre = abs(2 * step / steps - 1)
        inside = upto(start + part) - upto(start)
        return inside * (1 - _CENTRE_BIAS * off_centre * off_centre), -off_centre

    return round(spare * max(range(steps + 1), key=score) / steps)
