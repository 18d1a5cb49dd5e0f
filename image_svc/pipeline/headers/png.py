"""PNG: https://www.w3.org/TR/png-3/"""

from __future__ import annotations

import contextlib
import struct
import zlib
from collections.abc import Iterator
from mmap import mmap
from typing import Final

from image_svc.pipeline.caps import Caps
from image_svc.pipeline.headers.header import After, Frame, Header, damaged, malformed, truncated
from image_svc.pipeline.types import Reason, Rejected

_SIGNATURE_BYTES: Final = 8
# Encoders write 8 KiB of data a chunk, and more; this many are only there to keep a parser busy.
_MAX_CHUNKS: Final = 200_000
# Without these there is no picture; their check sums are what tells a bit that has flipped.
_PIXELS: Final = frozenset({b"IHDR", b"PLTE", b"IDAT", b"fdAT"})
# Channels by colour type (11.2.1), and the passes of Adam7 (8.2): first column and row, steps across and down.
_CHANNELS: Final = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_ADAM7: Final = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
_PIECE: Final = 1 << 20
_AFTER: Final = {1: After.CLEARED, 2: After.UNDONE}  # 11.3.6.2 (APNG)
_CONTROL: Final = struct.Struct(">IIIIIHHBB")


def inspect(data: mmap, caps: Caps) -> Header:
    """Walks the chunks: dimensions, frames, colour, check sums, and what compressed text and profiles inflate to."""
    if data[12:16] != b"IHDR" or len(data) < 33:
        raise truncated() if len(data) < 33 else malformed("it has no header")
    size = int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")
    frames, controls, inflated, loop, coded = 1, 0, 0, 0, False
    color = exif = None
    for kind, body, length in _chunks(data):
        if kind in _PIXELS and zlib.crc32(data[body - 4 : body + length]) != _number(data, body + length):
            raise damaged()
        coded = coded or kind == b"IDAT"
        if kind == b"acTL" and length >= 8:
            frames, loop = max(1, _number(data, body)), _number(data, body + 4)
            caps.check_frames(frames)
        elif kind == b"fcTL":
            controls += 1
        elif kind == b"cICP" and length >= 2:
            color = data[body], data[body + 1]
        elif kind == b"eXIf":
            exif = data[body : body + length]
        elif kind in {b"zTXt", b"iCCP", b"iTXt"}:
            inflated += _inflated(
                _compressed_part(kind, data[body : body + length]), caps.max_inflated_bytes - inflated
            )
    if not coded or (frames > 1 and controls < frames):
        raise truncated()
    return Header(frames=frames, size=size, color=color, exif=exif, loop=loop)


def frames(data: mmap) -> Iterator[Frame]:
    """The frames of an animation, in order. A still picture that stands before them is none. Raises `Rejected`."""
    shared: list[bytes] = []  # the palette, and what stands for transparent
    coded: list[bytes] = []
    control = b""
    for kind, body, length in _chunks(data):
        content = data[body : body + length]
        if kind == b"fcTL":
            if coded:
                yield _frame(data, shared, control, coded)
            control, coded = content, []
        elif kind in {b"PLTE", b"tRNS"}:
            shared.append(data[body - 8 : body + length + 4])
        elif kind == b"IDAT" and control:
            coded.append(content)
        elif kind == b"fdAT" and control:
            coded.append(content[4:])
    if coded:
        yield _frame(data, shared, control, coded)


def _frame(data: mmap, shared: list[bytes], control: bytes, coded: list[bytes]) -> Frame:
    if len(control) < _CONTROL.size:
        raise truncated()
    _, width, height, left, top, time, unit, after, over = _CONTROL.unpack_from(control)
    header = _chunk(b"IHDR", struct.pack(">II", width, height) + data[24:29])
    pixels = _chunk(b"IDAT", b"".join(coded))
    return Frame(
        left,
        top,
        width,
        height,
        over == 1,
        1000 * time / (unit or 100),
        _AFTER.get(after, After.STAYS),
        b"\x89PNG\r\n\x1a\n%b%b%b%b" % (header, b"".join(shared), pixels, _chunk(b"IEND", b"")),
    )


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def _chunks(data: mmap) -> Iterator[tuple[bytes, int, int]]:
    """Kind, place and length of each whole chunk, up to the end: some tools leave that out."""
    at = _SIGNATURE_BYTES
    for _ in range(_MAX_CHUNKS):
        length, kind = _number(data, at), data[at + 4 : at + 8]
        body = at + 8
        at = body + length + 4
        if kind == b"IEND" or at > len(data):
            return
        yield kind, body, length
    raise Rejected(Reason.TOO_COMPLEX, f"The PNG has more than {_MAX_CHUNKS} chunks.")


def _number(data: mmap, at: int) -> int:
    return int.from_bytes(data[at : at + 4], "big")


def interlaced(data: mmap) -> bool:
    """Whether the pixels come in passes."""
    return data[28] != 0


def check_rows(data: mmap) -> None:
    """Raises `Rejected` where the compressed pixels end, in good order, before the picture does.

    Pillow takes that for the end of the picture and leaves the rest black. It costs inflating everything once more.
    """
    width, height = _number(data, 16), _number(data, 20)
    bits = data[24] * _CHANNELS.get(data[25], 4)
    passes = _ADAM7 if interlaced(data) else ((0, 0, 1, 1),)
    missing = 0
    for x, y, across, down in passes:
        columns, rows = (width - x + across - 1) // across, (height - y + down - 1) // down
        missing += rows * (1 + (columns * bits + 7) // 8) if columns > 0 and rows > 0 else 0
    inflater = zlib.decompressobj()
    for kind, body, length in _chunks(data):
        if kind != b"IDAT":
            continue
        piece = data[body : body + length]
        while missing > 0 and piece and not inflater.eof:
            missing -= len(inflater.decompress(piece, _PIECE))
            piece = inflater.unconsumed_tail
    if missing > 0:
        raise truncated()


def _compressed_part(kind: bytes, body: bytes) -> bytes:
    """The zlib stream in a chunk; empty where there is none."""
    _, _, rest = body.partition(b"\0")
    if kind != b"iTXt":
        return rest[1:]
    if rest[:1] in {b"", b"\0"}:  # whatever else stands there, Pillow inflates it
        return b""
    return rest[2:].partition(b"\0")[2].partition(b"\0")[2]


def _inflated(stream: bytes, most: int) -> int:
    """How many bytes it inflates to. Raises `Rejected` beyond `most`; broken streams count as far as they go."""
    inflater, size = zlib.decompressobj(), 0
    with contextlib.suppress(zlib.error):
        while stream and not inflater.eof:
            size += len(inflater.decompress(stream, _PIECE))
            stream = inflater.unconsumed_tail
            if size > most:
                raise Rejected(Reason.TOO_COMPLEX, "The PNG has text or profile chunks that inflate beyond all use.")
    return size
