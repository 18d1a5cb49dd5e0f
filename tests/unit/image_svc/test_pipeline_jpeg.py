"""JPEGs are reduced while they are decoded: to what a whole decode, reduced by Lanczos, would have been."""

from __future__ import annotations

import io
import mmap
import random
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageChops, JpegImagePlugin

import image_svc
from image_svc.pipeline import codecs, headers, jpeg, native
from image_svc.pipeline.headers import Header
from image_svc.pipeline.types import Format, Reason, Rejected
from image_svc.sandbox import Sandbox, SandboxError
from tests.bench.imaging import quality
from tests.fuzz import reducer
from tests.support.developing import CAPS, DATA, PHOTOS, drawn, encoded, picture, psnr, run

# Horizontal and vertical factors of the components, as `cjpeg -sample` takes them (odd: what no camera writes).
USUAL = ("1x1", "2x1", "1x2", "2x2")
ODD = (
    "4x1",
    "1x4",
    "4x2",
    "3x2",
    "2x2,2x1,2x1",
    "2x1,1x2,1x2",
    "2x2,2x1,1x2",
    "1x1,2x2,2x2",
    "1x1,1x1,2x1",
    "4x1,2x1,1x1",
    "3x1,3x1,3x1",
)
LAYOUTS = {
    "baseline": "",
    "progressive": "-progressive",
    "restarts": "-restart 1B",
    "a scan a component": "-scans {scans}",
    "extended": "-quality 1",  # whose quantisers need 16 bits
}
# Parts of the size, across and down: whole, and such as libjpeg reduces by 1, 2, 4 and 8 of its own; and what likeness
# to ask for, in dB. At an eighth libjpeg alone comes to 31 dB, because it rounds a picture's odd sides up.
PARTS = {1.0: 50, 0.59: 44, 0.35: 39, 0.17: 36, 0.07: 33}


@pytest.fixture(scope="module")
def photo() -> Image.Image:
    """Of odd sides, with as much detail as a camera's."""
    picture = drawn((481, 323)).resize((481, 323))
    grain = Image.effect_noise(picture.size, 24).convert("RGB")
    return Image.blend(picture, grain, 0.12)


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("scans") / "scans"
    file.write_text("1;\n2;\n0;\n")
    return file


def written(picture: Image.Image, *options: str) -> bytes:
    """By cjpeg, which can write all that libjpeg can read."""
    plain = encoded(picture, "PPM")
    return subprocess.run(["cjpeg", "-quality", "92", *options], input=plain, capture_output=True, check=True).stdout


def mapped(content: bytes) -> Iterator[tuple[mmap.mmap, Header]]:
    with mmap.mmap(-1, len(content)) as data:
        data.write(content)
        yield data, headers.inspect(data, Format.JPEG, CAPS)


def reduced(content: bytes, part: float = 1.0, *, whole: bool = False) -> Image.Image:
    """At a part of its size; `whole` reads the scans too that show nothing."""
    for data, header in mapped(content):
        assert header.size is not None
        size = max(1, round(header.size[0] * part)), max(1, round(header.size[1] * part))
        return jpeg.reduced(data, replace(header, details=()) if whole else header, size)
    raise AssertionError


def by_pillow(content: bytes, size: tuple[int, int], *, shrunk: bool = False) -> Image.Image:
    """Decoded by Pillow, as a whole or as far as libjpeg alone shrinks it, then reduced by Lanczos."""
    with Image.open(io.BytesIO(content)) as picture:
        if shrunk:
            picture.draft(None, size)
        return picture.resize(size, Image.Resampling.LANCZOS)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("sampling", USUAL)
def test_a_photo_of_any_layout_is_what_a_whole_decode_would_have_given(
    photo: Image.Image, scans: Path, sampling: str, layout: str
) -> None:
    content = written(photo, "-sample", f"{sampling},1x1,1x1", *LAYOUTS[layout].format(scans=scans).split())
    for part, likeness in PARTS.items():
        ours = reduced(content, part)
        assert psnr(ours, by_pillow(content, ours.size)) > likeness, f"at {part}"


