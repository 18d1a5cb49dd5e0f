"""What a file says about itself: read from the bytes, for originals and variants alike, to show what was taken out."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from typing import Any, Final

import pillow_heif
from PIL import ExifTags, Image, ImageCms

_PREVIEW: Final = 1280  # pixels, the longer side: the page holds everything, so it must not hold 12 MP twice
_ORIENTATIONS: Final = {1: "upright", 3: "upside down", 6: "turned left", 8: "turned right"}

pillow_heif.register_heif_opener()


@dataclass(frozen=True)
class Facts:
    """What one image file holds."""

    format: str
    width: int
    height: int
    size: int  # bytes
    camera: str
    taken: str
    place: str  # GPS latitude and longitude, "" without
    orientation: str
    profile: str  # "" without
    metadata: tuple[str, ...]  # kinds of metadata inside: EXIF, GPS, XMP, ICC, comment, ...


def read(content: bytes) -> Facts:
    """The facts of an image file. Raises Pillow's errors for what is none."""
    with Image.open(io.BytesIO(content)) as image:
        exif = image.getexif()
        gps: dict[int, Any] = dict(exif.get_ifd(ExifTags.IFD.GPSInfo))
        inside = exif.get_ifd(ExifTags.IFD.Exif)
        kinds = {
            "EXIF": bool(exif),
            "GPS": bool(gps),
            "MakerNote": ExifTags.Base.MakerNote in inside,
            "XMP": "xmp" in image.info,
            "IPTC": "photoshop" in image.info,
            "colour profile": bool(image.info.get("icc_profile")),
            "comment": "comment" in image.info,
        }
        return Facts(
            format=image.format or "?",
            width=image.width,
            height=image.height,
            size=len(content),
            camera=_camera(_text(exif.get(ExifTags.Base.Make)), _text(exif.get(ExifTags.Base.Model))),
            taken=_text(inside.get(ExifTags.Base.DateTimeOriginal)),
            place=_place(gps),
            orientation=_ORIENTATIONS.get(int(exif.get(ExifTags.Base.Orientation, 1)), "mirrored"),
            profile=_profile(image.info.get("icc_profile")),
            metadata=tuple(name for name, there in kinds.items() if there),
        )


def preview(content: bytes) -> str:
    """The pixels as they are stored, as a data URL of a small JPEG that any browser shows (none shows HEIC)."""
    with Image.open(io.BytesIO(content)) as image:
        profile = image.info.get("icc_profile")
        pixels: Image.Image = image.convert("RGB")
        pixels.thumbnail((_PREVIEW, _PREVIEW))
        out = io.BytesIO()
        pixels.save(out, "JPEG", quality=82, icc_profile=profile)
    return data_url("image/jpeg", out.getvalue())


def data_url(content_type: str, content: bytes) -> str:
    """Bytes as a URL that needs no server."""
    return f"data:{content_type};base64,{base64.b64encode(content).decode()}"


def _text(value: object) -> str:
    return str(value).strip("\0 ") if value else ""


def _camera(make: str, model: str) -> str:
    """Some makers repeat their name in the model's."""
    return model if model.startswith(make) else f"{make} {model}"


def _place(gps: dict[int, Any]) -> str:
    try:
        parts = []
        for value, reference in (
            (ExifTags.GPS.GPSLatitude, ExifTags.GPS.GPSLatitudeRef),
            (ExifTags.GPS.GPSLongitude, ExifTags.GPS.GPSLongitudeRef),
        ):
            degrees, minutes, seconds = (float(part) for part in gps[value])
            parts.append(f"{degrees + minutes / 60 + seconds / 3600:.5f}\N{DEGREE SIGN} {gps[reference]}")
        return " ".join(parts)
    except (KeyError, ValueError, TypeError, ZeroDivisionError):
        return "in a form unknown here" if gps else ""


def _profile(icc: bytes | None) -> str:
    if not icc:
        return ""
    try:
        return ImageCms.getProfileDescription(ImageCms.ImageCmsProfile(io.BytesIO(icc))).strip()
    except ImageCms.PyCMSError:
        return "unreadable"
