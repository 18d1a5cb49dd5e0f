"""Our pipeline without the sandbox: `python -m …in_process pixels`, or `floor`, or `decode`.

`pixels` is all of `develop`, the facts too. `floor` decodes as far as the largest variant needs (a JPEG by Pillow,
shrunk by libjpeg) and encodes copies that were made before (JPEGs by Pillow, too): what a pipeline of ready-made parts
cannot save. `decode` is the whole photo's pixels and nothing else.
"""

from __future__ import annotations

import gc
import os
import sys
from mmap import ACCESS_READ, mmap
from pathlib import Path

from PIL import Image

from image_svc.pipeline import facts
from image_svc.pipeline.decode import open_file, pixels
from image_svc.pipeline.develop import develop
from image_svc.pipeline.encode import encode
from image_svc.pipeline.geometry import inside, plan
from image_svc.pipeline.presets import Preset
from image_svc.pipeline.types import Format
from tests.bench.imaging import job
from tests.bench.imaging.engines import wire


def _sink(out: Path, preset: Preset) -> int:
    return os.open(out / f"{preset.name}.{preset.extension}", os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o644)


def prepare_pixels(_: Path, out: Path, plain: wire.Presets) -> wire.Run:
    """Everything that a child of the sandbox does with a file; as there, nobody collects garbage."""
    gc.disable()
    presets = job.from_plain(plain)

    def run(file: Path) -> None:
        source = os.open(file, os.O_RDONLY)
        sinks = [_sink(out, preset) for preset in presets]
        develop(source, None, presets, sinks, job.caps())
        for descriptor in (source, *sinks):
            os.close(descriptor)

    return run


def _decode(file: Path, presets: tuple[Preset, ...]) -> None:
    with file.open("rb") as source, mmap(source.fileno(), 0, access=ACCESS_READ) as data:
        opened = open_file(data, None, job.caps())
        sizes = [inside(opened.upright, facts.PROBE_SIDE), *(plan(preset, opened.upright).whole for preset in presets)]
        needed = max(size[0] for size in sizes), max(size[1] for size in sizes)
        if opened.format is Format.JPEG:
            with Image.open(file) as picture:
                picture.draft(None, opened.stored(needed))
                picture.load()
        else:
            pixels(opened, needed, file.stat().st_size, job.caps())


def prepare_floor(file: Path, out: Path, plain: wire.Presets) -> wire.Run:
    """Decoding and encoding."""
    presets = job.from_plain(plain)
    prepare_pixels(file, out, plain)(file)
    copies = {preset.name: _copy(out / f"{preset.name}.{preset.extension}") for preset in presets}

    def run(file: Path) -> None:
        _decode(file, presets)
        for preset in presets:
            if preset.format == "jpeg":
                target = out / f"{preset.name}.{preset.extension}"
                copies[preset.name].save(target, quality=preset.quality, optimize=True)
                continue
            sink = _sink(out, preset)
            encode(copies[preset.name], preset, sink)
            os.close(sink)

    return run


def _copy(file: Path) -> Image.Image:
    with Image.open(file) as picture:
        copy = picture.convert("RGBA" if picture.mode == "RGBA" else "RGB")
        copy.info = {}
        return copy


def prepare_decode(_: Path, __: Path, ___: wire.Presets) -> wire.Run:
    """All of the photo's pixels."""

    def run(file: Path) -> None:
        with Image.open(file) as picture:
            picture.load()

    return run


if __name__ == "__main__":
    wire.serve({"pixels": prepare_pixels, "floor": prepare_floor, "decode": prepare_decode}[sys.argv[1]])
