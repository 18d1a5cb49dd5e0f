"""The job that every engine does: the presets that come with the code, each made of each photo."""

from __future__ import annotations

from typing import Any

import msgspec

from image_svc.pipeline.caps import Caps
from image_svc.pipeline.presets import Preset, default_presets
from image_svc.sandbox.types import SandboxLimits


def eager_presets() -> tuple[Preset, ...]:
    """2048 as JPEG, 1280 and 640 as WebP, and a square of 256 as WebP, all at quality 80."""
    return tuple(preset for preset in default_presets() if preset.eager)


def as_plain(presets: tuple[Preset, ...]) -> list[dict[str, Any]]:
    """The presets as JSON for engines that know nothing of ours, the largest first: a cascade needs that order."""
    ordered = sorted(presets, key=lambda preset: -preset.width * preset.height)
    return [msgspec.to_builtins(preset) | {"extension": preset.extension} for preset in ordered]


def from_plain(presets: list[dict[str, Any]]) -> tuple[Preset, ...]:
    """The other way round."""
    return msgspec.convert([{k: v for k, v in one.items() if k != "extension"} for one in presets], tuple[Preset, ...])


def caps() -> Caps:
    """The sandbox's caps, for developing in process."""
    limits = SandboxLimits()
    return Caps(
        max_pixels=limits.max_pixels,
        max_frames=limits.max_frames,
        max_scans=limits.max_scans,
        max_inflated_bytes=limits.max_inflated_bytes,
        memory_bytes=limits.address_space_bytes,
    )
