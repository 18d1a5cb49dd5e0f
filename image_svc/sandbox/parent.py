"""The caller's side of the sandbox."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Self

from image_svc.pipeline.presets import Preset
from image_svc.sandbox.types import Developed, SandboxLimits


class Sandbox:
    """A running helper and the jobs in its hands. Made by `start`; ends with `close` or as a context manager."""

    @classmethod
    async def start(cls, limits: SandboxLimits | None = None) -> Self:
        """Starts the helper and waits until its codecs are loaded and verified. Raises `SandboxError`."""
        raise NotImplementedError

    @property
    def build(self) -> str:
        """Names the code, the codec builds and the SIMD level; part of each variant's fingerprint."""
        raise NotImplementedError

    async def develop(self, source_fd: int, announced_content_type: str | None, presets: Sequence[Preset]) -> Developed:
        """Decodes the file behind `source_fd` in a child of its own and makes a variant for each preset.

        The file is read from its start, whatever the descriptor's position, which stays; the caller keeps and closes
        it. Raises `Rejected`, `TimedOut`, `Killed` or `SandboxError`. Cancellation kills the child and frees all.
        """
        raise NotImplementedError

    async def close(self) -> None:
        """Kills what is in work, ends the helper and waits for it."""
        raise NotImplementedError

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()
