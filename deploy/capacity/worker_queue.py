"""The queue's core: first come, first served, by a number of servers that changes over time. Exact, and fast.

Each server is one float in a heap: the moment at which it is free. The next waiting image starts at the later of its
arrival and the earliest of these moments (the Kiefer-Wolfowitz recursion), so an image costs one heap operation.
Whoever changes the servers first advances to that moment: only images that start before it are given to servers,
the others wait for the new set. Dispatch does not look at which server it is, so servers are interchangeable
and a lost one may be picked at random.
"""

from __future__ import annotations

import heapq
from array import array
from collections.abc import Sequence
from math import inf, nan

from deploy.capacity.forecast import Floats


class Queue:
    """Images in, moments of completion out. Times are seconds on one clock; arrivals must be in order."""

    def __init__(self, arrivals: Floats | Sequence[float], services: Floats | Sequence[float]) -> None:
        self._arrivals = array("d", arrivals)
        self._services = array("d", services)
        if len(self._arrivals) != len(self._services):
            raise ValueError("every arrival needs a service time")
        self.done = array("d", [nan]) * len(self._arrivals)
        self.handed_back = 0
        self._head = 0
        self._free: list[float] = []
        self._again: list[tuple[float, int]] = []  # handed back: (visible again at, image)
        self._restarted: list[int] = []
        self._now = -inf

    @property
    def servers(self) -> int:
        """Servers there are now, busy or idle."""
        return len(self._free)

    @property
    def pending(self) -> bool:
        """Whether any image has not been given to a server."""
        return self._head < len(self._arrivals) or bool(self._again)

    def waiting(self, arrived: int) -> int:
        """Images in the queue when `arrived` have arrived by now; the caller advances to now first."""
        return arrived - self._head + len(self._again)

    def advance(self, end: float) -> None:
        """Gives to servers every image that can start before `end`."""
        if self._again:
            self._advance_with_returns(end)
        elif self._free:
            free, arrivals, services, done = self._free, self._arrivals, self._services, self.done
            head, count = self._head, len(arrivals)
            replace = heapq.heapreplace
            while head < count:
                start = free[0]
                arrival = arrivals[head]
                if arrival > start:  # noqa: PLR1730 - max() would double the time of this, the hottest line
                    start = arrival
                if start >= end:
                    break
                finish = start + services[head]
                replace(free, finish)
                done[head] = finish
                head += 1
            self._head = head
        self._now = end

    def _advance_with_returns(self, end: float) -> None:
        """The same with images that were handed back; they are rare, so this one may be slower."""
        while self._free and self.pending:
            arrival = self._arrivals[self._head] if self._head < len(self._arrivals) else inf
            returned = bool(self._again) and self._again[0][0] <= arrival
            available = self._again[0][0] if returned else arrival
            start = max(self._free[0], available)
            if start >= end:
                break
            if returned:
                image = heapq.heappop(self._again)[1]
                self._restarted.append(image)
            else:
                image = self._head
                self._head += 1
            self.done[image] = start + self._services[image]
            heapq.heapreplace(self._free, self.done[image])

    def add(self, count: int) -> None:
        """Servers that are free from now on."""
        for _ in range(count):
            heapq.heappush(self._free, self._now)

    def retire(self, count: int) -> float:
        """Takes servers away, idle ones first; a busy one ends what it has. Returns when the last of them is free."""
        gone = [heapq.heappop(self._free) for _ in range(min(count, len(self._free)))]
        return max([self._now, *gone])

    def interrupt(self, pick: int, grace: float) -> None:
        """Takes away the server at index `pick`: it ends its image within `grace` seconds or hands it back by then."""
        free = self._free.pop(pick % len(self._free))
        heapq.heapify(self._free)
        if free > self._now + grace:
            image = self._image_done_at(free)
            self.done[image] = nan
            self.handed_back += 1
            heapq.heappush(self._again, (self._now + grace, image))

    def _image_done_at(self, moment: float) -> int:
        for image in reversed(self._restarted):
            if self.done[image] == moment:
                return image
        image = self._head - 1
        while self.done[image] != moment:
            image -= 1
        return image
