"""PNG and TIFF files written by hand, in the layouts that Pillow reads but does not write."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[Any]

ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
# PNG 11.2.1: colour type by number of channels; a palette is asked for by name.
_COLOR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}


def chunk(kind: bytes, body: bytes) -> bytes:
    """A chunk of a PNG."""
    return len(body).to_bytes(4, "big") + kind + body + zlib.crc32(kind + body).to_bytes(4, "big")


def png(
    samples: Samples,
    bits: int = 8,
    *,
    interlaced: bool = False,
    palette: bytes | None = None,
    chunks: Iterable[tuple[bytes, bytes]] = (),
    rows: int | None = None,
) -> bytes:
    """A PNG of `samples` (height, width, channels), in the type that the channels ask for; `rows` stops it early."""
    height, width, channels = samples.shape
    color = 3 if palette is not None else _COLOR_TYPES[channels]
    header = struct.pack(">IIBBBBB", width, height, bits, color, 0, 0, int(interlaced))
    raw = b""
    for x, y, across, down in ADAM7 if interlaced else ((0, 0, 1, 1),):
        part = samples[y::down, x::across]
        if part.size:
            raw += b"".join(b"\0" + _packed(row, bits) for row in part[:rows])
    before = list(chunks) if palette is None else [(b"PLTE", palette), *chunks]
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + b"".join(chunk(kind, body) for kind, body in before)
        + chunk(b"IDAT", zlib.compress(raw))
        + chunk(b"IEND", b"")
    )


def _packed(row: Samples, bits: int) -> bytes:
    if bits == 16:
        return row.astype(">u2").tobytes()
    flat = row.astype(np.uint8).ravel()
    if bits == 8:
        return flat.tobytes()
    spread = np.unpackbits(flat[:, None], axis=1)[:, 8 - bits :]
    return np.packbits(spread).tobytes()


# TIFF 6.0: photometric interpretations.
WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, SEPARATED, YCBCR = 0, 1, 2, 3, 5, 6
_SIZES = {3: 2, 4: 4, 5: 8, 16: 8}


def tiff(
    samples: Samples,
    photometric: int,
    *,
    order: str = "<",
    planar: bool = False,
    tile: int | None = None,
    strip: int | None = None,
    deflate: bool = False,
    bits: int | None = None,
    tags: Sequence[tuple[int, int, Sequence[int]]] = (),
) -> bytes:
    """An uncompressed or deflated TIFF of `samples` (height, width, channels): in strips of some rows, or in tiles.

    `bits` below 8 packs the samples; `tags` are further ones: number, type (3 is short, 4 is long), values.
    """
    height, width, channels = samples.shape
    depth = bits or samples.dtype.itemsize * 8
    planes = [samples[:, :, n : n + 1] for n in range(channels)] if planar else [samples]
    parts: list[bytes] = []
    for plane in planes:
        if tile is None:
            rows = strip or height
            parts += [_bytes(plane[y : y + rows], depth, order) for y in range(0, height, rows)]
        else:
            padded = np.pad(plane, ((0, -height % tile), (0, -width % tile), (0, 0)))
            parts += [
                _bytes(padded[y : y + tile, x : x + tile], depth, order)
                for y in range(0, height, tile)
                for x in range(0, width, tile)
            ]
    if deflate:
        parts = [zlib.compress(part) for part in parts]
    entries: list[tuple[int, int, Sequence[int]]] = [
        (256, 4, [width]),
        (257, 4, [height]),
        (258, 3, [depth] * channels),
        (259, 3, [8 if deflate else 1]),
        (262, 3, [photometric]),
        (277, 3, [channels]),
        (284, 3, [2 if planar else 1]),
        (339, 3, [3 if samples.dtype.kind == "f" else 1] * channels),
        *tags,
    ]
    at, offsets = 8, []
    for part in parts:
        offsets.append(at)
        at += len(part)
    counts = [len(part) for part in parts]
    if tile is None:
        entries += [(273, 4, offsets), (278, 4, [strip or height]), (279, 4, counts)]
    else:
        entries += [(322, 4, [tile]), (323, 4, [tile]), (324, 4, offsets), (325, 4, counts)]
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", at + at % 2)
    return head + b"".join(parts) + bytes(at % 2) + directory(sorted(entries), at + at % 2, order)


def directory(
    entries: Sequence[tuple[int, int, Sequence[int]]], at: int, order: str = "<", following: int = 0
) -> bytes:
    """A directory that stands at `at`: its entries, then the values that do not fit into these."""
    table = struct.pack(order + "H", len(entries))
    behind = at + 2 + 12 * len(entries) + 4
    values = b""
    for tag, kind, numbers in entries:
        packed = struct.pack(f"{order}{len(numbers)}{'H' if kind == 3 else 'I'}", *numbers)
        if len(packed) > 4:
            where = struct.pack(order + "I", behind + len(values))
            values += packed + bytes(len(packed) % 2)
            packed = where
        table += struct.pack(order + "HHI", tag, kind, len(numbers)) + packed.ljust(4, b"\0")
    return table + struct.pack(order + "I", following) + values


def _bytes(samples: Samples, bits: int, order: str) -> bytes:
    if bits < 8:
        return b"".join(_packed(row, bits) for row in samples)
    return samples.astype(samples.dtype.newbyteorder("<" if order == "<" else ">")).tobytes()
