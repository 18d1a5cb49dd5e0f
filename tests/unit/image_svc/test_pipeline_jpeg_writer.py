"""Our own writer of JPEGs: byte by byte what Pillow makes with the best Huffman codes."""

from __future__ import annotations

import errno
import mmap
import os
import random
import resource
import signal
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from image_svc.pipeline import codecs, jpeg
from image_svc.pipeline.geometry import Size
from image_svc.pipeline.headers import Header
from tests.fuzz.reducer import written
from tests.support.developing import PHOTOS

_MODES = {"L": 1, "RGB": 3}


def _noise(mode: str, size: tuple[int, int], seed: int) -> Image.Image:
    return Image.frombytes(mode, size, random.Random(seed).randbytes(size[0] * size[1] * _MODES[mode]))


@settings(max_examples=150, deadline=None)
@given(
    mode=st.sampled_from(sorted(_MODES)),
    size=st.tuples(st.integers(1, 70), st.integers(1, 70)),
    quality=st.integers(1, 100),
    kind=st.integers(0, 2),
    seed=st.integers(0, 1000),
)
def test_pictures_of_every_kind_come_out_as_pillow_writes_them(
    mode: str, size: tuple[int, int], quality: int, kind: int, seed: int
) -> None:
    flat = Image.new(mode, size, seed % 256 if mode == "L" else (seed % 256, 77, 255 - seed % 256))
    noise = _noise(mode, size, seed)
    written([noise, Image.blend(flat, noise, 0.2), flat][kind], quality)  # which compares them


@pytest.mark.parametrize("quality", [40, 80, 95])
def test_a_photo_comes_out_as_pillow_writes_it(quality: int) -> None:
    with Image.open(PHOTOS / "Apple_iPhone_5.jpg") as photo:
        picture = photo.convert("RGB")
    picture.info = {}
    written(picture, quality)
    written(picture.convert("L"), quality)


def test_more_noise_than_a_chunk_of_notes_holds() -> None:
    written(_noise("RGB", (1030, 530), 1), 100)


@pytest.mark.parametrize("mode", sorted(_MODES))
def test_a_picture_that_lies_in_several_pieces(mode: str) -> None:
    picture = Image.linear_gradient("L").resize((4099, 4102) if mode == "L" else (2050, 2051)).convert(mode)
    with pytest.raises(ValueError, match="multiple"):
        picture.__arrow_c_array__()
    written(picture)


@pytest.mark.parametrize("size", [(1, 1), (8, 8), (16, 16), (17, 16), (16, 17), (1, 300), (300, 1)])
def test_edges_of_blocks(size: tuple[int, int]) -> None:
    for mode in _MODES:
        written(_noise(mode, size, 7))


def test_what_is_too_large_for_a_jpeg_is_said() -> None:
    with pytest.raises(ValueError, match="65500"):
        jpeg.write(Image.new("L", (65_501, 1)), 80, 1)


def test_a_sink_that_takes_nothing_is_an_os_error() -> None:
    reading, writing = os.pipe()
    try:
        with pytest.raises(OSError, match="Bad file descriptor"):
            jpeg.write(Image.new("L", (8, 8)), 80, reading)
    finally:
        os.close(reading)
        os.close(writing)


def test_a_sink_that_is_full_is_an_os_error() -> None:
    process = os.fork()
    if process == 0:  # the limit is for good
        status = 1
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            jpeg.write(_noise("RGB", (500, 500), 3), 90, os.memfd_create("full"))
        except OSError as error:
            status = 0 if error.errno == errno.EFBIG else 2
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 0


def _nothing(_picture: Image.Image, _quality: int, sink: int) -> None:
    os.write(sink, b"\xff\xd8\xff\xd9")


def _black(_data: mmap.mmap, _header: Header, size: Size) -> Image.Image:
    return Image.new("L", size)


@pytest.mark.parametrize(("name", "other"), [("write", _nothing), ("reduced", _black)])
def test_a_libjpeg_that_it_does_not_fit_is_noticed_at_the_start(
    name: str, other: Callable[..., object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jpeg, name, other)
    with pytest.raises(codecs.CodecError, match="does not fit"):
        codecs.verify()
