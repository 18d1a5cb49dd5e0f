"""WebP: https://developers.google.com/speed/webp/docs/riff_container"""

from __future__ import annotations

from mmap import mmap
from typing import Final

from image_svc.pipeline.caps import Caps
from image_svc.pipeline.headers.header import Header, damaged, truncated

# Coded pixels do not end in so many zeros, but what a download left out does; nothing else tells.
_HOLE: Final = bytes(32)
_PIXELS: Final = frozenset({b"VP8 ", b"VP8L", b"ANMF"})


def inspect(data: mmap, caps: Caps) -> Header:
    """Walks the chunks: is the file whole, and how many frames has it."""
    end = 8 + int.from_bytes(data[4:8], "little")
    if end > len(data):
        raise truncated()
    frames, at = 0, 12
    while at + 8 <= end:
        kind, length = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "little")
        if kind == b"ANMF":
            frames += 1
            caps.check_frames(frames)
        at += 8 + length + (length & 1)
        if kind in _PIXELS and at <= end and data[at - len(_HOLE) : at] == _HOLE:
            raise damaged()
    return Header(frames=max(1, frames))
