"""Colour: whatever the file says of its numbers, the variants show the same in sRGB."""

from __future__ import annotations

import io
from typing import Any

import msgspec
import numpy as np
import pytest
from PIL import Image, ImageCms

from image_svc.pipeline import spaces
from image_svc.pipeline.presets import Preset
from tests.support import rasters
from tests.support.developing import EXACT, drawn, encoded, made, psnr

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
# sRGB's red, green and blue and a skin tone as Display P3 writes them (from the published primaries, IEC 61966-2-1
# curve): computed apart from our code, and found in any table of the two.
P3 = {
    (234, 51, 35): (255, 0, 0),
    (117, 251, 76): (0, 255, 0),
    (0, 0, 245): (0, 0, 255),
    (217, 175, 150): (225, 174, 146),
}


def flat(color: tuple[int, int, int], format_: str = "PNG", **options: Any) -> bytes:
    return encoded(Image.new("RGB", (64, 64), color), format_, **options)


def center(content: bytes, preset: Preset = EXACT) -> tuple[int, ...]:
    color = made(content, preset).convert("RGB").getpixel((20, 20))
    assert isinstance(color, tuple)
    return color


def near(one: tuple[int, ...], other: tuple[int, ...], tolerance: int) -> bool:
    return all(abs(a - b) <= tolerance for a, b in zip(one, other, strict=True))


def profile(primaries: int, transfer: int) -> bytes:
    made = spaces.of_code_points(primaries, transfer)
    assert made is not None
    return made


@pytest.mark.parametrize(("stored", "right"), P3.items())
def test_display_p3_is_converted_however_a_file_says_it(
    stored: tuple[int, int, int], right: tuple[int, int, int]
) -> None:
    nclx = {"color_primaries": 12, "transfer_characteristics": 13, "matrix_coefficients": 6, "full_range_flag": 1}
    for content in (
        flat(stored, icc_profile=profile(12, 13)),
        rasters.png(np.full((64, 64, 3), stored, np.uint8), chunks=[(b"cICP", bytes([12, 13, 0, 1]))]),
        flat(stored, "HEIF", quality=100, chroma=444, **nclx),
        with_nclx(flat(stored, "AVIF", quality=100, subsampling="4:4:4"), 12, 13),
    ):
        assert near(center(content), right, 4), f"{center(content)} for {right}"


def with_nclx(avif: bytes, primaries: int, transfer: int) -> bytes:
    """The file with other code points in its colour box."""
    at = avif.index(b"nclx") + 4
    return avif[:at] + primaries.to_bytes(2, "big") + transfer.to_bytes(2, "big") + avif[at + 4 :]


def test_numbers_that_name_srgb_change_nothing() -> None:
    for primaries, transfer in ((1, 13), (2, 2), (1, 1), (200, 13)):
        assert spaces.of_code_points(primaries, transfer) is None
    assert spaces.of_png({"gamma": 0.45455, "chromaticity": (0.3127, 0.329, 0.64, 0.33, 0.3, 0.6, 0.15, 0.06)}) is None
    assert spaces.of_png({"gamma": 1.0, "srgb": 0}) is None


def test_a_profile_goes_before_the_numbers_beside_it_but_in_a_png_that_says_both() -> None:
    swapped = flat((200, 30, 60), "HEIF", quality=100, chroma=444, icc_profile=profile(1, 4), color_primaries=12)
    assert near(center(swapped), (199, 22, 56), 5)  # gamma 2.2 and the primaries of sRGB: hardly another colour
    pixels = np.full((64, 64, 3), (234, 51, 35), np.uint8)
    both = rasters.png(pixels, chunks=[(b"cICP", bytes([12, 13, 0, 1])), (b"gAMA", (100_000).to_bytes(4, "big"))])
    assert near(center(both), (255, 0, 0), 4)


@pytest.mark.parametrize(("gamma", "expected"), [(45455, 128), (100_000, 188), (55_556, 146), (0, 128), (1, 128)])
def test_the_exponent_of_a_png_is_heeded_where_it_makes_sense(gamma: int, expected: int) -> None:
    for channels in (1, 3):
        pixels = np.full((64, 64, channels), 128, np.uint8)
        ours = center(rasters.png(pixels, chunks=[(b"gAMA", gamma.to_bytes(4, "big"))]))
        assert near(ours, (expected,) * 3, 3)


def test_the_primaries_of_a_png_are_heeded_where_they_make_sense() -> None:
    def chromaticities(*values: int) -> bytes:
        return b"".join(value.to_bytes(4, "big") for value in values)

    pixels = np.full((64, 64, 3), (234, 51, 35), np.uint8)
    p3 = chromaticities(31270, 32900, 68000, 32000, 26500, 69000, 15000, 6000)
    assert near(center(rasters.png(pixels, chunks=[(b"cHRM", p3)])), (255, 0, 0), 4)
    nonsense = chromaticities(*[0] * 8)
    assert center(rasters.png(pixels, chunks=[(b"cHRM", nonsense)])) == (234, 51, 35)


