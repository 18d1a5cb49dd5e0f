"""pyvips as its authors advise: shrink while loading, and each size from the next larger one. `… EFFORT` for WebP."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pyvips

from tests.bench.imaging.engines import wire


def prepare_with(effort: int) -> wire.Prepare:
    """`effort` is libwebp's method."""

    def prepare(_: Path, out: Path, presets: wire.Presets) -> wire.Run:
        def run(file: Path) -> None:
            picture: Any = None
            for preset in presets:
                options: dict[str, Any] = {"height": preset["height"], "size": "down"}
                if preset["fit"] == "cover":
                    options["crop"] = "centre"
                if picture is None:
                    if pyvips.Image.new_from_file(str(file)).get_typeof("icc-profile-data"):
                        options["output_profile"] = "srgb"  # four times the CPU where there is no profile to convert
                    made = pyvips.Image.thumbnail(str(file), preset["width"], **options)
                else:
                    made = picture.thumbnail_image(preset["width"], **options)
                picture = made.copy_memory()
                target = str(out / f"{preset['name']}.{preset['extension']}")
                if preset["format"] == "jpeg":
                    picture.jpegsave(target, Q=preset["quality"], optimize_coding=True, keep="none")
                else:
                    picture.webpsave(target, Q=preset["quality"], effort=effort, keep="none")

        return run

    return prepare


if __name__ == "__main__":
    wire.serve(prepare_with(int(sys.argv[1])))
