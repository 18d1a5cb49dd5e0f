"""How much the gateway takes on: requests in hand, and each tenant's request rate."""

from __future__ import annotations

import asyncio
import math
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from gateway.auth import Caller
from gateway.ports import Metadata
from gateway.problems import Refusal
from runtime.errors import Kind

_GATEWAYS: Final = 16  # as many may share a tenant's second before a quiet one is refused


class Admission:
    """Bounds what is in hand. More is refused at once: a queue would only make everybody late."""

    def __init__(self, most: int, *, retry_after: float) -> None:
        """`retry_after` is in seconds."""
        self._free = most
        self._retry_after = retry_after

    def enter(self) -> None:
        """Takes a place. Raises a 503 where there is none."""
        if self._free <= 0:
            raise Refusal(Kind.UNAVAILABLE, "The service is busy. Try again later.", retry_after=self._retry_after)
        self._free -= 1

    def leave(self) -> None:
        """Gives the place back."""
        self._free += 1

    @contextmanager
    def set_aside(self) -> Iterator[None]:
        """Gives the place back for the while that a request only waits. It is not refused when it comes back."""
        self._free += 1
        try:
            yield
        finally:
            self._free -= 1


class _Lease:
    __slots__ = ("ends", "left", "renewal", "spent", "taken", "waiting")

    def __init__(self) -> None:
        self.ends = -math.inf
        self.left = 0
        self.spent = False  # the second has nothing left
        self.taken = 0  # by this second's leases
        self.waiting = 0
        self.renewal: asyncio.Task[None] | None = None


class RequestRates:
    """Tenants' request rates, leased from metadata_svc: one call a tenant, gateway and second as a rule.

    A lease asks for what the tenant used in the second before, for everyone who waits for it, and at least for `least`
    requests. It is spent by its own end or a second after it came, whichever is sooner: two clocks that differ cost
    calls, and neither stop a tenant nor let it run free.
    """

    def __init__(self, metadata: Metadata, *, least: int, entries: int, clock: Callable[[], float]) -> None:
        """`clock` gives the seconds since the epoch, as leases' ends do."""
        self._metadata = metadata
        self._least = least
        self._entries = entries
        self._clock = clock
        self._leases: OrderedDict[str, _Lease] = OrderedDict()

    def take_at_once(self, tenant_id: str) -> bool:
        """Takes one request of the tenant's where the lease at hand has one: what nearly every request does."""
        lease = self._leases.get(tenant_id)
        if lease is None or lease.left <= 0 or lease.ends <= self._clock():
            return False
        lease.left -= 1
        return True

    async def take(self, caller: Caller, timeout: float) -> None:
        """Takes one request of the tenant's. Raises a 429 where the second is used up."""
        lease = self._leases.get(caller.tenant_id)
        if lease is None:
            lease = self._leases[caller.tenant_id] = _Lease()
            if len(self._leases) > self._entries:
                self._leases.popitem(last=False)
        limit = caller.limits.requests_per_second
        while not (lease.spent and lease.ends > self._clock()):
            lease.waiting += 1
            try:
                if lease.renewal is None:
                    lease.renewal = asyncio.create_task(self._renew(caller.tenant_id, lease, limit, timeout))
                # Shielded: one caller that hangs up must not fail the others.
                await asyncio.shield(lease.renewal)
            finally:
                lease.waiting -= 1
            if lease.left > 0:  # whenever it ends: it was asked for this one
                lease.left -= 1
                return
            if lease.spent:
                break
        raise Refusal(
            Kind.RATE_LIMITED,
            f"Your limit is {limit} requests per second.",
            retry_after=lease.ends - self._clock(),
        )

    async def _renew(self, tenant_id: str, lease: _Lease, limit: int, timeout: float) -> None:
        try:
            # Those who wait are known when the turn of the loop that woke the first of them is over.
            await asyncio.sleep(0)
            # A part of the limit, so that gateways which a quiet tenant visits in turn do not lease it away.
            least = max(1, min(self._least, limit // _GATEWAYS))
            used = lease.taken - lease.left
            granted = await self._metadata.lease_requests(tenant_id, max(least, used, lease.waiting), timeout)
            now = self._clock()
            if lease.ends <= now:  # another second
                lease.taken = 0
                self._leases[tenant_id] = lease
                self._leases.move_to_end(tenant_id)
            lease.taken += granted.granted
            lease.ends = min(max(granted.expires_at.ToMicroseconds() / 1e6, now), now + 1)
            lease.left = granted.granted
            lease.spent = granted.granted == 0
        finally:
            lease.renewal = None
