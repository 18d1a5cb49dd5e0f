"""Many concurrent calls, few RPCs.

One grpc.aio hop costs more CPU than everything else in a request, so what arrives while a batch is in flight is
gathered and sent as the next batch. Nothing ever waits for a timer: a lone call leaves in the same turn of the loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Generic, Literal, Protocol, TypeVar

from google.rpc import status_pb2

from runtime.errors import DarkroomError, Kind


class BatchItem(Protocol):
    """An item of a batch RPC: the coalescer numbers it."""

    item_id: int


class BatchResult(Protocol):
    """A result of a batch RPC: `oneof result` holds the value or the error of this item alone."""

    @property
    def item_id(self) -> int:
        """The item's number."""
        ...

    @property
    def error(self) -> status_pb2.Status:
        """Why there is no value."""
        ...

    def WhichOneof(self, oneof_group: Literal["result"]) -> str | None:  # noqa: N802  # protobuf's own name
        """Which of the two is set."""
        ...


_Item = TypeVar("_Item", bound=BatchItem)
_Result = TypeVar("_Result", bound=BatchResult)


class Coalescer(Generic[_Item, _Result]):
    """Sends items in batches. Each caller keeps its own deadline, its own cancellation and its own error.

    `send` gets the items and the seconds that the most patient of their callers will wait, and returns the results in
    any order; it raises `DarkroomError` when the whole batch failed. `max_items` bounds a batch, `max_in_flight` the
    batches under way: one gives the largest batches; more are needed to keep several server processes busy.
    """

    def __init__(
        self,
        send: Callable[[list[_Item], float], Awaitable[Iterable[_Result]]],
        *,
        max_items: int,
        max_in_flight: int,
    ) -> None:
        self._send = send
        self._max_items = max_items
        self._max_in_flight = max_in_flight
        self._in_flight = 0
        self._last_id = 0
        self._flush_scheduled = False
        self._queue: list[tuple[_Item, float, asyncio.Future[_Result]]] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def __call__(self, item: _Item, timeout: float) -> _Result:
        """The result of one item, within `timeout` seconds. Raises the item's own `DarkroomError`."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[_Result] = loop.create_future()
        deadline = loop.time() + timeout
        self._last_id += 1
        item.item_id = self._last_id
        self._queue.append((item, deadline, future))
        if not self._flush_scheduled and self._in_flight < self._max_in_flight:
            self._flush_scheduled = True
            loop.call_soon(self._flush)
        timer = loop.call_at(deadline, _expire, future)
        try:
            return await future
        finally:
            timer.cancel()

    def _flush(self) -> None:
        self._flush_scheduled = False
        while self._queue and self._in_flight < self._max_in_flight:
            taken, self._queue = self._queue[: self._max_items], self._queue[self._max_items :]
            # Whoever gave up while queueing costs nothing more.
            batch = [entry for entry in taken if not entry[2].done()]
            if batch:
                self._in_flight += 1
                task = asyncio.get_running_loop().create_task(self._exchange(batch))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

    async def _exchange(self, batch: list[tuple[_Item, float, asyncio.Future[_Result]]]) -> None:
        waiting = {item.item_id: future for item, _, future in batch}
        patience = max(deadline for _, deadline, _ in batch) - asyncio.get_running_loop().time()
        failure: Exception | None = None
        try:
            for result in await self._send([item for item, _, _ in batch], patience):
                future = waiting.pop(result.item_id, None)
                if future is None or future.done():
                    continue
                if result.WhichOneof("result") == "error":
                    future.set_exception(DarkroomError.from_status(result.error))
                else:
                    future.set_result(result)
        except Exception as error:
            failure = error
        finally:
            self._in_flight -= 1
            for future in waiting.values():
                if not future.done():
                    future.set_exception(
                        failure or DarkroomError(Kind.INTERNAL, "the batch came back without this item")
                    )
            self._flush()


def _expire(future: asyncio.Future[_Result]) -> None:
    if not future.done():
        future.set_exception(DarkroomError(Kind.DEADLINE_EXCEEDED, "no answer in time from a service behind"))
