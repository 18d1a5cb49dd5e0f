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
        picture = _largest(file, (presets[0]["width"], presets[0]["height"]))
        for preset in presets:
            box = preset["width"], preset["height"]
            if preset["fit"] == "cover":
                picture = ImageOps.fit(picture, box, Image.Resampling.LANCZOS)
            elif picture.width > box[0] or picture.height > box[1]:
                picture = ImageOps.contain(picture, box, Image.Resampling.LANCZOS)
            target = out / f"{preset['name']}.{preset['extension']}"
            picture.save(target, quality=preset["quality"], **_OPTIONS[preset["format"]])

    return run


def _largest(file: Path, box: tuple[int, int]) -> Image.Image:
    """Upright, in sRGB, inside the box, and with no notes."""
    with Image.open(file) as opened:
        if opened.getexif().get(_ORIENTATION) in _LYING and opened.format == "JPEG":
            box = box[1], box[0]
        scale = min(1.0, box[0] / opened.width, box[1] / opened.height)
        size = round(opened.width * scale), round(opened.height * scale)
        opened.draft(None, size)
        picture: Image.Image = opened.resize(size, Image.Resampling.LANCZOS) if opened.size != size else opened.copy()
    picture = ImageOps.exif_transpose(picture)
    if profile := picture.info.get("icc_profile"):
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        picture = ImageCms.profileToProfile(picture, source, _SRGB, outputMode="RGB") or picture
    picture.info = {}
    return picture


if __name__ == "__main__":
    wire.serve(prepare)
