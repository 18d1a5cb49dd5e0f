"""Many concurrent calls, few RPCs.

One grpc.aio hop costs more CPU than everything else in a request, so what arrives while a batch is in flight is
gathered and sent as the next batch. Nothing ever waits for a timer: a lone call leaves in the same turn of the loop.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Iterable
from typing import Final, Generic, Literal, Protocol, TypeVar

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


_TICK: Final = 0.001  # seconds; libuv's clock
_SLOW_AFTER: Final = 0.25  # seconds; a batch of 1,000 rows takes a tenth of that
_MAX_SLOW: Final = 16  # batches; bounds what piles up at a service that is slow altogether

_Item = TypeVar("_Item", bound=BatchItem)
_Result = TypeVar("_Result", bound=BatchResult)


class Coalescer(Generic[_Item, _Result]):
    """Sends items in batches. Each caller keeps its own deadline, its own cancellation and its own error.

    `send` gets the items and the seconds that the most patient of their callers will wait, and returns the results in
    any order; it raises `DarkroomError` when the whole batch failed. `max_items` bounds a batch, `max_in_flight` the
    batches under way: one gives the largest batches; more are needed to keep several server processes busy. A batch
    that takes long (its server is frozen, say) holds the others back no longer than a quarter of a second.
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
        self._slow = 0
        self._last_id = 0
        self._flush_scheduled = False
        self._queue: list[_Item] = []
        # Everyone who waits, by the item's number: queued or under way. An item that is not in here is wanted no more.
        self._waiting: dict[int, tuple[float, asyncio.Future[_Result]]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        # One timer for all deadlines: under load most are met long before it fires, and a timer a call would cost as
        # much as all the rest of this class.
        self._alarm: asyncio.TimerHandle | None = None
        self._alarm_at = math.inf

    async def __call__(self, item: _Item, timeout: float) -> _Result:
        """The result of one item, within `timeout` seconds. Raises the item's own `DarkroomError`."""
        loop = asyncio.get_running_loop()
        self._last_id += 1
        number = self._last_id
        item.item_id = number
        deadline = loop.time() + timeout
        future: asyncio.Future[_Result] = loop.create_future()
        self._waiting[number] = (deadline, future)
        self._queue.append(item)
        if deadline < self._alarm_at:
            self._set_alarm(deadline)
        if not self._flush_scheduled and self._in_flight < self._max_in_flight:
            self._flush_scheduled = True
            loop.call_soon(self._flush)
        try:
            return await future
        except asyncio.CancelledError:
            self._waiting.pop(number, None)
            raise

    def _flush(self) -> None:
        self._flush_scheduled = False
        while self._queue and self._in_flight < self._max_in_flight:
            taken, self._queue = self._queue[: self._max_items], self._queue[self._max_items :]
            # Whoever gave up while queueing costs nothing more.
            batch = [item for item in taken if item.item_id in self._waiting]
            if batch:
                self._in_flight += 1
                deadline = max(self._waiting[item.item_id][0] for item in batch)
                task = asyncio.get_running_loop().create_task(self._exchange(batch, deadline))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

    async def _exchange(self, batch: list[_Item], deadline: float) -> None:
        waiting = self._waiting
        loop = asyncio.get_running_loop()
        failure: BaseException | None = None
        slow = False

        def overdue() -> None:
            nonlocal slow
            if self._slow < _MAX_SLOW:
                slow = True
                self._slow += 1
                self._in_flight -= 1
                self._flush()

        timer = loop.call_later(_SLOW_AFTER, overdue)
        try:
            for result in await self._send(batch, deadline - loop.time()):
                entry = waiting.pop(result.item_id, None)
                if entry is None or entry[1].done():
                    continue
                if result.WhichOneof("result") == "error":
                    entry[1].set_exception(DarkroomError.from_status(result.error))
                else:
                    entry[1].set_result(result)
        except BaseException as error:
            failure = error
            if not isinstance(error, Exception):
                raise
        finally:
            timer.cancel()
            if slow:
                self._slow -= 1
            else:
                self._in_flight -= 1
            for item in batch:
                entry = waiting.pop(item.item_id, None)
                if entry is not None and not entry[1].done():
                    entry[1].set_exception(_for_one(failure))
            if failure is None or isinstance(failure, Exception):
                self._flush()

    def _set_alarm(self, at: float) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm_at = at
        self._alarm = asyncio.get_running_loop().call_at(at, self._expire)

    def _expire(self) -> None:
        self._alarm, self._alarm_at = None, math.inf
        # The loop may fire up to one tick of its clock early; who is due within that is due.
        now = asyncio.get_running_loop().time() + _TICK
        late = [number for number, (deadline, _) in self._waiting.items() if deadline <= now]
        for number in late:
            _, future = self._waiting.pop(number)
            if not future.done():
                future.set_exception(DarkroomError(Kind.DEADLINE_EXCEEDED, "no answer in time from a service behind"))
        if self._waiting:
            self._set_alarm(min(deadline for deadline, _ in self._waiting.values()))


def _for_one(failure: BaseException | None) -> Exception:
    """The failure of a batch, as one of its callers gets it: an exception of its own, for it will grow a traceback."""
    match failure:
        case None:
            return DarkroomError(Kind.INTERNAL, "the batch came back without this item")
        case DarkroomError():
            return DarkroomError(failure.kind, failure.detail, pointer=failure.pointer, retry_after=failure.retry_after)
        case Exception():
            return failure  # a bug of `send`: its traceback is what is needed
        case _:
            return DarkroomError(Kind.UNAVAILABLE, "this process is stopping")
