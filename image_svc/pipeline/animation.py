"""The frames of an animation, for presets that keep it moving."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from PIL import Image

from image_svc.pipeline.decode import LARGEST_FRAME, Opened, frames
from image_svc.pipeline.geometry import Size
from image_svc.pipeline.presets import Preset
from image_svc.pipeline.types import Format

_MOVING: Final = frozenset({Format.GIF, Format.WEBP, Format.PNG, Format.AVIF})
# What may be decoded and made for one variant, in pixels over all frames: 4 and 1 of the 8 CPU seconds that a file has,
# and 128 MB for the frames, which the encoder takes together. A longer or larger animation shows its first frame.
_MOST_DECODED: Final = 400_000_000
_MOST_MADE: Final = 32_000_000
# Browsers show a frame that asks for no time, or less than they deem honest, for a tenth of a second.
_LEAST_MS: Final = 11
_USUAL_MS: Final = 100


@dataclass(frozen=True, slots=True)
class Animation:
    """RGBA frames of one size, for how many milliseconds each is shown, and how often all is (0: without end)."""

    frames: list[Image.Image]
    durations: list[int]
    loop: int


def moves(opened: Opened, preset: Preset, made: Size) -> bool:
    """Whether the variant of `made` pixels a frame is to be an animation."""
    area, count = opened.size[0] * opened.size[1], opened.frames
    return (
        preset.animated
        and 1 < count <= preset.max_frames
        and opened.format in _MOVING
        and area <= LARGEST_FRAME
        and area * count <= _MOST_DECODED
        and made[0] * made[1] * count <= _MOST_MADE
    )


def animate(opened: Opened, finish: Callable[[Image.Image], Image.Image]) -> Animation:
    """All frames, each as `finish` makes it of a stored one. Raises `Rejected` where one cannot be decoded."""
    all_made, durations = [], []
    for picture, milliseconds in frames(opened):
        made = finish(picture).convert("RGBA")
        made.info = {}
        all_made.append(made)
        durations.append(round(milliseconds) if milliseconds >= _LEAST_MS else _USUAL_MS)
    return Animation(all_made, durations, opened.loop)
