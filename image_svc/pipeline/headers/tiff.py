"""TIFF 6.0 and BigTIFF (www.awaresystems.be/imaging/tiff/bigtiff.html): only its first directory is looked at."""

from __future__ import annotations

import struct
from mmap import mmap
from typing import Final

from image_svc.pipeline.caps import Caps
from image_svc.pipeline.headers.header import Header, malformed, truncated
from image_svc.pipeline.types import Reason, Rejected

_BIG: Final = 43
_COMPRESSION: Final = 259
_DNG_VERSION: Final = 50706
# None, CCITT 1D/G3/G4, LZW, JPEG, Deflate (two numbers), PackBits. The others are rare and their decoders little tried.
_ACCEPTED: Final = frozenset({1, 2, 3, 4, 5, 7, 8, 32946, 32773})
# Real files have a few dozen; a reader pays for each.
_MAX_ENTRIES: Final = 1024


def inspect(data: mmap, _caps: Caps) -> Header:
    """Reads the first directory for its compression, and tells camera raw files apart."""
    order = "<" if data[:2] == b"II" else ">"
    try:
        big = struct.unpack_from(order + "H", data, 2) == (_BIG,)
        (at,) = struct.unpack_from(order + ("Q" if big else "I"), data, 8 if big else 4)
        if at > len(data):
            raise truncated()
        (entries,) = struct.unpack_from(order + ("Q" if big else "H"), data, at)
        if entries > _MAX_ENTRIES:
            raise malformed("its directory is out of all bounds")
        head, form, step = (8, "H10xH6x", 20) if big else (2, "H6xH2x", 12)
        tags = dict(struct.unpack_from(order + form, data, at + head + step * entry) for entry in range(entries))
    except struct.error:
        raise truncated() from None
    if _DNG_VERSION in tags:
        raise Rejected(Reason.UNSUPPORTED_FORMAT, "Camera raw (DNG) is not accepted.")
    if tags.get(_COMPRESSION, 1) not in _ACCEPTED:
        raise Rejected(Reason.UNSUPPORTED_FORMAT, f"TIFF compression {tags[_COMPRESSION]} is not accepted.")
    return Header()
