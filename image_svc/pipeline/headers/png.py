"""PNG: https://www.w3.org/TR/png-3/"""

from __future__ import annotations

import zlib
from mmap import mmap
from typing import Final

from image_svc.pipeline.caps import Caps
from image_svc.pipeline.headers.header import Header, malformed, truncated
from image_svc.pipeline.types import Reason, Rejected

_SIGNATURE_BYTES: Final = 8
# Pillow refuses a single text or profile chunk beyond this (`PngImagePlugin.MAX_TEXT_CHUNK`), in bytes inflated.
_MAX_CHUNK_INFLATED: Final = 1024 * 1024
# Encoders write 8 KiB of data a chunk, and more; this many are only there to keep a parser busy.
_MAX_CHUNKS: Final = 200_000


def inspect(data: mmap, caps: Caps) -> Header:
    """Walks the chunks: dimensions, frames, and what the compressed text and profile chunks inflate to."""
    if data[12:16] != b"IHDR" or len(data) < 33:
        raise truncated() if len(data) < 33 else malformed("it has no header")
    size = int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")
    frames, inflated = 1, 0
    at = _SIGNATURE_BYTES
    for _ in range(_MAX_CHUNKS):
        length, kind = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
        body = at + 8
        at = body + length + 4
        if kind == b"IEND":
            return Header(frames=frames, size=size)
        # Whether the pixels are all there is for the decoder to say: some tools leave out the end.
        if at > len(data):
            return Header(frames=frames, size=size)
        if kind == b"acTL":
            frames = max(1, int.from_bytes(data[body : body + 4], "big"))
            caps.check_frames(frames)
        elif kind in {b"zTXt", b"iCCP", b"iTXt"}:
            inflated += _inflated(_compressed_part(kind, data[body : body + length]))
            if inflated > caps.max_inflated_bytes:
                raise _bomb()
    raise Rejected(Reason.TOO_COMPLEX, f"The PNG has more than {_MAX_CHUNKS} chunks.")


def _compressed_part(kind: bytes, body: bytes) -> bytes:
    """The zlib stream in a chunk; empty where there is none."""
    _, _, rest = body.partition(b"\0")
    if kind != b"iTXt":
        return rest[1:]
    if rest[:1] != b"\x01":
        return b""
    return rest[2:].partition(b"\0")[2].partition(b"\0")[2]


def _inflated(stream: bytes) -> int:
    """How many bytes it inflates to. Raises `Rejected` beyond the limit; broken streams count as far as they go."""
    inflater = zlib.decompressobj()
    try:
        size = len(inflater.decompress(stream, _MAX_CHUNK_INFLATED))
        if inflater.unconsumed_tail and inflater.decompress(inflater.unconsumed_tail, 1):
            raise _bomb()
    except zlib.error:
        return 0
    return size


def _bomb() -> Rejected:
    return Rejected(Reason.TOO_COMPLEX, "The PNG has text or profile chunks that inflate beyond all use.")
