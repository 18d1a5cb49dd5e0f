"""Pictures of every format and mode just below the caps: what these admit must fit into the memory limit."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

import numpy as np
from PIL import Image

from image_svc.pipeline.presets import Preset
from image_svc.sandbox import Sandbox
from tests.support import rasters
from tests.support.developing import encoded
from tests.support.trial import Trial, attempt

_GRAIN: Final = Image.effect_noise((97, 97), 60).convert("RGB")
_FLAT: Final = (9, 99, 200, 120)
_CAP: Final = re.compile(r"at most (\d+) megapixels")
_ROUNDED: Final = 0.45

Maker = Callable[[int], bytes]


def _image(mode: str, side: int) -> Image.Image:
    grain = _GRAIN.quantize(64) if mode == "P" else _GRAIN.convert(mode)
    return grain.resize((side, side), Image.Resampling.NEAREST)


def _written(mode: str, format_: str, **options: Any) -> Maker:
    return lambda side: encoded(_image(mode, side), format_, **options)


def _flat(mode: str, format_: str, **options: Any) -> Maker:
    """Of one colour: video encoders take their time for anything else."""
    return lambda side: encoded(Image.new(mode, (side, side), _FLAT[: len(mode)]), format_, **options)


def _samples(mode: str, side: int, *, deep: bool) -> Any:
    samples = np.array(_image(mode, side)).reshape(side, side, -1)
    return samples.astype(np.uint16) * 257 if deep else samples


def _png(mode: str, *, deep: bool = False, **options: Any) -> Maker:
    return lambda side: rasters.png(_samples(mode, side, deep=deep), 16 if deep else 8, **options)


def _tiff(mode: str, photometric: int, *, deep: bool = False, **options: Any) -> Maker:
    return lambda side: rasters.tiff(_samples(mode, side, deep=deep), photometric, **options)


_ALPHA: Final = [(338, 3, [2])]
# With the megapixels to begin with: their cap, or as many as any file may have; a refusal says how many its kind may
# have, rounded down. Those whose files take seconds to make are tried by `make fuzz-imaging` only.
QUICK: Final[dict[str, tuple[float, Maker]]] = {
    "JPEG": (99.9, _written("RGB", "JPEG", subsampling=0, quality=50)),
    "progressive JPEG": (99.9, _written("RGB", "JPEG", subsampling=0, quality=50, progressive=True)),
    "PNG with alpha": (84.4, _written("RGBA", "PNG", compress_level=1)),
    "grey PNG with alpha": (57.4, _written("LA", "PNG", compress_level=1)),
    "WebP": (99.9, _written("RGB", "WEBP", method=0, quality=30)),
    "GIF": (75.4, _written("P", "GIF")),
    "16-bit TIFF in planes": (34.9, _tiff("RGB", rasters.RGB, deep=True, planar=True)),
}
SLOW: Final[dict[str, tuple[float, Maker]]] = {
    "PNG, palette with transparency": (75.4, _written("P", "PNG", compress_level=1, transparency=3)),
    "AVIF": (49.4, _flat("RGB", "AVIF", speed=10, quality=30)),
    "TIFF with alpha in tiles": (56.9, _tiff("RGBA", rasters.RGB, tile=256, deflate=True, tags=_ALPHA)),
    "grey JPEG": (99.9, _written("L", "JPEG", quality=50)),
    "JPEG of inks": (99.9, _written("CMYK", "JPEG", quality=50)),
    "progressive JPEG of inks": (99.9, _written("CMYK", "JPEG", quality=50, progressive=True)),
    "grey PNG": (99.9, _written("L", "PNG", compress_level=1)),
    "PNG of one bit": (99.9, _written("1", "PNG", compress_level=1)),
    "PNG with a palette": (99.9, _written("P", "PNG", compress_level=1)),
    "PNG": (99.9, _written("RGB", "PNG", compress_level=1)),
    "PNG with a colour for none": (99.9, _written("RGB", "PNG", compress_level=1, transparency=(1, 2, 3))),
    "16-bit grey PNG": (99.9, _png("L", deep=True)),
    "16-bit grey PNG with a colour for none": (99.9, _png("L", deep=True, chunks=[(b"tRNS", b"\1\1")])),
    "16-bit PNG": (99.9, _png("RGB", deep=True)),
    "16-bit PNG with alpha": (99.9, _png("RGBA", deep=True)),
    "interlaced PNG": (99.9, _png("RGB", interlaced=True)),
    "WebP with alpha": (99.9, _flat("RGBA", "WEBP", method=0, quality=30)),
    "lossless WebP": (99.9, _written("RGB", "WEBP", method=0, lossless=True, quality=0)),
    "lossless WebP with alpha": (99.9, _flat("RGBA", "WEBP", method=0, lossless=True, quality=0)),
    "AVIF with alpha": (99.9, _flat("RGBA", "AVIF", speed=10, quality=30, subsampling="4:4:4")),
    "HEIC": (99.9, _flat("RGB", "HEIF", quality=10, enc_params={"preset": "ultrafast"})),
    "HEIC with alpha": (99.9, _flat("RGBA", "HEIF", quality=10, enc_params={"preset": "ultrafast"})),
    "TIFF": (99.9, _tiff("RGB", rasters.RGB)),
    "16-bit TIFF, deflated": (99.9, _tiff("RGB", rasters.RGB, deep=True, deflate=True)),
    "16-bit TIFF with alpha": (99.9, _tiff("RGBA", rasters.RGB, deep=True, deflate=True, tags=[(338, 3, [1])])),
    "TIFF of inks": (99.9, _tiff("CMYK", rasters.SEPARATED, deflate=True)),
    "16-bit grey TIFF, white first": (99.9, _tiff("L", rasters.WHITE_IS_ZERO, deep=True, deflate=True)),
    "TIFF of one bit": (99.9, _written("1", "TIFF", compression="group4")),
    "TIFF with JPEG in it": (99.9, _written("RGB", "TIFF", compression="jpeg")),
}


async def largest(sandbox: Sandbox, kind: str, presets: tuple[Preset, ...]) -> tuple[float, Trial]:
    """The megapixels of the largest file of a kind that the caps admit, and what became of it."""
    megapixels, maker = (QUICK | SLOW)[kind]
    while True:
        trial = await attempt(sandbox, maker(int((megapixels * 1e6) ** 0.5)), presets)
        said = _CAP.search(trial.detail)
        if trial.verdict != "too_many_pixels" or said is None:
            return megapixels, trial
        megapixels = min(float(said[1]) + _ROUNDED, megapixels - _ROUNDED)
