"""TIFF 6.0: only its first directory is looked at."""

from __future__ import annotations

import struct
from mmap import mmap
from typing import Final

from image_svc.pipeline.caps import Caps
from image_svc.pipeline.headers.header import Header, malformed, truncated
from image_svc.pipeline.types import Reason, Rejected

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
        (at,) = struct.unpack_from(order + "I", data, 4)
        (entries,) = struct.unpack_from(order + "H", data, at)
        if entries > _MAX_ENTRIES:
            raise malformed("its directory is out of all bounds")
        tags = dict(struct.unpack_from(order + "H6xH2x", data, at + 2 + 12 * entry) for entry in range(entries))
    except struct.error:
        raise truncated() from None
    if _DNG_VERSION in tags:
        raise Rejected(Reason.UNSUPPORTED_FORMAT, "Camera raw (DNG) is not accepted.")
    if tags.get(_COMPRESSION, 1) not in _ACCEPTED:
        raise Rejected(Reason.UNSUPPORTED_FORMAT, f"TIFF compression {tags[_COMPRESSION]} is not accepted.")
    return Header()
