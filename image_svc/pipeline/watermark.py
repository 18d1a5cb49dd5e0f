"""A mark over the finished picture: the same for the same preset and size."""

from __future__ import annotations

import io
from typing import Final

from PIL import Image
from PIL.PngImagePlugin import PngImageFile

from image_svc.pipeline.color import resizable
from image_svc.pipeline.geometry import Size
from image_svc.pipeline.presets import Watermark

# What stays free between a mark and the edges, as a part of the picture's shorter side.
_MARGIN: Final = 1 / 40


def layer(mark: Watermark, canvas: Size) -> Image.Image:
    """A transparent RGBA picture of the canvas with the mark where it belongs: made once a variant."""
    with PngImageFile(io.BytesIO(mark.content)) as file:
        stamp = resizable(file).convert("RGBA")
    width = max(1, round(canvas[0] * mark.size / 100))
    height = max(1, round(width * stamp.height / stamp.width))
    if height > canvas[1]:
        width, height = max(1, round(canvas[1] * stamp.width / stamp.height)), canvas[1]
    stamp = stamp.resize((min(width, canvas[0]), height), Image.Resampling.LANCZOS)
    stamp.putalpha(stamp.getchannel("A").point([round(value * mark.opacity / 100) for value in range(256)]))
    whole = Image.new("RGBA", canvas, (0, 0, 0, 0))
    for place in _places(mark, canvas, stamp.size):
        whole.paste(stamp, place)
    return whole


def stamped(picture: Image.Image, whole: Image.Image) -> Image.Image:
    """An RGB or RGBA picture with the layer over it."""
    if picture.mode == "RGBA":
        return Image.alpha_composite(picture, whole)
    marked = picture.copy()
    marked.paste(whole, (0, 0), whole)
    return marked


def _places(mark: Watermark, canvas: Size, stamp: Size) -> list[tuple[int, int]]:
    spare = canvas[0] - stamp[0], canvas[1] - stamp[1]
    if mark.position == "tile":  # with as much between two as one takes, every other row by half
        across, down = 2 * stamp[0], 2 * stamp[1]
        rows = range(0, canvas[1], down)
        return [(x, y) for row, y in enumerate(rows) for x in range(-stamp[0] * (row % 2), canvas[0], across)]
    if mark.position == "center":
        return [(spare[0] // 2, spare[1] // 2)]
    margin = round(min(canvas) * _MARGIN)
    near = tuple(min(margin, space // 2) for space in spare)
    vertical, _, horizontal = mark.position.partition("-")
    return [
        (
            near[0] if horizontal == "left" else spare[0] - near[0],
            near[1] if vertical == "top" else spare[1] - near[1],
        )
    ]
