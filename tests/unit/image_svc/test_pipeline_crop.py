"""Where a picture is cut: at what tells most, the same each time, and in the middle where nothing tells."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from PIL import Image

from image_svc.pipeline import crop
from tests.support.developing import EXACT, encoded, made

SQUARE = msgspec.structs.replace(EXACT, width=100, height=100, fit="cover")


def scene(size: tuple[int, int], at: tuple[int, int]) -> Image.Image:
    """A grey wall with one coloured, busy thing on it."""
    image = Image.new("RGB", size, (120, 120, 120))
    thing = Image.effect_noise((80, 80), 90).convert("L")
    image.paste(Image.merge("RGB", (thing, thing.point(lambda v: v // 4), thing.point(lambda v: v // 5))), at)
    return image


def reds(picture: Image.Image) -> float:
    pixels = np.array(picture.convert("RGB")).astype(int)
    return float(((pixels[:, :, 0] - pixels[:, :, 2]) > 30).mean())


@pytest.mark.parametrize("place", [0, 160, 320])
def test_what_tells_most_is_kept(place: int) -> None:
    wide = scene((400, 100), (place, 10))
    tall = scene((100, 400), (10, place))
    for image in (wide, tall):
        assert reds(made(encoded(image, "PNG"), SQUARE)) > 0.45


def test_the_middle_is_kept_where_nothing_tells() -> None:
    flat = Image.new("RGB", (401, 100), (90, 120, 150))
    assert crop.window(flat, (100, 100)) == (150, 0)
    noise = Image.effect_noise((400, 100), 40).convert("RGB")
    assert abs(crop.window(noise, (100, 100))[0] - 150) < 100


def test_the_same_picture_is_always_cut_alike() -> None:
    image = scene((640, 200), (430, 60))
    assert len({crop.window(image.copy(), (200, 200)) for _ in range(5)}) == 1


def test_what_is_transparent_does_not_tell() -> None:
    image = scene((400, 100), (0, 10)).convert("RGBA")
    image.putalpha(Image.new("L", image.size, 255))
    image.paste((0, 0, 0, 0), (0, 0, 90, 100))
    image.paste(scene((80, 80), (0, 0)), (310, 10))
    assert crop.window(image, (100, 100))[0] > 200
