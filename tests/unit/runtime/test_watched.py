"""A setting that changes while a process runs."""

from __future__ import annotations

import asyncio
import time

import pytest

from runtime.watched import LookAgain, Stored, Watched
from tests.support import virtual_clock


class Parameter:
    """What is stored, how often it was read, and how long a read takes."""

    def __init__(self, text: str) -> None:
        self.stored: Stored | None = Stored(text, 1)
        self.reads: list[float] = []
        self.away = False

    async def read(self) -> Stored | None:
        self.reads.append(time.monotonic())
        await asyncio.sleep(0.01)
        if self.away:
            raise LookAgain("no route")
        return self.stored


def number(text: str) -> int:
    return int(text)  # raises ValueError with the text in it


def test_a_good_text_is_taken_up_and_a_bad_one_changes_nothing() -> None:
    async def story() -> None:
        parameter = Parameter("1")
        watched = Watched("n", "1", number, parameter.read)
        task = asyncio.create_task(watched.run(30))
        await asyncio.sleep(35)
        assert (watched.value, watched.uncertain) == (1, False)
        parameter.stored = Stored("2", 2)
        await asyncio.sleep(30)
        assert (watched.value, watched.uncertain) == (2, False)
        parameter.stored = Stored("two", 3)
        await asyncio.sleep(60)
        assert (watched.value, watched.uncertain) == (2, True)
        parameter.stored = Stored("2", 4)
        await asyncio.sleep(30)
        assert (watched.value, watched.uncertain) == (2, False), "taken back"
        parameter.stored = None
        await asyncio.sleep(30)
        assert (watched.value, watched.uncertain) == (2, False)
        assert len(parameter.reads) == 6
        task.cancel()

    virtual_clock.run(story())


def test_while_the_store_is_away_what_stands_stays() -> None:
    async def story() -> None:
        parameter = Parameter("1")
        watched = Watched("n", "1", number, parameter.read)
        parameter.away = True
        await watched.look()
        assert (watched.value, watched.uncertain) == (1, True)
        parameter.away, parameter.stored = False, Stored("5", 2)
        await watched.look()
        assert (watched.value, watched.uncertain) == (5, False)

    virtual_clock.run(story())


def test_a_look_that_goes_wrong_unforeseen_does_not_end_the_watch() -> None:
    async def story() -> None:
        answers: list[Stored | Exception] = [KeyError("Parameters"), Stored("3", 2)]

        async def read() -> Stored:
            answer = answers.pop(0) if len(answers) > 1 else answers[0]
            if isinstance(answer, Exception):
                raise answer
            return answer

        watched = Watched("n", "1", number, read)
        task = asyncio.create_task(watched.run(30))
        await asyncio.sleep(35)
        assert (watched.value, watched.uncertain) == (1, True)
        await asyncio.sleep(30)
        assert (watched.value, watched.uncertain) == (3, False)
        task.cancel()

    virtual_clock.run(story())


def test_many_who_ask_share_looks_that_begin_after_they_asked() -> None:
    async def story() -> None:
        parameter = Parameter("1")
        watched = Watched("n", "1", number, parameter.read)
        await watched.look()
        looks = [asyncio.create_task(watched.look()) for _ in range(50)]
        await asyncio.sleep(0.5)
        parameter.stored = Stored("2", 2)
        await asyncio.gather(*looks)
        assert watched.value == 2
        assert len(parameter.reads) == 2
        assert parameter.reads[1] - parameter.reads[0] >= 1, "Parameter Store is not stormed"

    virtual_clock.run(story())


async def test_what_nothing_can_change_is_not_looked_at() -> None:
    watched = Watched("n", "1", number)
    await watched.run(0.001)
    await watched.look()
    assert (watched.value, watched.uncertain) == (1, False)


def test_the_first_text_must_be_good() -> None:
    with pytest.raises(ValueError, match="one"):
        Watched("n", "one", number)
