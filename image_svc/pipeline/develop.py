"""The pipeline: one pass from a file to its facts and variants.

The pixels are decoded once, no larger than the largest variant needs; each smaller copy is made from the next larger
one; colour is converted after the first reduction, when there is less of it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from mmap import ACCESS_READ, mmap

from PIL import Image

from image_svc.pipeline import animation, crop, facts, watermark
from image_svc.pipeline.caps import Caps
from image_svc.pipeline.color import to_srgb
from image_svc.pipeline.decode import Opened, open_file, pixels
from image_svc.pipeline.encode import encode, encode_animation, rgb
from image_svc.pipeline.geometry import Plan, Size, covers, inside, plan
from image_svc.pipeline.presets import Preset
from image_svc.pipeline.types import Facts, Made, Reason, Rejected


@dataclass(frozen=True, slots=True)
class Result:
    """What was seen and made; one for each preset, in their order."""

    facts: Facts
    made: tuple[Made, ...]


def develop(
    source: int, announced_content_type: str | None, presets: Sequence[Preset], sinks: Sequence[int], caps: Caps
) -> Result:
    """Develops the file behind a descriptor and writes each preset's variant to the descriptor of the same place.

    Raises `Rejected`; MemoryError where the address space is used up.
    """
    size = os.fstat(source).st_size
    if size == 0:
        raise Rejected(Reason.NOT_AN_IMAGE, "The file is empty.")
    with mmap(source, size, access=ACCESS_READ) as data:
        opened = open_file(data, announced_content_type, caps)
        plans = [plan(preset, opened.upright) for preset in presets]
        probe = inside(opened.upright, facts.PROBE_SIDE)
        sizes = sorted({probe, *(each.whole for each in plans)}, key=lambda whole: (-whole[0] * whole[1], whole))
        needed = (max(whole[0] for whole in sizes), max(whole[1] for whole in sizes))
        made: dict[int, Made] = {}
        for size_, copy in _copies(opened, pixels(opened, needed, size, caps), sizes):
            if size_ == probe:
                small = copy
            for place, each in enumerate(plans):
                if each.whole == size_:
                    made[place] = _variant(opened, each, copy, sinks[place])
            del copy  # it need not outlive the next one's making
        seen = Facts(
            format=opened.format,
            width=opened.upright[0],
            height=opened.upright[1],
            frames=opened.frames,
            thumbhash=facts.placeholder(small),
            color=facts.dominant_color(small),
            perceptual_hash=facts.perceptual_hash(small),
        )
    return Result(seen, tuple(made[place] for place in range(len(plans))))


def _copies(opened: Opened, stored: Image.Image, sizes: Sequence[Size]) -> Iterator[tuple[Size, Image.Image]]:
    """An upright copy in sRGB for each size, the largest first, each from the smallest that serves.

    An enlarged one serves nobody else: it has lost what lies between its pixels. One that serves all who come is the
    only one that is kept: what the others leave need not be cleared by the kernel again.
    """
    copies: dict[Size, Image.Image] = {}
    source: Image.Image | None = stored
    del stored
    for number, size in enumerate(sizes):
        larger = [copy for copy in copies.values() if covers(copy.size, size) and covers(opened.upright, copy.size)]
        serves_all = covers(opened.upright, size) and all(covers(size, other) for other in sizes[number + 1 :])
        if larger or source is None:
            half = _across(min(larger, key=lambda copy: copy.width * copy.height), size)
            larger.clear()
            if serves_all:  # before there is a third one, in whose place the next can come to lie
                copies.clear()
            copy = _resized(half, size)
            del half
        else:
            copy = _first(opened, source, size)
        if serves_all:
            copies.clear()
            source = None
        copies[size] = copy
        yield size, copy
        del copy


def _first(opened: Opened, stored: Image.Image, size: Size) -> Image.Image:
    """The stored picture in an upright size, in sRGB, as RGB or RGBA, and with nothing of the file but its pixels.

    Every later copy is made of this one, and Pillow hands `info` (EXIF, profile, comment) on from copy to copy and
    into what it saves.
    """
    picture = opened.turn(to_srgb(_resized(stored, opened.stored(size)), opened.profile))
    if picture is opened.picture:  # neither reduced nor turned: without the file behind it, which saving would ask for
        # An animation's reader paints the next frame over these pixels; nobody else does.
        picture = picture.copy() if opened.frames > 1 else picture._new(picture.im)
    if picture.mode not in {"RGB", "RGBA"}:
        picture = picture.convert("RGB")
    picture.info = {}
    return picture


def _resized(picture: Image.Image, size: Size) -> Image.Image:
    return picture if picture.size == size else picture.resize(size, Image.Resampling.LANCZOS)


def _across(picture: Image.Image, size: Size) -> Image.Image:
    """The first half of what `_resized` does, with the same pixels in the end, where it can be had by itself: not of
    what is transparent, whose colours are weighed anew each time.
    """
    return picture if picture.mode == "RGBA" else _resized(picture, (size[0], picture.height))


def _variant(opened: Opened, each: Plan, copy: Image.Image, sink: int) -> Made:
    preset = each.preset
    corner = crop.window(copy, each.window) if each.window != each.whole else (0, 0)
    mark = watermark.layer(preset.watermark, each.canvas) if preset.watermark else None

    def finished(picture: Image.Image) -> Image.Image:
        fitted = _fitted(picture, each, corner)
        return watermark.stamped(fitted, mark) if mark else fitted

    if animation.moves(opened, preset, each.canvas):
        moving = animation.animate(opened, lambda frame: finished(_first(opened, frame, each.whole)))
        encode_animation(moving, preset, sink)
    else:
        encode(finished(copy), preset, sink)
    return Made(*each.canvas)


def _fitted(picture: Image.Image, each: Plan, corner: tuple[int, int]) -> Image.Image:
    """The part of a scaled picture that the variant shows, on its canvas."""
    left, top = corner
    if each.window != each.whole:
        picture = picture.crop((left, top, left + each.window[0], top + each.window[1]))
    if each.canvas == picture.size:
        return picture
    ground = Image.new("RGB", each.canvas, rgb(each.preset.background))
    place = ((each.canvas[0] - picture.width) // 2, (each.canvas[1] - picture.height) // 2)
    ground.paste(picture, place, picture.getchannel("A") if picture.mode == "RGBA" else None)
    return ground
