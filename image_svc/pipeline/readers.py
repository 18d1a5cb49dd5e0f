"""Pillow's readers, told what they do not know: what is a note and no part of a picture must not keep it from being

shown, and what stands in a file must be meant as its standard says.
"""

from __future__ import annotations

import io
import re
import struct
import sys
import zlib
from contextlib import suppress
from mmap import mmap
from typing import Any, Final

from PIL import PngImagePlugin, TiffImagePlugin
from PIL.GifImagePlugin import GifImageFile
from PIL.PngImagePlugin import PngImageFile, PngStream
from PIL.TiffImagePlugin import ImageFileDirectory_v2, TiffImageFile
from pillow_avif.AvifImagePlugin import AvifImageFile

from image_svc.pipeline.headers import Header

# Our caps stand before the readers. Profiles of printers have more than the megabyte that Pillow grants.
PngImagePlugin.MAX_TEXT_CHUNK = PngImagePlugin.MAX_TEXT_MEMORY = sys.maxsize
# Pillow's own reader of uncompressed TIFF gives wrong pixels for 16 bits in planes and for YCbCr; libtiff does not.
TiffImagePlugin.READ_LIBTIFF = True
# 16-bit grey of either byte order, white first. Pillow knows one of the two, and inverts neither: `Header.inverted`.
TiffImagePlugin.OPEN_INFO[TiffImagePlugin.MM, 0, (1,), 1, (16,), ()] = ("I;16B", "I;16B")

_LOWER_CASE: Final = 0x20  # of a chunk's first letter: the picture can be shown without it (PNG-3, 5.4)
_COLOURS: Final = frozenset({b"tRNS", b"gAMA", b"cHRM", b"sRGB", b"iCCP"})
# Of fewer than 8 bits Pillow makes 8: by so much it multiplies them.
_GREYS: Final = {2: 85, 4: 17}
_GREY, _RGB = 0, 2  # colour types
# The entry of an item of Exif: its version, number and protection, then its type (8.11.6 of ISO/IEC 14496-12).
_EXIF_ITEM: Final = re.compile(rb"(infe.{8}(?:..)?)Exif", re.DOTALL)


class _Stream(PngStream):
    """The chunks of a PNG. Of those that a picture can be shown without, Pillow gets what is sound and about colours.

    The others are notes, and the frames of an animation, which `headers.png` takes apart.
    """

    def call(self, cid: bytes, pos: int, length: int) -> bytes:
        """Reads a chunk's content; its check sum comes next."""
        if not cid[0] & _LOWER_CASE:
            return super().call(cid, pos, length)
        file: Any = self.fp
        content: bytes = file.read(length)
        if cid in _COLOURS and file.read(4) == struct.pack(">I", zlib.crc32(cid + content)):
            file.seek(pos)
            with suppress(ValueError, SyntaxError, IndexError, struct.error):
                super().call(cid, pos, length)
        file.seek(pos + len(content))
        return content

    def crc(self, cid: bytes, data: bytes) -> None:
        """Checks a chunk's sum, where that matters."""
        if cid[0] & _LOWER_CASE:
            self.crc_skip(cid, data)
        else:
            super().crc(cid, data)


class PngReader(PngImageFile):
    """A PNG's still picture."""

    def _open(self) -> None:
        usual = PngImagePlugin.PngStream
        PngImagePlugin.PngStream = _Stream  # type: ignore[misc]  # the reader makes its stream by this name
        try:
            super()._open()
        finally:
            PngImagePlugin.PngStream = usual  # type: ignore[misc]
        bits, colours = _head(self.fp)
        key: Any = self.info.get("transparency")
        # Pillow compares a colour that stands for none with samples of 8 bits.
        if colours == _GREY and bits in _GREYS and key is not None:
            self.info["transparency"] = key * _GREYS[bits]
        elif colours == _RGB and bits > 8 and key is not None:
            self.info["transparency"] = tuple(sample >> 8 for sample in key)


def _head(file: Any) -> tuple[int, int]:
    """A PNG's bits a sample, and its colour type."""
    at = file.tell()
    file.seek(24)
    bits, colours = file.read(2)
    file.seek(at)
    return bits, colours


class GifReader(GifImageFile):
    """A GIF of one frame, or the first of several."""

    def _open(self) -> None:
        super()._open()
        if self._mode == "L":  # its own palette, which is one of greys in order: it takes the place of the common one
            self.palette = None


def avif(data: mmap | io.BytesIO) -> AvifImageFile:
    """An AVIF. One whose Exif libavif cannot read is read without it: it turns nothing."""
    try:
        return AvifImageFile(data)
    except ValueError as error:
        if "Exif" not in str(error):
            raise
    data.seek(0)
    return AvifImageFile(io.BytesIO(_EXIF_ITEM.sub(rb"\1none", data.read())))


class TiffReader(TiffImageFile):
    """A TIFF's first page, as it is stored: whoever asks for it turns it.

    Pillow would read all of a directory, and refuse a picture for a note that points beyond its end. It is told what
    `headers.tiff` has found; libtiff, which decodes the pixels, leaves notes alone.
    """

    def __init__(self, data: mmap, header: Header) -> None:
        self._data, self._header = data, header
        super().__init__(data)  # type: ignore[arg-type]  # a file in all that is asked of it

    def _open(self) -> None:
        directory = ImageFileDirectory_v2(prefix=self._data[:2])
        directory._offset = self._header.place
        for tag, (kind, content) in self._header.tags.items():
            directory.tagtype[tag], directory._tagdata[tag] = kind, content
        self.tag_v2 = directory
        self._setup()

    def load_end(self) -> None:
        """Nothing is turned here, and no note is read."""
