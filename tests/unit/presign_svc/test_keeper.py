"""Credentials are refreshed before less than a ticket's life is left, off the request path, one fetch at a time."""

from __future__ import annotations

import asyncio
import inspect
from collections import deque
from typing import get_type_hints

import pytest

from presign_svc.adapters.credentials import AwsCredentialSource
from presign_svc.domain.sigv4 import Credentials
from presign_svc.keeper import CredentialKeeper
from presign_svc.ports import CredentialSource, CredentialsUnavailableError

LEAD, RETRY = 3900.0, 10.0


class FakeSource:
    """Hands out what it was given, in order; the last one for ever. None stands for a source that does not answer."""

    def __init__(self, *answers: Credentials | Exception | None) -> None:
        self.answers = deque(answers)
        self.fetches = 0
        self.under_way = 0
        self.most_under_way = 0

    async def fetch(self) -> Credentials:
        """See the port."""
        self.fetches += 1
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            answer = self.answers.popleft() if len(self.answers) > 1 else self.answers[0]
            if answer is None:
                await asyncio.Event().wait()
            if isinstance(answer, Exception):
                raise answer
            assert answer is not None
            return answer
        finally:
            self.under_way -= 1


class FakeClock:
    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize("implementation", [FakeSource, AwsCredentialSource])
def test_every_source_keeps_to_the_port(implementation: type[CredentialSource]) -> None:
    for name, method in inspect.getmembers(CredentialSource, inspect.iscoroutinefunction):
        theirs = getattr(implementation, name)
        assert inspect.iscoroutinefunction(theirs)
        assert inspect.signature(theirs).parameters.keys() == inspect.signature(method).parameters.keys()
        assert get_type_hints(theirs) == get_type_hints(method)


def ending(at: float | None, access_key: str = "AKID") -> Credentials:
    return Credentials(access_key, "secret", "token", at)


async def started(source: FakeSource, clock: FakeClock) -> CredentialKeeper:
    keeper = CredentialKeeper(source, clock=clock, lead=LEAD, retry=RETRY, timeout=0.05)
    await keeper.start()
    return keeper


async def test_nothing_is_fetched_while_enough_life_is_left() -> None:
    clock = FakeClock()
    source = FakeSource(ending(clock.now + LEAD + 100))
    keeper = await started(source, clock)
    assert await keeper.step() == 60.0, "it looks again at least once a minute: the wall clock may jump"
    clock.now += 70
    assert await keeper.step() == 30.0
    assert source.fetches == 1


async def test_credentials_are_replaced_before_less_than_a_tickets_life_is_left() -> None:
    clock = FakeClock()
    old, new = ending(clock.now + LEAD + 1), ending(clock.now + 30_000, "NEW")
    keeper = await started(FakeSource(old, new), clock)
    clock.now += 1
    await keeper.step()
    assert keeper.current is new


async def test_keys_without_an_end_are_never_fetched_again() -> None:
    clock = FakeClock()
    source = FakeSource(ending(None))
    keeper = await started(source, clock)
    clock.now += 1e9
    assert await keeper.step() == 60.0
    assert source.fetches == 1


async def test_a_failed_refresh_keeps_the_old_ones_and_is_tried_again_soon() -> None:
    clock = FakeClock()
    old, new = ending(clock.now + LEAD - 1), ending(clock.now + 30_000)
    keeper = await started(FakeSource(old, CredentialsUnavailableError("down"), new), clock)
    assert await keeper.step() == RETRY
    assert keeper.current is old
    await keeper.step()
    assert keeper.current is new


async def test_a_source_that_hands_out_the_same_ones_is_asked_again() -> None:
    clock = FakeClock()
    old = ending(clock.now + LEAD - 1)
    source = FakeSource(old)
    keeper = await started(source, clock)
    assert await keeper.step() == RETRY
    assert await keeper.step() == RETRY
    assert (source.fetches, keeper.current) == (3, old)


async def test_older_credentials_never_replace_newer_ones() -> None:
    clock = FakeClock()
    held, older = ending(clock.now + 100), ending(clock.now + 50)
    keeper = await started(FakeSource(held, older), clock)
    await keeper.step()
    assert keeper.current is held


async def test_a_silent_source_is_given_up_after_its_time() -> None:
    clock = FakeClock()
    with pytest.raises(CredentialsUnavailableError, match=r"0\.05 seconds"):
        await started(FakeSource(None), clock)


async def test_one_task_does_all_the_fetching() -> None:
    clock = FakeClock()
    source = FakeSource(ending(clock.now))
    keeper = CredentialKeeper(source, clock=clock, lead=LEAD, retry=0.001, timeout=1.0)
    await keeper.start()
    task = asyncio.create_task(keeper.run())
    async with asyncio.timeout(10):
        while source.fetches <= 3:
            await asyncio.sleep(0.001)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert source.most_under_way == 1


def test_what_nobody_fetched_cannot_be_used() -> None:
    keeper = CredentialKeeper(FakeSource(None), clock=FakeClock(), lead=1, retry=1, timeout=1)
    with pytest.raises(RuntimeError, match="start"):
        _ = keeper.current
