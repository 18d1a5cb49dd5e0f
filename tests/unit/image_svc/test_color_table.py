"""The table that stands for lcms2 on large pictures."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from PIL import Image, ImageChops, ImageCms, ImageFilter

from image_svc.pipeline import color, table
from image_svc.pipeline.heif import pillow_heif
from tests.bench.imaging.quality import psnr

DATA = Path(__file__).parents[2] / "data"
PHOTOS = Path(__file__).parents[3] / "deploy" / "demo" / "photos"


def profile_of(file: Path) -> bytes:
    if file.suffix == ".heic":
        return bytes(pillow_heif.open_heif(file).info["icc_profile"])
    with Image.open(file) as picture:
        return bytes(picture.info["icc_profile"])


def transform(profile: bytes, mode: str = "RGB") -> ImageCms.ImageCmsTransform:
    source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    target = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
    return ImageCms.buildTransform(source, target, mode, mode)


def photo(mode: str = "RGB") -> Image.Image:
    with Image.open(PHOTOS / "Apple_iPhone_5.jpg") as picture:
        return picture.convert(mode).resize((1280, 960), Image.Resampling.BOX)


@pytest.mark.parametrize("source", [PHOTOS / "Canon_EOS_7D.jpg", DATA / "rgb-to-gbr-test.jpg"])
def test_a_large_photo_looks_the_same_through_the_table_as_through_lcms2(source: Path) -> None:
    picture, exact = photo(), transform(profile_of(source))
    got = table.converted(picture, exact)
    assert got is not None
    expected = ImageCms.applyTransform(picture, exact)
    assert expected is not None
    assert psnr(got, picture) < 40, "the profile does change the picture"
    assert psnr(got, expected) > 50


@pytest.mark.parametrize(
    "source", [PHOTOS / "exif-at-eof.heic", PHOTOS / "Canon_EOS_7D.jpg"], ids=["Display P3", "Adobe RGB"]
)
def test_photos_of_a_common_space_share_what_was_made_for_it(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    picture, profile = photo(), profile_of(source)
    color.prepare()
    with monkeypatch.context() as patch:
        patch.setattr(ImageFilter, "Color3DLUT", None)  # no table is made
        got = color.to_srgb(picture, profile)
    expected = ImageCms.applyTransform(picture, transform(profile))
    assert expected is not None
    assert psnr(expected, picture) < 45, "the profile does change the picture"
    assert psnr(got, expected) > 50


def test_alpha_passes_the_table_unchanged() -> None:
    picture = photo("RGBA")
    alpha = Image.linear_gradient("L").resize(picture.size)
    picture.putalpha(alpha)
    got = table.converted(picture, transform(profile_of(PHOTOS / "Canon_EOS_7D.jpg"), "RGBA"))
    assert got is not None
    assert got.mode == "RGBA"
    assert ImageChops.difference(got.getchannel("A"), alpha).getextrema() == (0, 0)


def test_a_picture_at_the_edge_of_what_srgb_can_show_goes_through_lcms2() -> None:
    with Image.open(DATA / "P3-sRGB-color-ring.jpg") as picture:
        profile = profile_of(DATA / "P3-sRGB-color-ring.jpg")
        assert picture.width * picture.height >= 600_000
        assert table.converted(picture, transform(profile)) is None
        expected = ImageCms.applyTransform(picture, transform(profile))
        assert expected is not None
        assert color.to_srgb(picture, profile).tobytes() == expected.tobytes()


def test_a_small_picture_is_not_worth_a_table() -> None:
    small = photo().resize((640, 480))
    assert table.converted(small, transform(profile_of(PHOTOS / "Canon_EOS_7D.jpg"))) is None
