"""GIF: https://www.w3.org/Graphics/GIF/spec-gif89a.txt"""

from __future__ import annotations

from collections.abc import Iterator
from mmap import mmap
from typing import Final

from image_svc.pipeline import native
from image_svc.pipeline.caps import Caps
from image_svc.pipeline.headers.header import After, Frame, Header, damaged, truncated

_EXTENSION: Final = 0x21
_IMAGE: Final = 0x2C
_CONTROL: Final = b"\x21\xf9\x04"
_WIDEST: Final = 11  # bits of a colour, one less than of the longest codes
_AFTER: Final = {2: After.CLEARED, 3: After.UNDONE, 4: After.UNDONE}  # 4 was meant for 3 by some


def inspect(data: mmap, caps: Caps) -> Header:
    """Walks the blocks and counts the frames, decoding none. Only the trailer may be missing, as it often is."""
    if len(data) < 13:
        raise truncated()
    at = 13 + _table_bytes(data[10])
    end = len(data)
    frames = 0
    while at < end:
        kind = data[at]
        if kind == _IMAGE and at + 10 < end:
            frames += 1
            caps.check_frames(frames)
            at += 11 + _table_bytes(data[at + 9])  # the descriptor, its colour table, the code size
        elif kind == _EXTENSION:
            at += 2
        else:  # the trailer, or what every decoder takes for one
            break
        while at < end and data[at]:
            at += data[at] + 1
        if at >= end:
            if frames and kind == _EXTENSION:  # a note behind the frames
                break
            raise truncated()
        at += 1
    if not frames:
        raise truncated()
    width, height = int.from_bytes(data[6:8], "little"), int.from_bytes(data[8:10], "little")
    return Header(frames=frames, size=(width, height) if width and height else None, forgiven=True)


def frames(data: mmap) -> Iterator[Frame]:
    """The frames of a file that `inspect` has taken, in order."""
    at = 13 + _table_bytes(data[10])
    palette, control = data[10:at], b""
    while at + 10 < len(data) and data[at] in {_EXTENSION, _IMAGE}:
        if data[at] == _EXTENSION:
            if data[at : at + 3] == _CONTROL:
                control = data[at : at + 8]
            at = _behind(data, at + 2)
            continue
        end = _behind(data, at + 11 + _table_bytes(data[at + 9]))
        left, top, width, height = (int.from_bytes(data[at + n : at + n + 2], "little") for n in (1, 3, 5, 7))
        size = data[at + 5 : at + 9]
        yield Frame(
            left,
            top,
            width,
            height,
            True,
            10 * int.from_bytes(control[4:6], "little"),
            _AFTER.get(control[3] >> 2 & 7, After.STAYS) if control else After.STAYS,
            b"GIF89a%b%b%b,%b%b%b;" % (size, palette, control, bytes(4), size, data[at + 9 : end]),
        )
        at, control = end, b""


def check_rows(data: mmap | bytes) -> None:
    """Raises `Rejected` where the compressed pixels of the first frame end before the frame does, in good order, which

    Pillow takes for the end of the picture; or where they are more.
    """
    at = 13 + _table_bytes(data[10])
    while data[at] == _EXTENSION:
        at = _behind(data, at + 2)
    pixels = int.from_bytes(data[at + 5 : at + 7], "little") * int.from_bytes(data[at + 7 : at + 9], "little")
    at += 10 + _table_bytes(data[at + 9])
    least, at = min(data[at], _WIDEST), at + 1
    coded = bytearray()
    while data[at]:
        coded += data[at + 1 : at + 1 + data[at]]
        at += data[at] + 1
    end, count = native.lzw(bytes(coded), least)
    if count < pixels:
        raise truncated()
    if end is native.End.BROKEN or (end is native.End.CODED and count > pixels):
        raise damaged()


def _behind(data: mmap | bytes, at: int) -> int:
    """Where the chain of blocks that starts here has ended."""
    while at < len(data) and data[at]:
        at += data[at] + 1
    return at + 1


def _table_bytes(flags: int) -> int:
    """Bytes of a colour table, from the flags that announce it."""
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0
