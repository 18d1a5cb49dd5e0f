"""Sizes: how large each variant becomes, and how much of the original it takes. Whole numbers from the original's own

dimensions, never from an intermediate copy (chained rounding gives 426 for 427).
"""

from __future__ import annotations

from dataclasses import dataclass

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
    box = preset.width, preset.height
    wider = box[0] * original[1] > box[1] * original[0]
    # Along which side picture and box shall be equal: a wider box is filled by its width, and fitted by its height.
    side = 0 if wider is (preset.fit == "cover") else 1
    enlarged = box[side] > original[side]
    if preset.fit == "cover":
        if enlarged and not preset.enlarge:
            # The box shrinks, and keeps its shape as far as the picture goes.
            window = min(box[0], original[0]), min(box[1], original[1])
            return Plan(preset, original, window, window)
        whole = scaled(original, box[side], original[side])
        return Plan(preset, (max(whole[0], box[0]), max(whole[1], box[1])), box, box)
    whole = original if enlarged and not preset.enlarge else scaled(original, box[side], original[side])
    return Plan(preset, whole, whole, box if preset.fit == "pad" else whole)


def scaled(size: Size, parts: int, of: int) -> Size:
    """A size times parts / of, rounded half up, at least one pixel. In whole numbers, so that it is exact."""
    return max(1, (2 * size[0] * parts + of) // (2 * of)), max(1, (2 * size[1] * parts + of) // (2 * of))


def inside(original: Size, side: int) -> Size:
    """The size of a copy whose longer side is at most `side`."""
    longer = max(original)
    return scaled(original, min(side, longer), longer)


def covers(size: Size, other: Size) -> bool:
    """Whether a copy of one size is enough to make one of another from it."""
    return size[0] >= other[0] and size[1] >= other[1]
