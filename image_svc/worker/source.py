"""The original on its way into memory: bounded by what was announced, hashed as it streams."""

from __future__ import annotations

import hashlib
import os
from types import TracebackType
from typing import Self

from image_svc.pipeline.types import Reason, Rejected
from image_svc.ports import Original


class Source:
    """An anonymous file in memory with the original's bytes. `sha256` is theirs once `fill` has returned."""

    def __init__(self) -> None:
        self.fd = os.memfd_create("original", os.MFD_CLOEXEC)
        self.sha256 = b""

    async def fill(self, original: Original, *, size: int, sha256: bytes) -> None:
        """Reads the whole object; a repeated call starts afresh.

        Raises `Rejected` when it is not of the announced size, before anything is read, or not of the announced
        SHA-256 (none was announced where it is empty).
        """
        if original.size > size:
            raise Rejected(Reason.TOO_LARGE, f"it has {original.size} bytes, {size} were announced")
        if original.size < size:
            raise Rejected(Reason.CONTENT_MISMATCH, f"it has {original.size} bytes, {size} were announced")
        os.ftruncate(self.fd, 0)
        digest = hashlib.sha256()
        read = 0
        async for chunk in original.chunks():
            read += len(chunk)
            if read > size:  # S3 sends no more than it said; whatever stands in between might
                raise Rejected(Reason.TOO_LARGE, f"it has more than the {size} bytes that were announced")
            digest.update(chunk)
            _write(self.fd, chunk, read - len(chunk))
        self.sha256 = digest.digest()
        if sha256 and self.sha256 != sha256:
            raise Rejected(Reason.CONTENT_MISMATCH, "its SHA-256 is another one than was announced")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self.fd)


def _write(fd: int, chunk: bytes, offset: int) -> None:
    with memoryview(chunk) as view:
        done = 0
        while done < len(view):
            done += os.pwrite(fd, view[done:], offset + done)
