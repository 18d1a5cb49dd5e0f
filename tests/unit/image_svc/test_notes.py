"""What a JPEG notes before its pixels: how it is turned, and its profile; as Pillow reads them, where Pillow does."""

from __future__ import annotations

import io
import mmap
import os
import struct
from pathlib import Path

import pytest
from PIL import Image, ImageCms
from PIL.JpegImagePlugin import JpegImageFile

from image_svc.pipeline.headers import Header, exif, jpeg
from tests.support.developing import CAPS, DATA, PHOTOS, drawn, encoded

_SHORT, _LONG, _ASCII = 3, 4, 2
# Refused before anybody looks at its notes.
_CUT_SHORT = "28968137f4fc75fbf56f16d7a7a8551a.jpg"


def _directory(order: str, *entries: tuple[int, int, int, bytes], announced: int | None = None) -> bytes:
    """Of Exif: tag, type, number of values and the four bytes of each entry."""
    head = b"II*\0" if order == "<" else b"MM\0*"
    listed = b"".join(struct.pack(f"{order}HHI", tag, kind, count) + value for tag, kind, count, value in entries)
    return head + struct.pack(f"{order}IH", 8, len(entries) if announced is None else announced) + listed + bytes(4)


def _short(order: str, value: int) -> tuple[int, int, int, bytes]:
    return 0x0112, _SHORT, 1, struct.pack(f"{order}HH", value, 0)


_MAKE = (0x010F, _ASCII, 4, b"abc\0")


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("head", [b"", b"Exif\0\0"])
@pytest.mark.parametrize("value", range(1, 9))
def test_the_turn_is_read_in_either_byte_order_with_and_without_a_head(order: str, head: bytes, value: int) -> None:
    assert exif.orientation(head + _directory(order, _MAKE, _short(order, value))) == value


@pytest.mark.parametrize(
    ("notes", "value"),
    [
        (b"", 1),
        (b"Exif\0\0", 1),
        (b"Exif\0\0" * 9 + _directory("<", _short("<", 6)), 1),
        (b"II+\0" + _directory("<", _short("<", 6))[4:], 1),
        (_directory("<"), 1),
        (_directory("<", _short("<", 0)), 1),
        (_directory("<", _short("<", 9)), 1),
        (_directory("<", (0x0112, _LONG, 1, struct.pack("<I", 8))), 8),
        (_directory(">", (0x0112, _LONG, 1, struct.pack(">I", 0x10006))), 1),
        (_directory("<", (0x0112, _ASCII, 2, b"6\0\0\0")), 1),
        (_directory("<", (0x0112, _SHORT, 0xFFFFFFFF, b"\6\0\0\0")), 1),
        (_directory("<", _short("<", 6), announced=0xFFFF), 6),  # which ends before the others come
        (_directory("<", _MAKE, _short("<", 6))[:-8], 1),  # cut before the value
        (b"II*\0\xff\xff\xff\xff" + bytes(20), 1),
        (b"II*\0\6\0\0\0" + bytes(4), 1),
    ],
)
def test_notes_that_say_nothing_or_nonsense_turn_nothing(notes: bytes, value: int) -> None:
    assert exif.orientation(notes) == value


def test_a_turn_that_goes_on_in_a_second_segment_is_found() -> None:
    notes = _directory(">", *(_MAKE for _ in range(20)), _short(">", 3))
    first, second = notes[:100], notes[100:]
    header = _header(_with(encoded(drawn((16, 16)), "JPEG"), *((0xE1, b"Exif\0\0" + part) for part in (first, second))))
    assert exif.orientation(header.exif or b"") == 3


@pytest.mark.parametrize(
    ("pieces", "whole"),
    [
        ([], None),
        ([b"\1\1all"], b"all"),
        ([b"\2\2two", b"\1\2one "], b"one two"),
        ([b"\1\2one"], None),
        ([b"\1\1one", b"\1\1one"], None),
        ([b"\1"], None),
        ([b""], None),
    ],
)
def test_a_profile_in_pieces_is_put_together_or_left_out(pieces: list[bytes], whole: bytes | None) -> None:
    content = encoded(drawn((16, 16)), "JPEG")
    header = _header(_with(content, *((0xE2, b"ICC_PROFILE\0" + piece) for piece in pieces)))
    assert header.profile == whole


def test_a_profile_larger_than_a_segment_comes_whole() -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    large = profile + bytes(150_000)
    assert _header(encoded(drawn((16, 16)), "JPEG", icc_profile=large)).profile == large


def _jpegs() -> list[Path]:
    whole = {path.name: path for folder in (PHOTOS, DATA) for path in folder.glob("*.jpg") if path.name != _CUT_SHORT}
    return sorted(whole.values())


@pytest.mark.parametrize("path", _jpegs(), ids=lambda path: path.name)
def test_a_jpeg_is_read_as_pillow_reads_it(path: Path) -> None:
    content = path.read_bytes()
    ours = _header(content)
    theirs = JpegImageFile(io.BytesIO(content))
    assert (ours.size, ours.mode) == (theirs.size, theirs.mode)
    assert ours.profile == theirs.info.get("icc_profile")
    notes = Image.Exif()
    notes.load(theirs.info.get("exif", b""))
    assert exif.orientation(ours.exif or b"") == notes.get(0x0112, 1)


def _header(content: bytes) -> Header:
    descriptor = os.memfd_create("jpeg")
    os.write(descriptor, content)
    with mmap.mmap(descriptor, len(content)) as data:
        os.close(descriptor)
        return jpeg.inspect(data, CAPS)


def _with(content: bytes, *segments: tuple[int, bytes]) -> bytes:
    """A JPEG with more segments at its start."""
    more = b"".join(bytes([0xFF, marker]) + struct.pack(">H", len(body) + 2) + body for marker, body in segments)
    return content[:2] + more + content[2:]
