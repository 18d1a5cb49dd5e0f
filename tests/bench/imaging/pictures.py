"""The photos of the bench: two real ones as they are, the others made of them, the same on every machine.

What is made keeps the grain of a camera: canvases are filled with mirrored copies, never by enlarging.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from PIL import Image

from deploy.setup.environments import ROOT
from image_svc.pipeline.heif import pillow_heif

_PHOTOS: Final = ROOT / "deploy" / "demo" / "photos"
_SAMSUNG: Final = _PHOTOS / "Samsung_SM-G935L_Galaxy_S7_Edge.jpg"
_APPLE: Final = _PHOTOS / "Apple_iPhone_5.jpg"
_HEIC: Final = _PHOTOS / "exif-at-eof.heic"
# What cameras write: a high quality with halved chroma.
_CAMERA: Final[dict[str, Any]] = {"quality": 92, "subsampling": "4:2:0"}


@dataclass(frozen=True)
class Photo:
    """One class of photos. `jpeg` and `heif` say which targets and which peers it is for."""

    name: str
    title: str
    file: Path
    jpeg: bool = False
    heif: bool = False


def photos(folder: Path) -> list[Photo]:
    """Every class, its files made in `folder` where they are not there yet."""
    folder.mkdir(parents=True, exist_ok=True)
    return [
        Photo("12mp-jpeg", "12 MP JPEG", _SAMSUNG, jpeg=True),
        Photo("8mp-jpeg", "8 MP JPEG", _APPLE, jpeg=True),
        Photo("24mp-jpeg", "24 MP JPEG", _made(folder / "24mp.jpg", _large), jpeg=True),
        Photo("24mp-progressive", "24 MP JPEG, progressive", _made(folder / "24mp-p.jpg", _progressive), jpeg=True),
        Photo("12mp-p3", "12 MP JPEG, Display P3", _made(folder / "12mp-p3.jpg", _display_p3), jpeg=True),
        Photo("2mp-jpeg", "2 MP JPEG", _made(folder / "2mp.jpg", _small), jpeg=True),
        Photo("4mp-png", "4 MP PNG", _made(folder / "4mp.png", _png)),
        Photo("2mp-webp", "2 MP WebP", _made(folder / "2mp.webp", _webp)),
        Photo("12mp-heic", "12 MP HEIC, Display P3", _HEIC, heif=True),
    ]


def tiny(folder: Path) -> Path:
    """A picture that costs nothing, to have an engine load all that it loads late."""
    return _made(folder / "tiny.jpg", lambda file: _crop(_SAMSUNG, (320, 240)).save(file, quality=90))


def _made(file: Path, make: Callable[[Path], None]) -> Path:
    if not file.exists():
        new = file.with_stem(f"new-{file.stem}")
        make(new)
        new.replace(file)
    return file


def _loaded(file: Path) -> Image.Image:
    with Image.open(file) as picture:
        return picture.convert("RGB")


def _clean(picture: Image.Image) -> Image.Image:
    picture.info = {}
    return picture


def _crop(file: Path, size: tuple[int, int]) -> Image.Image:
    picture = _loaded(file)
    left, top = (picture.width - size[0]) // 2, (picture.height - size[1]) // 2
    return _clean(picture.crop((left, top, left + size[0], top + size[1])))


def _mirrored(size: tuple[int, int]) -> Image.Image:
    """A canvas of a photo and, to its right and below, of the same photo mirrored."""
    photo = _loaded(_SAMSUNG)
    across = photo.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    canvas = Image.new("RGB", size)
    for x, copy in ((0, photo), (photo.width, across)):
        canvas.paste(copy, (x, 0))
        canvas.paste(copy.transpose(Image.Transpose.FLIP_TOP_BOTTOM), (x, photo.height))
    return canvas


def _large(file: Path) -> None:
    _mirrored((6000, 4000)).save(file, **_CAMERA)


def _progressive(file: Path) -> None:
    _mirrored((6000, 4000)).save(file, progressive=True, **_CAMERA)


def _display_p3(file: Path) -> None:
    picture = pillow_heif.open_heif(_HEIC)
    image = picture.to_pillow()
    profile = image.info["icc_profile"]
    _clean(image.convert("RGB")).save(file, icc_profile=profile, **_CAMERA)


def _small(file: Path) -> None:
    _clean(_loaded(_APPLE).resize((1632, 1224), Image.Resampling.LANCZOS)).save(file, **_CAMERA)


def _png(file: Path) -> None:
    _crop(_SAMSUNG, (2464, 1640)).save(file)


def _webp(file: Path) -> None:
    _clean(_loaded(_APPLE).resize((1632, 1224), Image.Resampling.LANCZOS)).save(file, quality=90)
