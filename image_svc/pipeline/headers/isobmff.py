"""The boxes of AVIF and HEIC: ISO/IEC 14496-12."""

from __future__ import annotations

from mmap import mmap

from image_svc.pipeline.caps import Caps
from image_svc.pipeline.headers.header import Header, malformed, truncated


def inspect(data: mmap, _caps: Caps) -> Header:
    """Walks the outer boxes: is the file whole. Dimensions and frames are read by the libraries, without decoding."""
    at, end = 0, len(data)
    described = False
    while at + 8 <= end:
        size, kind, head = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8], 8
        if size == 1:
            size, head = int.from_bytes(data[at + 8 : at + 16], "big"), 16
        if size == 0:  # up to the end
            size = end - at
        if size < head:
            break
        if at + size > end:
            raise truncated()
        described = described or kind in {b"meta", b"moov"}
        at += size
    if not described:
        raise truncated() if at >= end else malformed("it describes no picture")
    return Header()
