"""`python -m tests.fuzz.reducer`: mutated files through the project's own C, built with the compiler's sanitizers.

Each goes through two builds, with vectors and without: a JPEG to a size of its own and back into a file, a still WebP
to its pixels, and a TIFF, AVIF, GIF or moving WebP to whether its own are those that were sent. Both must come to the
same verdict, the same pixels and the same file, which is Pillow's, and neither may touch memory that is not its own or
compute what C leaves undefined. Where our own decoders of JPEG do the work, libjpeg's must come to the same verdict and
the same pixels (of an eighth: nearly), but for what it passes over in silence.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import mmap
import os
import random
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final
from unittest import mock

from PIL import Image

from deploy.setup import native as compiler
from deploy.setup import system
from image_svc.pipeline import decode, headers, jpeg, native
from image_svc.pipeline import webp as still_webp
from image_svc.pipeline.headers import gif, isobmff, tiff, webp
from image_svc.pipeline.headers.header import Span
from image_svc.pipeline.types import Format, Rejected
from image_svc.sandbox import SandboxLimits
from image_svc.sandbox.child import caps
from tests.support import mutation

_SOURCES: Final = native.LIBRARY.parent
_SANITIZERS: Final = ("-Werror", "-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=undefined")
# Python frees little before its end, and memory may run out, as it may in a child.
_OPTIONS: Final = {"ASAN_OPTIONS": "detect_leaks=0:allocator_may_return_null=1"}
_FRAMES: Final = 8


def _avif(data: mmap.mmap) -> None:
    isobmff.check_pixels(data)
    isobmff.check_frames(data, _FRAMES)


# What tells of formats whose decoders show what there is.
_LOOKS: Final = {
    Format.TIFF: tiff.check_pixels,
    Format.WEBP: webp.check_frame,
    Format.AVIF: _avif,
    Format.GIF: gif.check_rows,
}
_EIGHTH: Final = 1 / 8  # up to this part of its size a picture may be reduced by our own decoder of an eighth
_DIGEST: Final = 64  # letters of one of pixels
_MOST_PIXELS: Final = 2_000_000  # of a picture that a lying header announces: more only take longer


def library(folder: Path, name: str, *flags: str) -> Path:
    """The library, built anew with other flags."""
    target = folder / f"{name}.so"
    variables = os.environ | system.search_paths()
    subprocess.run(list(map(str, compiler.command(_SOURCES, flags, target))), check=True, env=variables)
    return target


def vectors() -> list[str]:
    """The flags for this machine's."""
    return compiler.vectors(system.simd_flag()) if os.uname().machine == "x86_64" else []


def verdict(content: bytes, size: Sequence[float]) -> tuple[str, bytes]:
    """What becomes of a file at a part of its size, across and down: a reason, or READY and its pixels."""
    with mmap.mmap(-1, len(content)) as data:
        data.write(content)
        try:
            header = headers.inspect(data, Format.JPEG, caps(SandboxLimits()))
            assert header.size is not None
            if header.size[0] * header.size[1] > _MOST_PIXELS:
                return "large", b""
            wanted = (max(1, round(header.size[0] * size[0])), max(1, round(header.size[1] * size[1])))
            picture = jpeg.reduced(data, header, wanted)
            return "READY", picture.tobytes() + written(picture if picture.mode == "L" else picture.convert("RGB"))
        except Rejected as refusal:
            return refusal.reason.value, b""


def whole(content: bytes) -> str:
    """Whether all pixels of a file of these formats are as they were sent, or for what reason it is refused."""
    with mmap.mmap(-1, len(content)) as data:
        data.write(content)
        data.seek(0)  # where readers begin
        try:
            opened = decode.open_file(data, None, caps(SandboxLimits()))
            if opened.format not in _LOOKS:  # it has become another's
                return opened.format.value
            if opened.picture.width * opened.picture.height > _MOST_PIXELS:
                return "large"
            if opened.format is Format.WEBP and opened.header.mode is not None:
                return hashlib.sha256(still_webp.decoded(data, opened.header).tobytes()).hexdigest()
            decode._guarded(lambda: _LOOKS[opened.format](data))
        except Rejected as refusal:
            return refusal.reason.value
    return "whole"


