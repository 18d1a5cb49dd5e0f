"""Pictures whose memory the project's own C reads and writes: Pillow lends it, without a copy, as Arrow has it."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager

from PIL import Image, _imaging

from image_svc.pipeline.geometry import Size


class _Array(ctypes.Structure):
    """The start of `ArrowArray` (Arrow's C data interface)."""

    _fields_ = (
        ("length", ctypes.c_int64),
        ("null_count", ctypes.c_int64),
        ("offset", ctypes.c_int64),
        ("buffer_count", ctypes.c_int64),
        ("child_count", ctypes.c_int64),
        ("buffers", ctypes.POINTER(ctypes.c_void_p)),
        ("children", ctypes.POINTER(ctypes.c_void_p)),
    )


def announced(mode: str, size: Size) -> Image.Image:
    """A picture that has no pixels yet."""
    picture = Image.Image()
    picture._size, picture._mode = size, mode
    return picture


def blank(mode: str, size: Size) -> Image.Image:
    """A picture whose pixels, of any value, lie in one piece. Raises MemoryError."""
    return Image.Image()._new(_imaging.new_block(mode, size))


@contextmanager
def lent(picture: Image.Image) -> Iterator[int]:
    """The address of a picture's pixels, rows without gaps, until the block ends; where they lie in several pieces
    (from 16 MiB on), that of a copy. Raises MemoryError.
    """
    try:
        capsules = picture.__arrow_c_array__()
    except ValueError:
        copy = blank(picture.mode, picture.size)
        copy.paste(picture)
        capsules = copy.__arrow_c_array__()
    yield _address(capsules[1])
    del capsules  # they hold the memory until here


def _address(capsule: object) -> int:
    """Where the pixels lie that a capsule of Arrow's speaks of."""
    get = ctypes.pythonapi.PyCapsule_GetPointer
    get.restype, get.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    array = ctypes.cast(get(capsule, b"arrow_array"), ctypes.POINTER(_Array)).contents
    nested = array.children[0] if array.child_count else None  # four samples a pixel, or one
    if nested is not None:
        array = ctypes.cast(nested, ctypes.POINTER(_Array)).contents
    return int(array.buffers[1] or 0)
