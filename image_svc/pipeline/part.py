"""A part of a file, as a file."""

from __future__ import annotations

from mmap import mmap
from typing import Final

from image_svc.pipeline.headers import Header

# libjpeg reads ahead of what it decodes, by at most eight bytes; FF is written as FF 00 in coded data. Where whole
# blocks are missing, it runs out of these at once.
_AHEAD: Final = b"\xff\x00" * 8


class Part:
    """The first `end` bytes of a mapped file and then a `tail`: as much of a file as Pillow's readers ask for."""

    def __init__(self, data: mmap, end: int, tail: bytes) -> None:
        self._data = data
        self._end = end
        self._tail = tail
        self._at = 0

    def read(self, size: int = -1) -> bytes:
        """Up to `size` bytes; all that are left for a negative one."""
        whole = self._end + len(self._tail)
        stop = whole if size < 0 else min(self._at + size, whole)
        start, self._at = self._at, max(stop, self._at)
        if stop <= self._end:
            return self._data[start:stop]
        return self._data[start : self._end] + self._tail[max(start - self._end, 0) : stop - self._end]

    def seek(self, offset: int, whence: int = 0) -> int:
        """Moves to an offset from the start, from here (1) or from the end (2)."""
        self._at = max(0, offset + (0, self._at, self._end + len(self._tail))[whence])
        return self._at

    def tell(self) -> int:
        """Where the next byte is read."""
        return self._at


def single_scan(data: mmap, header: Header) -> Part | mmap:
    """A JPEG of one scan without its end marker, and the whole file otherwise.

    At an end marker that comes too early libjpeg paints what is missing grey and goes on; at the end of its data it
    asks for more, and Pillow says that the file is truncated. A picture that is whole needs neither.
    """
    return data if header.single_scan_end is None else Part(data, header.single_scan_end, _AHEAD)
