"""What the sandbox takes, gives and raises."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from image_svc.pipeline.types import Facts, Used, Variant

_MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class SandboxLimits:
    """What one file may use. The first five bind the process, the rest are caps on what the file's header announces."""

    # Address space of the child, in bytes; the pixel caps below are derived from it.
    address_space_bytes: int = 1024 * _MIB
    # Its CPU time: an honest 100 MP photo needs 2 s, and every file must have its verdict within 10.
    cpu_seconds: int = 8
    # Wall clock, enforced from outside. Longer than the CPU limit, because a busy machine is not the file's fault.
    wall_seconds: float = 30.0
    # Descriptors: the source, the answer and one for each variant.
    open_files: int = 64
    # Bytes of one variant.
    variant_bytes: int = 64 * _MIB
    # Pixels of one frame; less where the format needs more memory per pixel.
    max_pixels: int = 100_000_000
    # Frames of an animation.
    max_frames: int = 1000
    # Scans of a JPEG. Encoders write 10 or so; each one costs a pass over all coefficients.
    max_scans: int = 64
    # What the compressed text and profile chunks of a PNG may inflate to, in bytes, in all.
    max_inflated_bytes: int = 16 * _MIB


class SandboxError(Exception):
    """The sandbox failed, through no fault of the file: try again."""


class TimedOut(Exception):  # noqa: N818 - says what happened to the file, which may be no one's error
    """The wall-clock limit passed. The file or a busy machine: try once more, alone."""


class Killed(Exception):  # noqa: N818 - as above
    """The child was killed from outside (the kernel's OOM killer, an operator): try once more, alone."""

    used: Used | None = None


class Crashed(Killed):
    """The child died of its own fault, a segmentation fault or a forbidden system call: treated as a kill."""


@dataclass(frozen=True, slots=True)
class DevelopedVariant(Variant):
    """A variant with its bytes: `fd` is a memfd of exactly `size` bytes, read from offset 0 (`os.pread`, mmap)."""

    fd: int


@dataclass(frozen=True, slots=True)
class Developed:
    """A developed file. Whoever gets it closes it: `with developed: ...`, or `close()`, frees every variant's bytes."""

    facts: Facts
    variants: tuple[DevelopedVariant, ...]
    used: Used  # by the child

    def close(self) -> None:
        """Frees the bytes of every variant. Repeating it is harmless only while no new descriptor was opened: don't."""
        for variant in self.variants:
            with suppress(OSError):
                os.close(variant.fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
