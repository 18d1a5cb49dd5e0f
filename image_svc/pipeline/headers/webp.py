"""WebP: https://developers.google.com/speed/webp/docs/riff_container"""

from __future__ import annotations

from mmap import mmap

from image_svc.pipeline.caps import Caps
from image_svc.pipeline.headers.header import Header, truncated


def inspect(data: mmap, caps: Caps) -> Header:
    """Walks the chunks: is the file whole, and how many frames has it."""
    end = 8 + int.from_bytes(data[4:8], "little")
    if end > len(data):
        raise truncated()
    frames, at = 0, 12
    while at + 8 <= end:
        if data[at : at + 4] == b"ANMF":
            frames += 1
            caps.check_frames(frames)
        length = int.from_bytes(data[at + 4 : at + 8], "little")
        at += 8 + length + (length & 1)
    return Header(frames=max(1, frames))
