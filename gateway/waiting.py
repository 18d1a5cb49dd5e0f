"""`wait` and events: many requests, one look at the database every quarter of a second."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

import structlog
from darkroom.metadata.v1 import metadata_pb2 as pb

from gateway.images import TERMINAL
from gateway.ports import Metadata
from runtime.errors import DarkroomError

_log = structlog.get_logger(__name__)

# Seconds. A look that takes longer than this is not worth waiting for: the next one asks again.
_LOOK_TIMEOUT: Final = 5.0


def settled(image: pb.Image) -> bool:
    """Whether the state is one that does not change by itself."""
    return image.state in TERMINAL


class _Image:
    """An image that somebody waits for."""

    __slots__ = ("last", "waiters")

    def __init__(self, last: pb.Image) -> None:
        self.last = last
        # With what each of them waits for.
        self.waiters: dict[asyncio.Future[None], Callable[[pb.Image], bool]] = {}

    def release(self, *, all_of_them: bool = False) -> None:
        """Lets those go who have what they wait for, or all."""
        for waiter, done in self.waiters.items():
            if not waiter.done() and (all_of_them or done(self.last)):
                waiter.set_result(None)


class WaitingRoom:
    """Holds requests until their image is as they wish.

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

    @property
    def open(self) -> bool:
        """Whether one more would be held."""
        return not self._closed and self.held < self._most

    async def until(self, done: Callable[[pb.Image], bool], image: pb.Image, seconds: float) -> pb.Image:
        """The image once it is as wished; as it was last seen when the time is up, the room is full, or it closes."""
        if done(image) or seconds <= 0 or not self.open:
            return image
        key = (image.tenant_id, image.id)
        waited_for = self._images.setdefault(key, _Image(image))
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waited_for.waiters[waiter] = done
        self.held += 1
        self._somebody.set()
        try:
            async with asyncio.timeout(seconds):
                await waiter
        except TimeoutError:
            pass
        finally:
            self.held -= 1
            del waited_for.waiters[waiter]
            if not waited_for.waiters:
                self._images.pop(key, None)
        return waited_for.last

    def close(self) -> None:
        """Lets everybody go with what is known: a drain does not wait for images."""
        self._closed = True
        for image in self._images.values():
            image.release(all_of_them=True)

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
                    waited_for.release()