@pytest.mark.parametrize("transfer", [16, 18], ids=["PQ", "HLG"])
def test_high_dynamic_range_is_bent_into_what_a_page_can_show(transfer: int) -> None:
    light = np.arange(256, dtype=np.uint8)[None, :, None].repeat(8, 0).repeat(3, 2)
    content = rasters.png(light, chunks=[(b"cICP", bytes([9, transfer, 0, 1]))])
    row = [value[0] for value in np.array(made(content).convert("RGB"))[4].tolist()]
    assert row[0] == 0
    assert row[255] == 255
    assert row == sorted(row)
    paper = {16: 148, 18: 191}[transfer]  # 203 cd/m2, the white of paper (BT.2408): bright, and not burnt out
    assert 230 < row[paper] < 250
    grey = {16: 97, 18: 97}[transfer]  # a 26 cd/m2 mid grey or so stays one
    assert 85 < row[grey] < 125


def lab_profile() -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()


@pytest.mark.parametrize(
    "broken",
    [
        b"",
        b"nonsense",
        bytes(200),
        b"\0\0\0\x80" + bytes(12) + b"RGB XYZ " + bytes(12) + b"acsp" + bytes(88),
        lab_profile(),
    ],
    ids=["none", "noise", "zeros", "header alone", "Lab"],
)
@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
def test_a_profile_that_is_broken_or_of_other_pixels_is_ignored(broken: bytes, mode: str) -> None:
    image = drawn().convert(mode)
    assert psnr(made(encoded(image, "PNG", icc_profile=broken)), image.convert("RGB")) > 60


def test_a_truncated_profile_is_ignored() -> None:
    whole = profile(12, 13)
    for end in range(0, len(whole), 97):
        made(flat((234, 51, 35), "JPEG", quality=95, icc_profile=whole[:end]))


def test_grey_pixels_take_the_tones_of_their_profile() -> None:
    linear = profile(1, 8)
    assert near(center(encoded(Image.new("L", (64, 64), 128), "JPEG", quality=100, icc_profile=linear)), (188,) * 3, 2)


def test_swapped_primaries_swap_the_colours() -> None:
    blue_first = bytearray(profile(1, 4))
    red, blue = blue_first.index(b"rXYZ"), blue_first.index(b"bXYZ")
    blue_first[red : red + 4], blue_first[blue : blue + 4] = b"bXYZ", b"rXYZ"
    assert near(center(flat((255, 0, 0), icc_profile=bytes(blue_first))), (0, 0, 255), 3)


def test_lab_of_a_tiff_is_converted() -> None:
    transform = ImageCms.buildTransform(SRGB, ImageCms.createProfile("LAB"), "RGB", "LAB")
    lab = ImageCms.applyTransform(drawn(), transform)
    assert lab is not None
    assert psnr(made(encoded(lab, "TIFF")), drawn()) > 33


def test_a_conversion_after_the_reduction_gives_what_one_before_would() -> None:
    wide = drawn((900, 600))
    embedded = profile(9, 4)
    ours = made(encoded(wide, "PNG", icc_profile=embedded), msgspec.structs.replace(EXACT, width=300, height=200))
    source = ImageCms.ImageCmsProfile(io.BytesIO(embedded))
    first = ImageCms.profileToProfile(wide, source, SRGB)
    assert first is not None
    assert psnr(ours, first.resize((300, 200), Image.Resampling.LANCZOS)) > 36


@pytest.mark.parametrize("format_", ["PNG", "WEBP", "TIFF", "AVIF", "HEIF"])
def test_no_dark_rim_is_drawn_around_what_is_transparent(format_: str) -> None:
    """White on nothing, where nothing is black: averaged without its weight, the rim would turn grey."""
    image = Image.new("RGBA", (600, 600), (0, 0, 0, 0))
    image.paste((255, 255, 255, 255), (150, 150, 450, 450))
    options = (
        {"lossless": True, "exact": True}
        if format_ == "WEBP"
        else {"quality": 95}
        if format_ in {"AVIF", "HEIF"}
        else {}
    )
    ours = np.array(
        made(encoded(image, format_, **options), msgspec.structs.replace(EXACT, width=77, height=77)).convert("RGBA")
    )
    seen = ours[ours[:, :, 3] > 24]
    assert seen[:, :3].min() >= (250 if not options or format_ == "WEBP" else 225)


def test_a_colour_behind_a_jpeg_is_the_presets() -> None:
    half = encoded(Image.new("RGBA", (64, 64), (255, 0, 0, 128)), "PNG")
    ours = center(half, msgspec.structs.replace(EXACT, format="jpeg", quality=95, background="#0000ff"))
    assert near(ours, (128, 0, 127), 4)
