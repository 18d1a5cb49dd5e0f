"""Small pictures of every accepted type, drawn here; each call with another `seed` gives other bytes."""

from __future__ import annotations

import io
import random
from typing import Any

import pillow_avif  # noqa: F401  # importing it teaches Pillow AVIF
from PIL import ExifTags, Image

from image_svc.pipeline.heif import pillow_heif

pillow_heif.register_heif_opener()

# Content type -> Pillow's name of the format.
TYPES = {
    "image/jpeg": "JPEG",
    "image/png": "PNG",
    "image/webp": "WEBP",
    "image/gif": "GIF",
    "image/avif": "AVIF",
    "image/heic": "HEIF",
    "image/tiff": "TIFF",
}


def picture(content_type: str = "image/jpeg", *, seed: int = 0, size: tuple[int, int] = (320, 240)) -> bytes:
    """A file of that type. A JPEG says that it is to be turned, and where it was taken."""
    image = drawn(seed, size)
    out = io.BytesIO()
    more: dict[str, Any] = {}
    if content_type == "image/jpeg":
        more["exif"] = _telltale().tobytes()
    image.save(out, TYPES[content_type], **more)
    return out.getvalue()


def drawn(seed: int, size: tuple[int, int]) -> Image.Image:
    """A gradient in a colour of its own, with a few rectangles."""
    random_ = random.Random(seed)
    image = Image.merge("RGB", [Image.linear_gradient("L").rotate(90 * n).resize(size) for n in range(3)])
    for _ in range(5):
        x, y = random_.randrange(size[0]), random_.randrange(size[1])
        image.paste(tuple(random_.randrange(256) for _ in range(3)), (x, y, x + size[0] // 5, y + size[1] // 5))
    return image


def _telltale() -> Image.Exif:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    exif[ExifTags.Base.Make] = "Telltale"
    gps = exif.get_ifd(ExifTags.IFD.GPSInfo)
    gps[ExifTags.GPS.GPSLatitudeRef] = "N"
    gps[ExifTags.GPS.GPSLatitude] = (37.0, 33.0, 59.0)
    return exif
