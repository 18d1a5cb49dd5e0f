"""`wait`: many requests, one look at the database every quarter of a second."""

from __future__ import annotations

import asyncio
from typing import Final

import structlog
from darkroom.metadata.v1 import metadata_pb2 as pb

from gateway.images import TERMINAL
from gateway.ports import Metadata
from runtime.errors import DarkroomError

_log = structlog.get_logger(__name__)

# Seconds. A look that takes longer than this is not worth waiting for: the next one asks again.
_LOOK_TIMEOUT: Final = 5.0


class WaitingRoom:
    """Holds requests until their image is in a terminal state.

    A background task looks at all waited-for images with one call a round, and only while somebody waits.
    """

    def __init__(self, metadata: Metadata, *, pause: float, most: int) -> None:
        """`pause` is in seconds; beyond `most` waiters nobody is held."""
        self._metadata = metadata
        self._pause = pause
        self._most = most
        self._waiting: dict[tuple[str, str], set[asyncio.Future[pb.Image | None]]] = {}
        self._count = 0
        self._somebody = asyncio.Event()
        self._closed = False

    async def until_settled(self, image: pb.Image, seconds: float) -> pb.Image:
        """The image once it is settled; as it was last seen when the time is up, the room is full, or it closes."""
        if image.state in TERMINAL or seconds <= 0 or self._closed or self._count >= self._most:
            return image
        key = (image.tenant_id, image.id)
        future: asyncio.Future[pb.Image | None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(key, set()).add(future)
        self._count += 1
        self._somebody.set()
        try:
            async with asyncio.timeout(seconds):
                return await future or image
        except TimeoutError:
            return image
        finally:
            self._count -= 1
            waiters = self._waiting.get(key)
            if waiters is not None:
                waiters.discard(future)
                if not waiters:
                    del self._waiting[key]

    def close(self) -> None:
        """Lets everybody go with what is known: a drain does not wait for images."""
        self._closed = True
        for waiters in list(self._waiting.values()):
            for future in waiters:
                if not future.done():
                    future.set_result(None)

    async def run(self) -> None:
        """Looks, until cancelled."""
        while True:
            if not self._waiting:
                self._somebody.clear()
                await self._somebody.wait()
            await asyncio.sleep(self._pause)
            try:
                images = await self._metadata.get_images(list(self._waiting), _LOOK_TIMEOUT)
            except DarkroomError as error:
                _log.warning("waiting: no look this time", reason=str(error))
                continue
            for image in images:
                if image.state in TERMINAL:
                    for future in self._waiting.get((image.tenant_id, image.id), ()):
                        if not future.done():
                            future.set_result(image)
