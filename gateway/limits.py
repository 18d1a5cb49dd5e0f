"""How much the gateway takes on: requests in hand, and each tenant's request rate."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from gateway.auth import Caller
from gateway.ports import Metadata
from gateway.problems import Refusal
from runtime.errors import Kind


class Admission:
    """Bounds what is in hand. More is refused at once: a queue would only make everybody late."""

    def __init__(self, most: int, *, retry_after: float) -> None:
        self._free = most
        self._retry_after = retry_after

    @contextmanager
    def slot(self) -> Iterator[None]:
        """Holds one place. Raises a 503 where there is none."""
        if self._free <= 0:
            raise Refusal(Kind.UNAVAILABLE, "The service is busy. Try again later.", retry_after=self._retry_after)
        self._free -= 1
        try:
            yield
        finally:
            self._free += 1


class _Lease:
    __slots__ = ("ends", "left", "taken")

    def __init__(self) -> None:
        self.ends = 0.0
        self.left = 0
        self.taken = 0


class RequestRates:
    """Tenants' request rates, leased from metadata_svc: one call a tenant, gateway and second as a rule.

    A lease asks for what the tenant used in the lease before, and at least for `least` requests.
    """

    def __init__(self, metadata: Metadata, *, least: int, entries: int, clock: Callable[[], float]) -> None:
        """`clock` gives the seconds since the epoch, as leases' ends do."""
        self._metadata = metadata
        self._least = least
        self._entries = entries
        self._clock = clock
        self._leases: OrderedDict[str, _Lease] = OrderedDict()
        self._renewals: dict[str, asyncio.Task[None]] = {}

    async def take(self, caller: Caller, timeout: float) -> None:
        """Takes one request of the tenant's. Raises a 429 where the second is used up."""
        lease = self._leases.get(caller.tenant_id)
        if lease is None:
            lease = self._leases[caller.tenant_id] = _Lease()
            if len(self._leases) > self._entries:
                self._leases.popitem(last=False)
        while lease.left <= 0 or lease.ends <= self._clock():
            if lease.ends > self._clock() and lease.left < 0:
                limit = caller.limits.requests_per_second
                raise Refusal(
                    Kind.RATE_LIMITED,
                    f"Your limit is {limit} requests per second.",
                    retry_after=lease.ends - self._clock(),
                )
            await self._renew(caller.tenant_id, lease, timeout)
        lease.left -= 1
        lease.taken += 1

    async def _renew(self, tenant_id: str, lease: _Lease, timeout: float) -> None:
        renewal = self._renewals.get(tenant_id)
        if renewal is None:
            renewal = asyncio.create_task(self._ask(tenant_id, lease, timeout))
            self._renewals[tenant_id] = renewal
            renewal.add_done_callback(lambda _: self._renewals.pop(tenant_id, None))
        await asyncio.shield(renewal)

    async def _ask(self, tenant_id: str, lease: _Lease, timeout: float) -> None:
        wanted = max(self._least, lease.taken)
        granted = await self._metadata.lease_requests(tenant_id, wanted, timeout)
        if granted.expires_at.ToMilliseconds() / 1000 != lease.ends:
            lease.taken = 0
        lease.ends = granted.expires_at.ToMilliseconds() / 1000
        # Minus one says that the second has nothing left, zero that nothing was asked yet.
        lease.left = granted.granted or -1
