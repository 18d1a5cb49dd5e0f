"""Real files, through the sandbox: each ends with the right picture or with the right reason."""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path

import pillow_avif  # noqa: F401  # importing it teaches Pillow AVIF
import pytest
from PIL import Image

from image_svc.pipeline.presets import Preset, default_presets
from image_svc.pipeline.types import Facts, Reason, Rejected
from image_svc.sandbox import Sandbox

DATA = Path(__file__).parents[2] / "data"
PHOTOS = Path(__file__).parents[3] / "deploy" / "demo" / "photos"
SMALL = Preset(name="small", width=300, height=300, format="png")
Color = tuple[int, int, int]


@pytest.fixture(scope="module")
async def sandbox() -> AsyncIterator[Sandbox]:
    async with await Sandbox.start() as started:
        yield started


async def developed(sandbox: Sandbox, content: bytes, *presets: Preset) -> tuple[Facts, list[Image.Image]]:
    """The facts of a file's bytes, and its variants, decoded."""
    source = os.memfd_create("source")
    try:
        os.write(source, content)
        with await sandbox.develop(source, None, presets) as done:
            pictures: list[Image.Image] = [
                Image.open(io.BytesIO(os.pread(made.fd, made.size, 0))) for made in done.variants
            ]
            for picture, made in zip(pictures, done.variants, strict=True):
                picture.load()
                assert picture.size == (made.width, made.height)
            return done.facts, pictures
    finally:
        os.close(source)


def near(picture: Image.Image, at: tuple[float, float], expected: Color, tolerance: int = 16) -> None:
    """Checks the colour at a place, given as parts of the width and the height."""
    place = int(at[0] * (picture.width - 1)), int(at[1] * (picture.height - 1))
    seen = picture.convert("RGB").getpixel(place)
    assert isinstance(seen, tuple)
    assert all(abs(a - b) <= tolerance for a, b in zip(seen, expected, strict=True)), f"{seen} at {place}"


@pytest.mark.parametrize(
    ("path", "format_", "size", "frames"),
    [
        (PHOTOS / "Apple_iPhone_5.jpg", "JPEG", (3264, 2448), 1),
        (PHOTOS / "Canon_EOS_7D.jpg", "JPEG", (600, 900), 1),
        (PHOTOS / "Samsung_SM-G935L_Galaxy_S7_Edge.jpg", "JPEG", (4032, 3024), 1),
        (PHOTOS / "exif-at-eof.heic", "HEIF", (3024, 4032), 1),
        (DATA / "Landscape_6.jpg", "JPEG", (1800, 1200), 1),
        (DATA / "Multiple_ICC_segments.jpg", "JPEG", (140, 140), 1),
        (DATA / "P3-sRGB-color-ring.jpg", "JPEG", (1000, 1000), 1),
        (DATA / "rgb-to-gbr-test.jpg", "JPEG", (1000, 1000), 1),
        (DATA / "pil_sample_cmyk.jpg", "JPEG", (100, 100), 1),
        (DATA / "read-error1025.jpg", "JPEG", (1824, 1025), 1),
        (DATA / "f617c7af7f36296a37ddb419b828099c.gif", "GIF", (300, 300), 11),
        (DATA / "Animation_Lossy.webp", "WEBP", (320, 240), 101),
        (DATA / "Issue_649.avif", "AVIF", (5472, 3648), 1),
        (DATA / "flower_small.rgba.png", "PNG", (510, 532), 1),
        (DATA / "basn0g16.png", "PNG", (32, 32), 1),
        (DATA / "basn2c16.png", "PNG", (32, 32), 1),
        (DATA / "basn6a16.png", "PNG", (32, 32), 1),
        (DATA / "basi3p04.png", "PNG", (32, 32), 1),
    ],
    ids=lambda value: value.name if isinstance(value, Path) else "",
)
async def test_a_real_file_gives_its_facts_and_every_variant(
    sandbox: Sandbox, path: Path, format_: str, size: tuple[int, int], frames: int
) -> None:
    facts, pictures = await developed(sandbox, path.read_bytes(), *default_presets())
    assert (facts.format, (facts.width, facts.height), facts.frames) == (format_, size, frames)
    thumb, small, medium, large = pictures
    assert thumb.size == (min(256, size[0]), min(256, size[1]))
    for picture, side in ((small, 640), (medium, 1280), (large, 2048)):
        assert max(picture.size) == min(side, max(size))
        assert abs(picture.width / picture.height - size[0] / size[1]) < 0.01
    assert not any(key in picture.info for picture in pictures for key in ("exif", "icc_profile", "xmp", "comment"))


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("xd0n2c08.png", Reason.NOT_AN_IMAGE),
        ("xcrn0g04.png", Reason.NOT_AN_IMAGE),
        ("28968137f4fc75fbf56f16d7a7a8551a.jpg", Reason.TRUNCATED),
    ],
)
async def test_a_broken_file_ends_with_its_reason(sandbox: Sandbox, name: str, reason: Reason) -> None:
    with pytest.raises(Rejected) as verdict:
        await developed(sandbox, (DATA / name).read_bytes(), SMALL)
    assert verdict.value.reason is reason


async def test_the_rotated_photo_stands_upright(sandbox: Sandbox) -> None:
    _, (picture,) = await developed(sandbox, (DATA / "Landscape_6.jpg").read_bytes(), SMALL)
    rough = picture.resize((10, 10), Image.Resampling.BOX)
    near(rough, (0.23, 0.12), (153, 187, 232))  # the sky is above
    near(rough, (0.12, 0.78), (86, 105, 114))  # the rock is below


async def test_the_profile_with_swapped_primaries_is_applied(sandbox: Sandbox) -> None:
    # The wheel names its own sectors: red above, green at the lower left, blue at the lower right.
    _, (picture,) = await developed(sandbox, (DATA / "rgb-to-gbr-test.jpg").read_bytes(), SMALL)
    near(picture, (0.4, 0.02), (255, 70, 0), 75)
    near(picture, (0.02, 0.65), (0, 255, 0), 75)
    near(picture, (0.98, 0.65), (0, 0, 255), 75)


async def test_cmyk_comes_out_in_its_colours_with_and_without_a_profile(sandbox: Sandbox) -> None:
    _, (bare,) = await developed(sandbox, (DATA / "pil_sample_cmyk.jpg").read_bytes(), SMALL)
    near(bare, (0.02, 0.01), (240, 30, 30), 40)
    near(bare, (0.5, 0.9), (0, 0, 0))
    _, (profiled,) = await developed(sandbox, (DATA / "Multiple_ICC_segments.jpg").read_bytes(), SMALL)
    near(profiled, (0.02, 0.02), (255, 255, 255))


async def test_an_archive_behind_a_photo_does_not_come_along(sandbox: Sandbox) -> None:
    payload = io.BytesIO()
    with zipfile.ZipFile(payload, "w") as archive:
        archive.writestr("secret.txt", "take me along")
    content = (PHOTOS / "Canon_EOS_7D.jpg").read_bytes() + payload.getvalue()
    source = os.memfd_create("source")
    try:
        os.write(source, content)
        with await sandbox.develop(source, "image/jpeg", default_presets()) as done:
            for made in done.variants:
                assert not zipfile.is_zipfile(io.BytesIO(os.pread(made.fd, made.size, 0)))
    finally:
        os.close(source)
