"""How near a variant is to what the best possible reduction of the photo would be."""

from __future__ import annotations

import io
import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageCms, ImageOps

from image_svc.pipeline.encode import encode
from image_svc.pipeline.geometry import plan
from image_svc.pipeline.heif import pillow_heif
from image_svc.pipeline.presets import Preset

Floats = npt.NDArray[np.float64]

pillow_heif.register_heif_opener(thumbnails=False)
_PEAK: Final = 255.0
# Wang et al., "Image quality assessment: from error visibility to structural similarity", 2004: the constants; windows
# of 7 x 7 with equal weights, as scikit-image has them.
_C1: Final = (0.01 * _PEAK) ** 2
_C2: Final = (0.03 * _PEAK) ** 2
_WINDOW: Final = 7


@dataclass(frozen=True)
class Quality:
    """Of one variant: bytes, PSNR of the RGB samples in dB, SSIM of the luminance."""

    bytes: int
    psnr: float
    ssim: float


def psnr(a: Image.Image, b: Image.Image) -> float:
    """Peak signal to noise ratio over all samples, in dB; infinite for equal pictures. Raises ValueError on sizes."""
    if a.size != b.size:
        raise ValueError(f"{a.size} and {b.size} cannot be compared")
    error = float(np.mean((np.asarray(a, np.float32) - np.asarray(b, np.float32)) ** 2))
    return math.inf if error == 0 else 10 * math.log10(_PEAK**2 / error)


def ssim(a: Image.Image, b: Image.Image) -> float:
    """Mean structural similarity of the luminance, 1 for equal pictures. Raises ValueError on sizes."""
    if a.size != b.size:
        raise ValueError(f"{a.size} and {b.size} cannot be compared")
    x, y = (np.asarray(each.convert("L"), np.float64) for each in (a, b))
    mean_x, mean_y = _windows(x), _windows(y)
    samples = _WINDOW * _WINDOW
    unbiased = samples / (samples - 1)
    variance_x = unbiased * (_windows(x * x) - mean_x * mean_x)
    variance_y = unbiased * (_windows(y * y) - mean_y * mean_y)
    covariance = unbiased * (_windows(x * y) - mean_x * mean_y)
    top = (2 * mean_x * mean_y + _C1) * (2 * covariance + _C2)
    bottom = (mean_x * mean_x + mean_y * mean_y + _C1) * (variance_x + variance_y + _C2)
    return float(np.mean(top / bottom))


def _windows(values: Floats) -> Floats:
    """The mean of every whole window."""
    sums = np.zeros((values.shape[0] + 1, values.shape[1] + 1))
    np.cumsum(np.cumsum(values, 0), 1, out=sums[1:, 1:])
    n = _WINDOW
    total: Floats = sums[n:, n:] - sums[:-n, n:] - sums[n:, :-n] + sums[:-n, :-n]
    return total / (n * n)


class Reference:
    """A photo as it should be: all of it decoded, upright, converted to sRGB, then reduced in one step by Lanczos."""

    def __init__(self, file: Path) -> None:
        with Image.open(file) as opened:
            picture = ImageOps.exif_transpose(opened)
        if profile := picture.info.get("icc_profile"):
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            target = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
            picture = ImageCms.profileToProfile(picture, source, target, outputMode="RGB") or picture
        self._picture = picture.convert("RGB")
        self._reduced: dict[tuple[int, int], Image.Image] = {}

    def judge(self, file: Path, preset: Preset) -> Quality:
        """The quality of a preset's variant. Of a square one, wherever its engine has cut it."""
        with Image.open(file) as opened:
            made = opened.convert("RGB")
        expected = plan(preset, self._picture.size)
        if made.size != expected.canvas:
            raise ValueError(f"{file} measures {made.size}, not {expected.canvas}")
        whole = self._whole(expected.whole)
        if expected.window != expected.whole:
            whole = _found(whole, made)
        return Quality(file.stat().st_size, psnr(whole, made), ssim(whole, made))

    def ideal(self, file: Path, preset: Preset) -> Quality:
        """The quality of the reference itself in our encoding, where it is cut as `file` is."""
        with Image.open(file) as opened:
            made = opened.convert("RGB")
        expected = plan(preset, self._picture.size)
        whole = self._whole(expected.whole)
        best = (_found(whole, made) if expected.window != expected.whole else whole).copy()
        best.info = {}
        descriptor = os.memfd_create("ideal")
        encode(best, preset, descriptor)
        with os.fdopen(descriptor, "rb") as encoded:
            size = encoded.seek(0, os.SEEK_END)
            with Image.open(encoded) as opened:
                again = opened.convert("RGB")
        return Quality(size, psnr(best, again), ssim(best, again))

    def _whole(self, size: tuple[int, int]) -> Image.Image:
        if size not in self._reduced:
            self._reduced[size] = self._picture.resize(size, Image.Resampling.LANCZOS)
        return self._reduced[size]


def _found(whole: Image.Image, part: Image.Image) -> Image.Image:
    """The part of a picture that is most like another one."""
    places = [
        (left, top) for left in range(whole.width - part.width + 1) for top in range(whole.height - part.height + 1)
    ]
    crops = (whole.crop((left, top, left + part.width, top + part.height)) for left, top in places)
    return max(crops, key=lambda crop: psnr(crop, part))