@pytest.mark.parametrize("sampling", ODD)
def test_a_photo_of_any_sampling_is_no_worse_than_what_libjpeg_shrinks(photo: Image.Image, sampling: str) -> None:
    for option in ((), ("-progressive",)):
        content = written(photo, "-sample", sampling, *option)
        for part in PARTS:
            ours = reduced(content, part)
            best = by_pillow(content, ours.size)
            usual = psnr(by_pillow(content, ours.size, shrunk=True), best)
            assert psnr(ours, best) > min(usual - 0.5, 33), f"at {part}"


@pytest.mark.parametrize("sampling", ["", "1x1", "2x1", "4x1"])
@pytest.mark.parametrize("name", ["Samsung_SM-G935L_Galaxy_S7_Edge.jpg", "Landscape_6.jpg"])
def test_no_size_loses_what_can_be_seen(name: str, sampling: str) -> None:
    """Against the encoded variant of a whole decode: at most half a dB, and 0.005 of structural similarity."""
    content = next(folder / name for folder in (PHOTOS, DATA) if (folder / name).exists()).read_bytes()
    if sampling:
        with Image.open(io.BytesIO(content)) as opened:
            content = written(opened.convert("RGB").reduce(2), "-sample", sampling)
    with Image.open(io.BytesIO(content)) as opened:
        whole = opened.convert("RGB")
    sides = (1280, 1000, 740, 640, 560, 500, 440, 370, 320, 256, 200, 128)
    for side in (each for each in sides if each < whole.width):
        ours = reduced(content, side / whole.width)
        best = whole.resize(ours.size, Image.Resampling.LANCZOS)
        there, here = (picture(encoded(each, "WEBP", quality=80, method=2)) for each in (best, ours))
        assert quality.psnr(best, there) - quality.psnr(best, here) < 0.5, f"at {side}"
        assert quality.ssim(best, there) - quality.ssim(best, here) < 0.005, f"at {side}"


@pytest.mark.parametrize("mode", ["L", "CMYK", "RGB"])
def test_components_without_common_colours_come_out_exactly_as_they_are(photo: Image.Image, mode: str) -> None:
    content = encoded(photo.convert(mode), "JPEG", quality=90, **({"keep_rgb": True} if mode == "RGB" else {}))
    ours = reduced(content)
    assert ours.mode == mode
    assert ours.tobytes() == by_pillow(content, ours.size).convert(mode).tobytes()
    for part, likeness in PARTS.items():
        ours = reduced(content, part)
        assert psnr(ours, by_pillow(content, ours.size)) > likeness, f"at {part}"


@pytest.mark.parametrize("size", [(1, 1), (1, 97), (97, 1), (17, 9), (8, 8), (16, 16), (33, 15)])
def test_the_smallest_pictures_have_all_their_pixels(size: tuple[int, int]) -> None:
    picture = drawn((200, 200)).resize(size)
    for subsampling in (0, 1, 2):
        content = encoded(picture, "JPEG", quality=95, subsampling=subsampling)
        assert psnr(reduced(content), by_pillow(content, size)) > 38
        assert reduced(content, 0.01).size == (1, 1) if max(size) < 97 else True


def test_an_eighth_reads_no_scan_that_it_does_not_show(photo: Image.Image) -> None:
    for sampling in (0, 1, 2):
        content = encoded(photo, "JPEG", quality=90, progressive=True, subsampling=sampling)
        for _, header in mapped(content):
            spared = sum(end - start for start, end in header.details)
        assert spared > len(content) * 0.4
        for part in (0.07, 0.12, 0.18, 1.0):
            assert reduced(content, part).tobytes() == reduced(content, part, whole=True).tobytes()


