"""Colour: any profile to sRGB, any mode to 8-bit L, RGB or RGBA."""

from __future__ import annotations

import functools
import io
from typing import Final

from PIL import Image, ImageCms

from image_svc.pipeline import spaces, table
from image_svc.pipeline.types import Reason, Rejected

# Which profiles fit which pixels, by the colour space in the profile's header (ICC.1:2022, 7.2.6).
_SPACES: Final = {"L": "GRAY", "RGB": "RGB ", "RGBA": "RGB ", "CMYK": "CMYK"}
# A profile that shows none of these colours further than this from where sRGB, Display P3 or Adobe RGB shows it is that
# space for our purpose, whatever it calls itself.
_SAME: Final = 1
_STEPS: Final = (0, 16, 48, 96, 144, 192, 224, 255)
_SIXTEEN_BIT: Final = frozenset({"I;16", "I;16B", "I;16L", "I;16N"})


def resizable(picture: Image.Image) -> Image.Image:
    """The decoded picture in a mode that can be resampled without loss of meaning: L, RGB, RGBA or CMYK.

    Palettes are looked up, colour keys become alpha, 16-bit greys are scaled (not clipped) to 8. Raises `Rejected` for
    samples that have no agreed range (32-bit integers, floats).
    """
    transparent = "transparency" in picture.info
    mode = picture.mode
    if mode in _SIXTEEN_BIT:
        picture = _eight_bit(picture)
    elif mode == "LAB":
        picture = _from_lab(picture)
    elif mode == "1":
        picture = picture.convert("RGBA" if transparent else "L")
    elif mode in {"P", "PA"}:
        picture = picture.convert("RGBA" if transparent or mode == "PA" else "RGB")
    elif mode in {"LA", "La", "RGBa"} or (transparent and mode in {"L", "RGB"}):
        picture = picture.convert("RGBA")
    elif mode in {"YCbCr", "RGBX"}:
        picture = picture.convert("RGB")
    elif mode not in _SPACES:
        raise Rejected(Reason.UNSUPPORTED_FORMAT, f"Pixels of the kind {mode} are not accepted.")
    return picture


def _eight_bit(picture: Image.Image) -> Image.Image:
    wide = picture.convert("I")
    grey = wide.point([(value * 255 + 32767) // 65535 for value in range(65536)], "L")
    key = picture.info.get("transparency")
    if not isinstance(key, int):
        return grey
    opaque = wide.point([0 if value == key else 255 for value in range(65536)], "L")
    del wide  # twice the picture, which would lie beside what is put together
    return Image.merge("RGBA", (grey, grey, grey, opaque))


def _from_lab(picture: Image.Image) -> Image.Image:
    """CIE L*a*b* of a TIFF as sRGB: it cannot be resampled as it is, for two of its channels are signed."""
    target = ImageCms.createProfile("sRGB")
    transform = ImageCms.buildTransform(ImageCms.createProfile("LAB"), target, "LAB", "RGB")
    return ImageCms.applyTransform(picture, transform) or picture.convert("RGB")


def to_srgb(picture: Image.Image, profile: bytes | None) -> Image.Image:
    """The picture (L, RGB, RGBA, CMYK) as L, RGB or RGBA in sRGB; a profile that is broken or unfit is ignored."""
    if profile:
        if picture.mode == "L" and profile[16:20] == b"RGB ":  # grey pixels whose tones the profile describes, too
            picture = picture.convert("RGB")
        transform = _transform(picture.mode, profile)
        if transform is not None:
            return table.converted(picture, transform) or ImageCms.applyTransform(picture, transform) or picture
    return picture.convert("RGB") if picture.mode == "CMYK" else picture


def prepare() -> None:
    """Makes what photos of common colour spaces share: 20 ms once, instead of 10 for each."""
    for _, transform in _common():
        table.prepare("RGB", transform)


@functools.lru_cache(maxsize=1)  # the frames of an animation share one profile
def _transform(mode: str, profile: bytes) -> ImageCms.ImageCmsTransform | None:
    """The way from a profile to sRGB; `None` where there is none, or nothing to do."""
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if source.profile.xcolor_space != _SPACES[mode]:
            return None
        if mode != "CMYK":
            seen = _seen(_built(source, mode, ImageCms.Flags.NOOPTIMIZE), mode)
            if _same(seen, _probe(mode).convert("RGBA" if mode == "RGBA" else "RGB").tobytes()):
                return None
            # An image must be of the mode that the transform was made for: Pillow 12.1.1 does not check it.
            for common, transform in _common() if mode == "RGB" else ():
                if _same(seen, common):
                    return transform
        return _built(source, mode)
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return None


def _built(
    source: ImageCms.ImageCmsProfile, mode: str, flags: ImageCms.Flags = ImageCms.Flags.NONE
) -> ImageCms.ImageCmsTransform:
    """From a profile to sRGB. lcms2 prepares for many pixels, which takes 4 ms, unless `flags` say NOOPTIMIZE."""
    output = "RGBA" if mode == "RGBA" else "RGB"
    return ImageCms.buildTransform(source, _target(), mode, output, ImageCms.Intent.PERCEPTUAL, flags)


@functools.cache
def _target() -> ImageCms.ImageCmsProfile:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))


@functools.cache
def _common() -> tuple[tuple[bytes, ImageCms.ImageCmsTransform], ...]:
    """Display P3 and Adobe RGB: what the probe looks like in sRGB, by which they are known, and the way there."""
    transforms = [
        _built(ImageCms.ImageCmsProfile(io.BytesIO(profile)), "RGB")
        for profile in (spaces.display_p3(), spaces.adobe_rgb())
    ]
    return tuple((_seen(transform, "RGB"), transform) for transform in transforms)


@functools.cache
def _probe(mode: str) -> Image.Image:
    """Colours by which one transform is told from another."""
    colors = (
        bytes(v for v in _STEPS)
        if mode == "L"
        else bytes(
            v for r in _STEPS for g in _STEPS for b in _STEPS for v in ((r, g, b) if mode == "RGB" else (r, g, b, 255))
        )
    )
    return Image.frombytes(mode, (len(colors) // len(mode), 1), colors)


def _seen(transform: ImageCms.ImageCmsTransform, mode: str) -> bytes:
    """The probe through a transform."""
    after = ImageCms.applyTransform(_probe(mode), transform)
    return after.tobytes() if after else b""


def _same(these: bytes, those: bytes) -> bool:
    return len(these) == len(those) and all(abs(a - b) <= _SAME for a, b in zip(these, those, strict=True))
