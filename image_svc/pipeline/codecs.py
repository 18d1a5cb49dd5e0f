"""Which codecs are loaded, and whether they are the ones we mean: checked when the sandbox starts."""

from __future__ import annotations

import hashlib
import io
import mmap
import os
import platform
import re
from pathlib import Path
from typing import Final

import PIL
import pillow_avif
from PIL import Image, _imaging, features
from pillow_avif import AvifImagePlugin

from image_svc.pipeline import headers, heif, jpeg, native
from image_svc.pipeline.caps import Caps
from image_svc.pipeline.heif import pillow_heif
from image_svc.pipeline.types import Format

_NEEDED: Final = ("jpg", "zlib", "webp", "littlecms2", "libtiff")
# `vpmaddwd` on 256-bit registers (VEX.256.66.0F F5), the heart of pillow-simd's resampling when it is compiled for
# AVX2: dozens of times (63), where plain Pillow has it never.
_AVX2: Final = re.compile(rb"\xc5[" + re.escape(bytes(range(0x05, 0x100, 8))) + rb"]\xf5", re.DOTALL)
_AVX2_LEAST: Final = 20
# Of what is tried at the start.
_CAPS: Final = Caps(max_pixels=1000, max_frames=1, max_scans=1, max_inflated_bytes=0, memory_bytes=1 << 20)


class CodecError(Exception):
    """The codecs that are loaded are not the ones that the pipeline was made for."""


def verify() -> str:
    """Checks the codecs and names the build: code, codecs and SIMD level. Raises `CodecError`."""
    missing = [name for name in _NEEDED if not features.check(name)]
    if missing:
        raise CodecError(f"Pillow was built without {', '.join(missing)}")
    simd = _simd() if platform.machine() == "x86_64" else "none"
    try:
        own = native.build()
    except OSError as error:
        raise CodecError(f"our own C cannot be used, `make setup` builds it: {error}") from error
    if simd == "avx2" and not own.endswith("avx2"):
        raise CodecError("our own C has no AVX2 code: it must be compiled with -mavx2")
    if not (_writes_as_pillow() and _reads_as_pillow()):
        raise CodecError("our own C does not fit the libjpeg that is loaded: `make setup` builds it anew")
    if not _hears():
        raise CodecError("libde265 cannot be listened to: `make setup` builds what does, for this build of pillow_heif")
    versions = [
        f"pipeline {_code()}",
        f"jpeg {own}",
        f"pillow {PIL.__version__}",
        f"simd {simd}",
        *(f"{name} {features.version(name)}" for name in ("libjpeg_turbo", *_NEEDED)),
        f"heif {pillow_heif.__version__} {pillow_heif.libheif_version()}",
        f"avif {pillow_avif.__version__} {AvifImagePlugin._avif.codec_versions()}",
    ]
    return "; ".join(versions)


def _writes_as_pillow() -> bool:
    """Whether JPEGs are written right: our own coder stands inside libjpeg, where no version number is checked."""
    picture = Image.merge("RGB", [Image.effect_noise((40, 24), sigma) for sigma in (9, 50, 90)])
    expected = io.BytesIO()
    picture.save(expected, "JPEG", quality=80, optimize=True, subsampling="4:2:0")
    with os.fdopen(os.memfd_create("jpeg"), "w+b") as made:
        jpeg.write(picture, 80, made.fileno())
        made.seek(0)
        return made.read() == expected.getvalue()


def _reads_as_pillow() -> bool:
    """The same for the decoder: grey, which is nowhere reduced and gets no colours."""
    file = io.BytesIO()
    Image.effect_noise((40, 24), 50).save(file, "JPEG")
    with mmap.mmap(-1, len(file.getvalue())) as data:
        data.write(file.getvalue())
        header = headers.inspect(data, Format.JPEG, _CAPS)
        return jpeg.reduced(data, header, (40, 24)).tobytes() == Image.open(file).tobytes()


def _hears() -> bool:
    """Whether damage in a HEIC would be heard of; see `heif`. In a process of its own: libheif's threads leave 70 MB of
    address space behind, which every child of the sandbox's would inherit.
    """
    child = os.fork()
    if child == 0:
        heard = 0
        try:
            file = io.BytesIO()
            pillow_heif.from_pillow(Image.new("L", (16, 16))).save(file)
            heard = heif.load(heif.HeifImageFile(file))  # type: ignore[no-untyped-call]
        finally:
            os._exit(0 if heard > 0 else 1)
    return os.waitpid(child, 0)[1] == 0


def _code() -> str:
    """Stands for the pipeline's own code: a hash of its text, because a number to be raised by hand would be forgotten.

    A change that leaves the pictures as they are costs no more than new names at the next run.
    """
    digest = hashlib.sha256()
    here = Path(__file__).parent
    for file in sorted(here.rglob("*.py")):
        digest.update(f"{file.relative_to(here)}\0".encode() + file.read_bytes() + b"\0")
    return digest.hexdigest()[:12]


def _simd() -> str:
    """The SIMD level of the loaded Pillow on x86-64: it must be pillow-simd, compiled for AVX2."""
    if ".post" not in PIL.__version__:
        raise CodecError(f"Pillow {PIL.__version__} has replaced pillow-simd: some package was installed with it")
    library = Path(str(_imaging.__file__))
    found = len(_AVX2.findall(library.read_bytes()))
    if found < _AVX2_LEAST:
        raise CodecError(f"{library.name} has no AVX2 code: pillow-simd must be compiled with CC='cc -mavx2'")
    return "avx2"
