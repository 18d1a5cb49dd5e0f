"""Leases of request rate, and keys, as the clock and the service behind see them."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import pytest
from darkroom.metadata.v1 import metadata_pb2 as pb
from google.protobuf.timestamp_pb2 import Timestamp

from gateway.auth import Authenticator, Caller
from gateway.limits import Admission, RequestRates
from gateway.problems import Refusal
from runtime.errors import DarkroomError, Kind
from tests.support.gateway_fakes import LIMITS, SCOPES, FakeMetadata, api_key

KEY = api_key(1)


@dataclass
class Seconds(FakeMetadata):
    """Grants as metadata_svc does: so many a second of its own clock."""

    rate: int = 100
    now: float = 1000.0
    ahead: float = 0.0
    wanted: list[int] = field(default_factory=list)
    used: dict[int, int] = field(default_factory=dict)
    slow: bool = False

    async def lease_requests(self, tenant_id: str, wanted: int, timeout: float) -> pb.RequestLease:
        self.wanted.append(wanted)
        if self.slow:
            await asyncio.sleep(0.01)
        if self.failure is not None:
            raise self.failure
        second = int(self.now + self.ahead)
        granted = min(wanted, self.rate - self.used.get(second, 0))
        self.used[second] = self.used.get(second, 0) + granted
        return pb.RequestLease(granted=granted, expires_at=Timestamp(seconds=second + 1))


def caller(rate: int = 100) -> Caller:
    limits = pb.Limits()
    limits.CopyFrom(LIMITS)
    limits.requests_per_second = rate
    return Caller("k", "t", frozenset(SCOPES), limits)


def rates(metadata: Seconds, *, least: int = 16) -> RequestRates:
    return RequestRates(metadata, least=least, entries=10, clock=lambda: metadata.now)


async def take(limits: RequestRates, who: Caller, times: int) -> int:
    """How many of so many requests at once are admitted."""
    refused = [
        r for r in await asyncio.gather(*(limits.take(who, 1) for _ in range(times)), return_exceptions=True) if r
    ]
    assert all(isinstance(r, Refusal) and r.kind == Kind.RATE_LIMITED for r in refused)
    return times - len(refused)


async def test_a_quiet_tenant_costs_one_call_a_second() -> None:
    metadata = Seconds()
    limits = rates(metadata)
    for _ in range(5):
        assert limits.take_at_once("t") or await take(limits, caller(), 1)
    assert len(metadata.wanted) == 1
    metadata.now += 1
    assert not limits.take_at_once("t")
    await take(limits, caller(), 1)
    assert len(metadata.wanted) == 2


async def test_a_burst_is_leased_in_one_call_and_the_next_second_asks_for_as_much() -> None:
    metadata = Seconds(rate=1000, slow=True)
    limits = rates(metadata)
    assert await take(limits, caller(1000), 200) == 200
    assert metadata.wanted == [200]
    metadata.now += 1
    await take(limits, caller(1000), 1)
    assert metadata.wanted == [200, 200]
    metadata.now += 1
    await take(limits, caller(1000), 1)
    assert metadata.wanted[2] == 16, "what was not used is not asked for again"


async def test_no_more_than_the_limit_is_admitted_and_nobody_asks_again_in_that_second() -> None:
    metadata = Seconds(rate=10)
    limits = rates(metadata)
    assert await take(limits, caller(10), 50) == 10
    calls = len(metadata.wanted)
    assert await take(limits, caller(10), 50) == 0
    assert len(metadata.wanted) == calls
    metadata.now += 1
    assert await take(limits, caller(10), 50) == 10


async def test_many_gateways_do_not_lease_a_quiet_tenants_second_away() -> None:
    metadata = Seconds(rate=100)
    gateways = [rates(metadata) for _ in range(16)]
    assert [await take(limits, caller(), 1) for limits in gateways] == [1] * 16


@pytest.mark.parametrize("ahead", [-3600.0, -1.5, -0.5, 0.5, 1.5, 3600.0])
async def test_clocks_that_differ_neither_stop_a_tenant_nor_let_it_run_free(ahead: float) -> None:
    metadata = Seconds(rate=20, ahead=ahead)
    limits = rates(metadata)
    async with asyncio.timeout(5):
        assert await take(limits, caller(20), 30) == 20
    admitted = 0
    for _ in range(30):
        metadata.now += 0.1
        admitted += await take(limits, caller(20), 30)
    assert 60 <= admitted <= 80


async def test_one_that_hangs_up_takes_nobody_with_it_and_a_failure_is_everybodys() -> None:
    metadata = Seconds(slow=True)
    limits = rates(metadata)
    first = asyncio.create_task(limits.take(caller(), 1))
    second = asyncio.create_task(limits.take(caller(), 1))
    await asyncio.sleep(0)
    first.cancel()
    await second
    metadata.failure = DarkroomError(Kind.UNAVAILABLE, "down")
    metadata.now += 1
    failures = await asyncio.gather(*(limits.take(caller(), 1) for _ in range(3)), return_exceptions=True)
    assert all(isinstance(failure, DarkroomError) for failure in failures)
    metadata.failure = None
    await limits.take(caller(), 1)


async def test_the_tenants_that_are_kept_are_bounded() -> None:
    metadata = Seconds(rate=10_000)
    limits = rates(metadata)
    for number in range(50):
        await limits.take(Caller("k", f"t{number}", frozenset(), LIMITS), 1)
    assert not limits.take_at_once("t0")
    assert limits.take_at_once("t49")


def test_a_place_is_given_back_while_a_request_waits() -> None:
    admission = Admission(1, retry_after=2)
    admission.enter()
    with pytest.raises(Refusal) as refused:
        admission.enter()
    assert refused.value.retry_after == 2
    with admission.set_aside():
        admission.enter()
    admission.leave()
    admission.leave()
    admission.enter()


async def test_many_requests_with_a_new_key_ask_once_and_wrong_keys_crowd_no_right_one_out() -> None:
    metadata = FakeMetadata()
    metadata.add_key(KEY, "t", *SCOPES)
    now = 0.0
    check = Authenticator(metadata, good=20, bad=2, entries=5, clock=lambda: now)
    callers = await asyncio.gather(*(check(KEY, 1) for _ in range(50)))
    assert {who.tenant_id for who in callers} == {"t"}
    assert metadata.calls == ["authenticate"]
    for number in range(2, 9):
        with pytest.raises(Refusal):
            await check(api_key(number), 1)
    await check(KEY, 1)
    assert len(metadata.calls) == 8


@pytest.mark.parametrize(
    "key", ["", "drk_", KEY + "x", KEY.upper(), KEY.replace("_", "-"), f" {KEY}", KEY + "\udcff", "é" * 64]
)
async def test_what_has_not_the_form_of_a_key_is_refused_without_a_call(key: str) -> None:
    metadata = FakeMetadata()
    check = Authenticator(metadata, good=20, bad=2, entries=5, clock=lambda: 0.0)
    with pytest.raises(Refusal):
        await check(key, 1)
    assert not metadata.calls


async def test_a_publishable_key_is_asked_for_once_and_told_what_it_lacks() -> None:
    metadata = FakeMetadata()
    metadata.add_key(KEY, "t", kind=pb.Credential.PUBLISHABLE)
    check = Authenticator(metadata, good=20, bad=2, entries=5, clock=lambda: 0.0)
    for _ in range(3):
        with pytest.raises(Refusal, match="publishable"):
            (await check(KEY, 1)).require("images:read")
    assert metadata.calls == ["authenticate"]
