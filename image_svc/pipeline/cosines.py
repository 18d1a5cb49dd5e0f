"""The lowest terms of a picture's cosine transform."""

from __future__ import annotations

import ctypes
from array import array
from collections.abc import Iterable

from image_svc.pipeline import native
from image_svc.pipeline.geometry import Size


def terms(values: Iterable[float], size: Size, across: int, down: int) -> list[list[float]]:
    """Row by row, for each of `down` waves from top to bottom each of `across` from left to right: the mean of the
    values (which come row by row, too), each times both waves at its place. At most 16 waves along 128 pixels.

    In C, because it takes a child 2 ms in Python, a hundred of whose pages it makes it copy.
    """
    width, height = size
    samples = array("d", [*values])  # of bytes themselves it would take eight for one
    if len(samples) != width * height:
        raise ValueError(f"{len(samples)} values are not {width}x{height}")
    found = array("d", bytes(8 * across * down))
    if not native.library().darkroom_cosines(_address(samples), width, height, across, down, _address(found)):
        raise ValueError(f"{across}x{down} waves in {width}x{height} pixels are too many")
    means = [term / len(samples) for term in found]
    return [means[y * across : (y + 1) * across] for y in range(down)]


def _address(values: array[float]) -> ctypes.c_void_p:
    return ctypes.c_void_p(values.buffer_info()[0])
