"""Caps on what a file's header may announce, checked before a pixel is decoded."""

from __future__ import annotations

from dataclasses import dataclass

from image_svc.pipeline.types import Reason, Rejected


@dataclass(frozen=True, slots=True)
class Caps:
    """Most pixels of a frame, frames, JPEG scans, bytes that PNG chunks inflate to, and bytes of memory for pixels."""

    max_pixels: int
    max_frames: int
    max_scans: int
    max_inflated_bytes: int
    memory_bytes: int

    def check_frames(self, frames: int) -> None:
        """Raises `Rejected` for more frames than allowed."""
        if frames > self.max_frames:
            raise Rejected(Reason.TOO_MANY_FRAMES, f"The file has more than {self.max_frames} frames.")

    def check_pixels(self, width: int, height: int, memory: int) -> None:
        """Raises `Rejected` for too many pixels, or where decoding would need too much `memory` (bytes) at its peak."""
        if width * height > self.max_pixels:
            raise Rejected(
                Reason.TOO_MANY_PIXELS,
                f"The picture has {width}x{height} pixels; at most "
                f"{self.max_pixels // 1_000_000} megapixels are accepted.",
            )
        if memory > self.memory_bytes:
            most = int(self.memory_bytes / (memory / (width * height)) / 1_000_000)
            raise Rejected(
                Reason.TOO_MANY_PIXELS,
                f"The picture has {width}x{height} pixels; at most {most} megapixels are "
                "accepted of this kind of file.",
            )
