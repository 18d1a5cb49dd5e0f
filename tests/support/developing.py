"""The pipeline in this process, and pictures to try it with."""

from __future__ import annotations

import io
import math
import os
from pathlib import Path
from typing import Any

import pillow_avif  # noqa: F401  # importing it teaches Pillow AVIF
import pytest
from PIL import Image, ImageChops, ImageStat

from image_svc.pipeline.develop import Result, develop
from image_svc.pipeline.heif import pillow_heif
from image_svc.pipeline.presets import Preset, default_presets
from image_svc.pipeline.types import Reason, Rejected
from image_svc.sandbox import SandboxLimits
from image_svc.sandbox.child import caps

pillow_heif.register_heif_opener()

DATA = Path(__file__).parents[1] / "data"
PHOTOS = Path(__file__).parents[2] / "deploy" / "demo" / "photos"
CAPS = caps(SandboxLimits())
EXACT = Preset(name="exact", width=4096, height=4096, format="png")


def run(content: bytes, *presets: Preset, announced: str | None = None) -> tuple[Result, list[bytes]]:
    """Develops a file's bytes in this process."""
    descriptors: list[int] = []

    def memory(content: bytes = b"") -> int:
        descriptors.append(os.memfd_create("test"))
        os.write(descriptors[-1], content)
        return descriptors[-1]

    try:
        source, sinks = memory(content), [memory() for _ in presets]
        result = develop(source, announced, presets, sinks, CAPS)
        return result, [os.pread(sink, os.fstat(sink).st_size, 0) for sink in sinks]
    finally:
        for descriptor in descriptors:
            os.close(descriptor)


def picture(content: bytes) -> Image.Image:
    opened = Image.open(io.BytesIO(content))
    opened.load()
    return opened


def made(content: bytes, preset: Preset = EXACT) -> Image.Image:
    return picture(run(content, preset)[1][0])


def refused(content: bytes, announced: str | None = None) -> Reason:
    with pytest.raises(Rejected) as verdict:
        run(content, *default_presets(), announced=announced)
    return verdict.value.reason


def encoded(image: Image.Image, format_: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format_, **options)
    return buffer.getvalue()


def drawn(size: tuple[int, int] = (640, 480)) -> Image.Image:
    """A picture without any symmetry."""
    width, height = size
    image = Image.merge(
        "RGB",
        [
            Image.linear_gradient("L").resize(size),
            Image.linear_gradient("L").rotate(90).resize(size),
            Image.radial_gradient("L").resize(size),
        ],
    )
    image.paste((250, 20, 30), (0, 0, width // 4, height // 6))
    image.paste((20, 240, 40), (width // 2, height // 2, width * 3 // 4, height))
    return image


def psnr(one: Image.Image, other: Image.Image) -> float:
    """Decibels of likeness; 99 for the same."""
    assert one.size == other.size
    square = ImageStat.Stat(ImageChops.difference(one.convert("RGB"), other.convert("RGB"))).sum2
    mean = sum(square) / (3 * one.width * one.height)
    return 99.0 if not mean else 10 * math.log10(255**2 / mean)
