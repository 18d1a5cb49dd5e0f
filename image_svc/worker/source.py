"""The original on its way into memory: bounded by what was announced, hashed as it streams."""

from __future__ import annotations

import hashlib
import os
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from image_svc.pipeline.types import Reason, Rejected
from image_svc.ports import Original

# Bytes of the largest original whose memory is kept for the next one: a phone's photo, not a scan. As many are kept as
# were in hand at a time.
_KEPT: Final = 16 * 1024 * 1024


class Source:
    """An anonymous file in memory with the original's bytes. `sha256` is theirs once `fill` has returned."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
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
        digest = hashlib.sha256()
        read = 0
        async for chunk in original.chunks():
            read += len(chunk)
            if read > size:  # S3 sends no more than it said; whatever stands in between might
                raise Rejected(Reason.TOO_LARGE, f"it has more than the {size} bytes that were announced")
            digest.update(chunk)
            _write(self.fd, chunk, read - len(chunk))
        # Whatever was here before: from now on there is this object and nothing else.
        os.ftruncate(self.fd, read)
        self.sha256 = digest.digest()
        if sha256 and self.sha256 != sha256:
            raise Rejected(Reason.CONTENT_MISMATCH, "its SHA-256 is another one than was announced")


class Sources:
    """Memory for originals. What one leaves serves the next: new pages, and giving them back, are an eighth of the CPU
    that a photo costs outside the sandbox.

    A child sees a source only when `fill` has returned, and none of another's bytes in it; who maps it has ended by the
    time that it is used again. What was read stays in this process's memory until then, as it does in any heap.
    """

    def __init__(self) -> None:
        self._free: list[int] = []
        weakref.finalize(self, _close, self._free)

    @contextmanager
    def one(self) -> Iterator[Source]:
        """A source for one original. What did not end well leaves nothing."""
        fd = self._free.pop() if self._free else os.memfd_create("original", os.MFD_CLOEXEC)
        try:
            yield Source(fd)
        except BaseException:
            os.close(fd)
            raise
        if os.fstat(fd).st_size > _KEPT:
            os.close(fd)
        else:
            self._free.append(fd)


def _close(descriptors: list[int]) -> None:
    while descriptors:
        os.close(descriptors.pop())


def _write(fd: int, chunk: bytes, offset: int) -> None:
    with memoryview(chunk) as view:
        done = 0
        while done < len(view):
            done += os.pwrite(fd, view[done:], offset + done)