def written(picture: Image.Image, quality: int = 80) -> bytes:
    """An L or RGB picture as a file. Raises AssertionError where it is not what Pillow makes of it."""
    expected = io.BytesIO()
    sampling = {} if picture.mode == "L" else {"subsampling": "4:2:0"}  # which Pillow takes for a grey one, too
    picture.save(expected, "JPEG", quality=quality, optimize=True, **sampling)
    with os.fdopen(os.memfd_create("jpeg"), "w+b") as made:
        jpeg.write(picture, quality, made.fileno())
        made.seek(0)
        content = made.read()
    assert content == expected.getvalue(), f"{picture.mode} {picture.size} at quality {quality}"
    return content


@contextmanager
def by_libjpeg_alone() -> Iterator[None]:
    """Inside, files that are read as a whole have a second part, an empty one: our own decoders do not take them."""
    usual = jpeg._without

    def in_parts(left_out: Sequence[Span], size: int) -> list[Span]:
        return usual(left_out, size) if left_out else [(0, size), (size, size)]

    with mock.patch.object(jpeg, "_without", in_parts):
        yield


def tried(count: int, seed: int, builds: Sequence[Path]) -> Counter[str]:
    """How many files came to which verdict. Raises AssertionError where two builds disagree."""
    seeds = mutation.seeds()
    found: Counter[str] = Counter()
    for number in range(count):
        random_ = random.Random(f"{seed} {number}")
        content = mutation.mutated(random_, "JPEG", seeds) or b"\0"
        size = random_.choice([(1.0, 1.0), (random_.random(), random_.random()), (random_.random() / 9,) * 2])
        verdicts = []
        for build in builds:
            native.LIBRARY = build  # type: ignore[misc]  # that of this process is final
            verdicts.append(verdict(content, size))
        assert all(each == verdicts[0] for each in verdicts), f"builds disagree on file {number} of seed {seed}"
        with by_libjpeg_alone():
            alone = verdict(content, size)
        agrees = alone == verdicts[0] if min(size) > _EIGHTH else alone[0] == verdicts[0][0]
        # It says nothing of coefficients beyond a block's last, nor of data behind the last block.
        silent = verdicts[0][0] == "truncated" and alone[0] == "READY"
        assert agrees or silent, f"libjpeg disagrees on file {number} of seed {seed}"
        found[verdicts[0][0]] += 1
        content = mutation.mutated(random_, random_.choice(list(_LOOKS)).name, seeds) or b"\0"
        looks = set()
        for build in builds:
            native.LIBRARY = build  # type: ignore[misc]  # as above
            looks.add(whole(content))
        assert len(looks) == 1, f"builds disagree on the other beside file {number} of seed {seed}"
        look = looks.pop()
        found["whole" if len(look) == _DIGEST else look] += 1
    return found


def run(count: int, seed: int) -> str:
    """Builds and tries in a process of its own, which the sanitizers end where they find something. What it printed."""
    preload = subprocess.run(["cc", "-print-file-name=libasan.so"], capture_output=True, text=True, check=True).stdout
    with tempfile.TemporaryDirectory(prefix="darkroom-reducer-") as name:
        builds = [
            library(Path(name), "vectors", *_SANITIZERS, *vectors()),
            library(Path(name), "plain", *_SANITIZERS),
        ]
        command = [sys.executable, "-m", __spec__.name, "--files", str(count), "--seed", str(seed), *map(str, builds)]
        trial = subprocess.run(
            command,
            env=os.environ | _OPTIONS | {"LD_PRELOAD": preload.strip()},
            capture_output=True,
            text=True,
            check=False,
        )
    if trial.returncode:
        raise AssertionError(f"status {trial.returncode}:\n{trial.stdout}\n{trial.stderr}")
    return trial.stdout


def main() -> None:
    """Command line; without builds it makes them."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.reducer", description=__doc__)
    parser.add_argument("-n", "--files", type=int, default=10_000, help="how many mutated files")
    parser.add_argument("--seed", type=int, default=1, help="another one gives other files")
    parser.add_argument("builds", nargs="*", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.builds:
        found = tried(options.files, options.seed, options.builds)
        print(", ".join(f"{count} {name}" for name, count in found.most_common()))
    else:
        print(run(options.files, options.seed), end="")


if __name__ == "__main__":
    main()
