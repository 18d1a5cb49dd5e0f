"""A busy task asks ECS not to stop it: when, for how long, and what it tells the agent."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from image_svc.adapters.protection import EcsProtection
from image_svc.ports import Unreachable
from image_svc.worker.protection import ProtectionLimits, Protector, keep_protected
from tests.support.ecs_agent import GRANTED, Agent

LIMITS = ProtectionLimits(look=0.01, minutes=2, longest=600, pause=60)


@pytest.fixture
def agent() -> Iterator[Agent]:
    running = Agent()
    yield running
    running.close()


def test_a_task_is_protected_while_it_has_work_and_free_once_it_has_none() -> None:
    protector = Protector(LIMITS)
    assert protector.wants(0, 0) is None
    assert protector.wants(10, 1) is True
    assert protector.wants(20, 3) is None
    assert protector.wants(30, 0) is False
    assert protector.wants(40, 0) is None


def test_protection_is_renewed_before_it_ends() -> None:
    protector = Protector(LIMITS)
    wants = [protector.wants(now, 1) for now in range(0, 600, 10)]
    renewals = [10 * index for index, wanted in enumerate(wants) if wanted]
    assert renewals == list(range(0, 600, 60))


def test_no_roll_out_waits_for_a_busy_task_beyond_the_longest_stretch() -> None:
    protector = Protector(LIMITS)
    told = {now: protector.wants(now, 1) for now in range(0, 900, 10)}
    assert told[600] is False
    assert [told[now] for now in range(610, 660, 10)] == [None] * 5
    assert told[660] is True


async def test_the_agent_is_told_at_its_path_in_its_words(agent: Agent) -> None:
    protection = EcsProtection(agent.uri)
    await protection.set(2)
    await protection.set(None)
    assert agent.told == [
        ("/api/0a1b/task-protection/v1/state", {"ProtectionEnabled": True, "ExpiresInMinutes": 2}),
        ("/api/0a1b/task-protection/v1/state", {"ProtectionEnabled": False}),
    ]


@pytest.mark.parametrize(
    ("status", "answer"),
    [
        (200, {"failure": {"Arn": "arn", "Reason": "DEPLOYMENT_BLOCKED"}}),
        (400, {"error": {"Arn": "arn", "Code": "AccessDeniedException", "Message": "no"}}),
        (200, "nonsense"),
    ],
)
async def test_what_is_not_granted_is_an_error(agent: Agent, status: int, answer: Any) -> None:
    agent.status, agent.answer = status, answer
    with pytest.raises(Unreachable, match=str(status)):
        await EcsProtection(agent.uri).set(2)


async def test_an_agent_that_is_away_is_an_error(agent: Agent) -> None:
    agent.close()
    with pytest.raises(Unreachable):
        await EcsProtection(agent.uri).set(2)


def test_an_agent_of_another_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="ECS_AGENT_URI"):
        EcsProtection("unix:///run/agent")


async def test_a_refusal_is_asked_again_and_stops_nothing(agent: Agent) -> None:
    agent.status, agent.answer = 500, {"error": {"Code": "ServerException"}}
    in_hand = [1]
    keeping = asyncio.create_task(
        keep_protected(EcsProtection(agent.uri), lambda: in_hand[0], LIMITS, asyncio.get_running_loop().time)
    )
    await until(lambda: len(agent.told) >= 2)
    agent.status, agent.answer = 200, GRANTED
    await asyncio.sleep(0.1)
    asked = len(agent.told)
    await asyncio.sleep(0.1)
    assert len(agent.told) == asked, "what is granted is not asked for again"
    in_hand[0] = 0
    await until(lambda: not agent.told[-1][1]["ProtectionEnabled"])
    assert all(body["ProtectionEnabled"] for _, body in agent.told[:-1])
    keeping.cancel()
    with pytest.raises(asyncio.CancelledError):
        await keeping


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not holds():
            await asyncio.sleep(0.01)