@pytest.mark.parametrize(
    "options", [{}, {"optimize": True}, {"restart_marker_blocks": 3}, {"quality": 100}, {"quality": 4}]
)
def test_our_own_eighth_is_that_of_libjpeg(photo: Image.Image, options: dict[str, Any]) -> None:
    """Exactly, where a block becomes one sample; the mean of a quarter of a block it rounds more often than we do, and

    gives it where we need no more than that of the block.
    """
    for mode, subsampling, most in (("L", 0, 0), ("CMYK", 0, 0), ("RGB", 0, 0), ("RGB", 2, 6), ("RGB", 1, 0)):
        sampling = {"subsampling": subsampling} if mode == "RGB" else {}
        content = encoded(photo.convert(mode), "JPEG", **{"quality": 90, **options}, **sampling)
        for part in (0.07, 0.05, 0.01):
            ours = reduced(content, part)
            with reducer.by_libjpeg_alone():
                theirs = reduced(content, part)
            if subsampling == 2 and part < 0.07:
                assert psnr(ours, theirs) > 38, f"{subsampling} at {part}"
            else:
                assert max(ImageChops.difference(ours, theirs).tobytes()) <= most, f"{mode} {subsampling} at {part}"


def test_what_is_missing_is_told_wherever_it_is_missing(photo: Image.Image) -> None:
    for options in ({}, {"progressive": True}, {"restart_marker_blocks": 5}):
        content = encoded(photo, "JPEG", **options)
        for part in (1.0, 0.07):
            assert reduced(content[:-2], part).tobytes() == reduced(content, part).tobytes()  # an end marker alone
            assert truncated(content[:-30], part)
            # The last scan of a progressive one is not looked into where it would show nothing.
            assert truncated(content[:-30] + b"\xff\xd9", part) or ("progressive" in options and part < 1)


def truncated(content: bytes, part: float) -> bool:
    try:
        reduced(content, part)
    except Rejected as verdict:
        return verdict.reason is Reason.TRUNCATED
    return False


def test_a_header_that_was_read_in_another_way_is_refused(photo: Image.Image) -> None:
    for data, header in mapped(encoded(photo, "JPEG")):
        for other in (replace(header, size=(482, 323)), replace(header, mode="L")):
            with pytest.raises(Rejected, match="contradicts itself"):
                jpeg.reduced(data, other, (48, 32))


def test_the_memory_of_pictures_is_given_back(photo: Image.Image) -> None:
    content = encoded(photo.resize((1500, 1000)), "JPEG")

    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

    for _ in range(5):
        reduced(content)
    before = resident()
    for _ in range(30):
        reduced(content)
    assert resident() - before < 3 * 1500 * 1000 * 4


def test_the_library_does_not_read_or_write_what_is_not_its_own_and_needs_no_vectors() -> None:
    """The short form of what `make fuzz-imaging` begins with."""
    verdicts = reducer.run(300, seed=random.Random(11).randrange(1000))
    assert "READY" in verdicts
    assert "whole" in verdicts
    assert "truncated" in verdicts


def test_a_library_that_was_built_from_other_sources_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "source_digest", lambda: "another")
    with pytest.raises(codecs.CodecError, match=r"make setup.*other sources"):
        codecs.verify()


def test_a_library_without_vectors_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "LIBRARY", reducer.library(tmp_path, "plain"))
    assert native.build().endswith(" none")
    with pytest.raises(codecs.CodecError, match="AVX2"):
        codecs.verify()


async def test_a_helper_without_the_library_does_not_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The helper takes its code from the parent's path: another copy, with nothing compiled, is a bad roll-out."""
    shutil.copytree(Path(image_svc.__file__).parent, tmp_path / "image_svc", ignore=shutil.ignore_patterns("*.so"))
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(SandboxError, match="make setup"):
        await Sandbox.start()


def test_no_jpeg_reaches_the_reader_of_pillow(photo: Image.Image, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whose decoder's scanlines a later frame header could overflow (ADR 0009)."""

    def opened(*_: object) -> None:
        raise AssertionError("Pillow reads it")

    monkeypatch.setattr(JpegImagePlugin.JpegImageFile, "_open", opened)
    run(encoded(photo, "JPEG"))
