"""The project's own C, compiled by set-up (`deploy/setup/native.py`), and how Python lends it memory."""

from __future__ import annotations

import ctypes
import functools
import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from enum import Enum
from mmap import mmap
from pathlib import Path
from typing import Final

_SOURCES: Final = Path(__file__).parent
LIBRARY: Final = _SOURCES / "pixels.so"
# What stands between libheif and libde265: see its source.
HEARD: Final = _SOURCES / "heard.so"


class End(Enum):
    """How LZW codes end: with the code for it, with the data, or with one that none can be."""

    CODED = 0
    MISSING = 1
    BROKEN = 2


class _Buffer(ctypes.Structure):
    """`Py_buffer` (PEP 3118): how Python lends an object's memory without a copy."""

    _fields_ = (
        ("address", ctypes.c_void_p),
        ("owner", ctypes.py_object),
        ("size", ctypes.c_ssize_t),
        ("item_size", ctypes.c_ssize_t),
        ("read_only", ctypes.c_int),
        ("dimensions", ctypes.c_int),
        ("format", ctypes.c_char_p),
        ("shape", ctypes.c_void_p),
        ("strides", ctypes.c_void_p),
        ("suboffsets", ctypes.c_void_p),
        ("internal", ctypes.c_void_p),
    )


class Span(ctypes.Structure):
    """A place in a file, as the C sources have it."""

    _fields_ = (("start", ctypes.c_uint64), ("end", ctypes.c_uint64))


def spans(places: Sequence[tuple[int, int]]) -> ctypes.Array[Span]:
    """Places for a C source."""
    return (Span * len(places))(*(Span(*place) for place in places))


def build() -> str:
    """Names the code that is loaded: its sources' digest, and its vectors. Raises OSError where it cannot be loaded

    or was built from other sources than those that lie beside it.
    """
    loaded = library()
    digest = loaded.darkroom_jpeg_digest().decode()
    if digest != source_digest() and any(_SOURCES.glob("*.c")):  # the images that run have no sources
        raise OSError(f"{LIBRARY.name} was built from other sources")
    return f"{digest} {loaded.darkroom_jpeg_vectors().decode()}"


def source_digest() -> str:
    """What the library is to say of its sources."""
    files = sorted((*_SOURCES.glob("*.c"), *_SOURCES.glob("*.h")))
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:12]


def library() -> ctypes.CDLL:
    """The library, loaded once. Raises OSError."""
    return _loaded(LIBRARY)


@functools.cache
def _loaded(path: Path) -> ctypes.CDLL:
    loaded = ctypes.CDLL(str(path))
    for name in ("darkroom_jpeg_reduce", "darkroom_jpeg_write"):
        getattr(loaded, name).argtypes = [ctypes.c_void_p]
        getattr(loaded, name).restype = None
    loaded.darkroom_cosines.argtypes = [ctypes.c_void_p, *[ctypes.c_int32] * 4, ctypes.c_void_p]
    loaded.darkroom_cosines.restype = ctypes.c_int32
    loaded.darkroom_jpeg_marker.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_size_t]
    loaded.darkroom_jpeg_marker.restype = ctypes.c_size_t
    for name in ("darkroom_jpeg_whole", "darkroom_tiff_whole"):
        getattr(loaded, name).argtypes = [ctypes.c_void_p, ctypes.c_size_t]
    loaded.darkroom_webp.argtypes = [ctypes.c_void_p, *[ctypes.c_size_t] * 2, *[ctypes.c_int32] * 2, ctypes.c_void_p]
    loaded.darkroom_av1_whole.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t]
    loaded.darkroom_lzw.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int32] * 2, ctypes.c_void_p]
    for name in ("darkroom_av1_whole", "darkroom_jpeg_whole", "darkroom_lzw", "darkroom_tiff_whole", "darkroom_webp"):
        getattr(loaded, name).restype = ctypes.c_int32
    for name in ("darkroom_jpeg_digest", "darkroom_jpeg_vectors"):
        getattr(loaded, name).restype = ctypes.c_char_p
    return loaded


def lzw(content: mmap | bytes, least: int, *, highest_first: bool = False) -> tuple[End, int]:
    """How LZW codes end that begin with one bit more than `least`, and how many pixels, or bytes, they stand for."""
    count = ctypes.c_uint64()
    with lent(content) as address:
        end = library().darkroom_lzw(address, len(content), least, highest_first, ctypes.byref(count))
    return End(end), count.value


@contextmanager
def lent(data: mmap | bytes) -> Iterator[int]:
    """The address of an object's bytes, which stay where they are until the block ends."""
    buffer = _Buffer()
    ctypes.pythonapi.PyObject_GetBuffer(ctypes.py_object(data), ctypes.byref(buffer), 0)
    try:
        yield buffer.address or 0
    finally:
        ctypes.pythonapi.PyBuffer_Release(ctypes.byref(buffer))
