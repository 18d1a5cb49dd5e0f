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


class _Image:
    """An image that somebody waits for."""

    __slots__ = ("last", "waiters")

    def __init__(self, last: pb.Image) -> None:
        self.last = last
        self.waiters: set[asyncio.Future[None]] = set()

    def release(self) -> None:
        """Lets its waiters go."""
        for waiter in self.waiters:
            if not waiter.done():
                waiter.set_result(None)


class WaitingRoom:
    """Holds requests until their image is in a terminal state.

    A background task looks at all waited-for images with one call a round, and only while somebody waits.
    """

    def __init__(self, metadata: Metadata, *, pause: float, most: int) -> None:
        """`pause` is in seconds; beyond `most` waiters nobody is held."""
        self._metadata = metadata
        self._pause = pause
        self._most = most
        self._images: dict[tuple[str, str], _Image] = {}
        self._somebody = asyncio.Event()
        self._closed = False
        self.held = 0

    async def until_settled(self, image: pb.Image, seconds: float) -> pb.Image:
        """The image once it is settled; as it was last seen when the time is up, the room is full, or it closes."""
        if image.state in TERMINAL or seconds <= 0 or self._closed or self.held >= self._most:
            return image
        key = (image.tenant_id, image.id)
        waited_for = self._images.setdefault(key, _Image(image))
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waited_for.waiters.add(waiter)
        self.held += 1
        self._somebody.set()
        try:
            async with asyncio.timeout(seconds):
                await waiter
        except TimeoutError:
            pass
        finally:
            self.held -= 1
            waited_for.waiters.discard(waiter)
            if not waited_for.waiters:
                self._images.pop(key, None)
        return waited_for.last

    def close(self) -> None:
        """Lets everybody go with what is known: a drain does not wait for images."""
        self._closed = True
        for image in self._images.values():
            image.release()

    async def run(self) -> None:
        """Looks, until cancelled."""
        while True:
            if not self._images:
                self._somebody.clear()
                await self._somebody.wait()
            await asyncio.sleep(self._pause)
            try:
                images = await self._metadata.get_images(list(self._images), _LOOK_TIMEOUT)
            except DarkroomError as error:
                _log.warning("waiting: no look this time", reason=str(error))
                continue
            for image in images:
                waited_for = self._images.get((image.tenant_id, image.id))
                if waited_for is not None:
                    waited_for.last = image
                    if image.state in TERMINAL:
                        waited_for.release()
