"""Plain Pillow as most code has it: everything decoded, each size resampled from all of it, default settings."""

from __future__ import annotations

import io
from pathlib import Path

import pillow_heif
from PIL import Image, ImageCms, ImageOps

from tests.bench.imaging.engines import wire

pillow_heif.register_heif_opener(thumbnails=False)
pillow_heif.options.DECODE_THREADS = 1
_SRGB = ImageCms.createProfile("sRGB")


def prepare(_: Path, out: Path, presets: wire.Presets) -> wire.Run:
    """Orientation, profile, then each preset."""

    def run(file: Path) -> None:
        with Image.open(file) as opened:
            picture = ImageOps.exif_transpose(opened)
        if profile := picture.info.get("icc_profile"):
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            picture = ImageCms.profileToProfile(picture, source, _SRGB, outputMode="RGB") or picture
        picture.info.pop("icc_profile", None)
        for preset in presets:
            box = preset["width"], preset["height"]
            if preset["fit"] == "cover":
                made = ImageOps.fit(picture, box, Image.Resampling.LANCZOS)
            elif picture.width <= box[0] and picture.height <= box[1]:
                made = picture
            else:
                made = ImageOps.contain(picture, box, Image.Resampling.LANCZOS)
            made.save(out / f"{preset['name']}.{preset['extension']}", quality=preset["quality"], exif=b"")

    return run


if __name__ == "__main__":
    wire.serve(prepare)
