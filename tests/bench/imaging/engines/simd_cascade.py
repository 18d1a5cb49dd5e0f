"""pillow-simd with every lever of its own: JPEGs shrunk while they load, colours converted after the first reduction,

each size from the next larger one, WebP method 2. The best that ready-made parts give.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pillow_heif
from PIL import Image, ImageCms, ImageOps

from tests.bench.imaging.engines import wire

pillow_heif.register_heif_opener(thumbnails=False)
pillow_heif.options.DECODE_THREADS = 1
_SRGB = ImageCms.createProfile("sRGB")
_ORIENTATION, _LYING = 0x0112, range(5, 9)  # EXIF: width and height change places
_OPTIONS: dict[str, dict[str, Any]] = {"jpeg": {"optimize": True}, "webp": {"method": 2}}


def prepare(_: Path, out: Path, presets: wire.Presets) -> wire.Run:
    """The largest first."""

    def run(file: Path) -> None:
        picture, original = _largest(file, (presets[0]["width"], presets[0]["height"]))
        for preset in presets:
            box = preset["width"], preset["height"]
            if preset["fit"] == "cover":
                picture = ImageOps.fit(picture, box, Image.Resampling.LANCZOS)
            elif picture.size != (size := _inside(original, box)):
                picture = picture.resize(size, Image.Resampling.LANCZOS)
            target = out / f"{preset['name']}.{preset['extension']}"
            picture.save(target, quality=preset["quality"], **_OPTIONS[preset["format"]])

    return run


def _inside(size: tuple[int, int], box: tuple[int, int]) -> tuple[int, int]:
    """From the original's size: rounded from step to step, 427 becomes 426."""
    scale = min(1.0, box[0] / size[0], box[1] / size[1])
    return int(size[0] * scale + 0.5), int(size[1] * scale + 0.5)


def _largest(file: Path, box: tuple[int, int]) -> tuple[Image.Image, tuple[int, int]]:
    """The picture upright, in sRGB, inside the box, and with no notes; and its size before it was reduced."""
    with Image.open(file) as opened:
        original = opened.size
        turned = opened.getexif().get(_ORIENTATION) in _LYING and opened.format == "JPEG"
        size = _inside(original, (box[1], box[0]) if turned else box)
        opened.draft(None, size)
        picture: Image.Image = opened.resize(size, Image.Resampling.LANCZOS) if opened.size != size else opened.copy()
    picture = ImageOps.exif_transpose(picture)
    if profile := picture.info.get("icc_profile"):
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        picture = ImageCms.profileToProfile(picture, source, _SRGB, outputMode="RGB") or picture
    picture.info = {}
    return picture, (original[1], original[0]) if turned else original


if __name__ == "__main__":
    wire.serve(prepare)
