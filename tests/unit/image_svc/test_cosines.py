"""The cosine transform in C is the formula's, for every size that it takes, and refuses what it does not."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from image_svc.pipeline import cosines
from image_svc.pipeline.thumbhash import thumbhash


def formula(values: list[float], width: int, height: int, cx: int, cy: int) -> float:
    return sum(
        values[y * width + x] * math.cos(math.pi / width * cx * (x + 0.5)) * math.cos(math.pi / height * cy * (y + 0.5))
        for y in range(height)
        for x in range(width)
    ) / (width * height)


@given(st.data(), st.integers(1, 40), st.integers(1, 40), st.integers(1, 16), st.integers(1, 16))
def test_terms_are_those_of_the_formula(data: st.DataObject, width: int, height: int, across: int, down: int) -> None:
    values = data.draw(st.lists(st.floats(-255, 255), min_size=width * height, max_size=width * height))
    found = cosines.terms(values, (width, height), across, down)
    assert [len(row) for row in found] == [across] * down
    cx, cy = data.draw(st.integers(0, across - 1)), data.draw(st.integers(0, down - 1))
    assert found[cy][cx] == pytest.approx(formula(values, width, height, cx, cy), abs=1e-9)


def test_bytes_are_values_each() -> None:
    assert cosines.terms(bytes([0, 100, 200, 100]), (2, 2), 1, 1) == [[100]]


@pytest.mark.parametrize(
    ("count", "size", "across", "down"),
    [(3, (2, 2), 1, 1), (0, (0, 0), 1, 1), (129, (129, 1), 1, 1), (4, (2, 2), 17, 1), (4, (2, 2), 1, 17)],
)
def test_what_does_not_fit_is_refused(count: int, size: tuple[int, int], across: int, down: int) -> None:
    with pytest.raises(ValueError, match=r"values are not|too many"):
        cosines.terms([1.0] * count, size, across, down)


@pytest.mark.parametrize("color", [(255, 255, 255), (1, 2, 3, 255), (7, 99, 211, 128), (0, 0, 0, 0)])
def test_a_picture_of_one_colour_has_no_terms_of_chance(color: tuple[int, ...]) -> None:
    hashes = {
        thumbhash(Image.new("RGBA" if len(color) == 4 else "RGB", size, color))[5:] for size in ((31, 17), (29, 16))
    }
    assert len(hashes) == 1
