"""Sizes: how large each variant becomes, and how much of the original it takes. Whole numbers from the original's own

dimensions, never from an intermediate copy (chained rounding gives 426 for 427).
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from image_svc.pipeline.presets import Preset

Size = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Plan:
    """For one preset: `whole` is the size to which the whole picture is scaled, `window` what is cut out of that (the

    same for `inside`), and `canvas` what the variant measures in the end (larger than the window for `pad`).
    """

    preset: Preset
    whole: Size
    window: Size
    canvas: Size


def plan(preset: Preset, original: Size) -> Plan:
    """The sizes of one variant of an upright original."""
    width, height = original
    box = preset.width, preset.height
    across, down = Fraction(box[0], width), Fraction(box[1], height)
    if preset.fit == "cover":
        scale = max(across, down)
        if not preset.enlarge and scale > 1:
            # The box shrinks, and keeps its shape as far as the picture goes.
            return Plan(preset, original, window := (min(box[0], width), min(box[1], height)), window)
        whole = scaled(original, scale)
        return Plan(preset, (max(whole[0], box[0]), max(whole[1], box[1])), box, box)
    scale = min(across, down)
    if not preset.enlarge:
        scale = min(scale, Fraction(1))
    whole = scaled(original, scale)
    return Plan(preset, whole, whole, box if preset.fit == "pad" else whole)


def scaled(size: Size, scale: Fraction) -> Size:
    """A size times a scale, rounded half up, at least one pixel."""
    return max(1, int(size[0] * scale + Fraction(1, 2))), max(1, int(size[1] * scale + Fraction(1, 2)))


def inside(original: Size, side: int) -> Size:
    """The size of a copy whose longer side is at most `side`."""
    return scaled(original, min(Fraction(1), Fraction(side, max(original))))


def covers(size: Size, other: Size) -> bool:
    """Whether a copy of one size is enough to make one of another from it."""
    return size[0] >= other[0] and size[1] >= other[1]
