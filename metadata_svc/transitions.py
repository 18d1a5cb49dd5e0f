"""Reads an image, lets the domain decide, writes the decision: in one statement, and only if nobody was faster."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final, TypeVar
from uuid import UUID

from metadata_svc.domain.decision import Decision
from metadata_svc.domain.rules import jitter
from metadata_svc.ports import ImageStore, Reading
from runtime.errors import DarkroomError, Kind

_Answer = TypeVar("_Answer")

# Writers of one image are its worker, its owner and the sweeper: losing the race this often means something is wrong.
_ROUNDS: Final = 8
# Seconds of the longest wait before the third round, doubled for each one after it: of two that write again and again,
# in step, one would lose every time. The first is as long as reading and writing take; all together are 0.13.
_WAIT: Final = 0.002


async def decide(
    store: ImageStore,
    tenant_id: UUID,
    image_id: UUID,
    decision: Callable[[Reading], Decision[_Answer]],
    timeout: float | None,
) -> _Answer:
    """The answer of `decision`, once its change stands. It is asked again whenever the image changed meanwhile, so it
    must be pure. Raises what it raises; UNAVAILABLE if others keep changing the image.
    """
    deadline = None if timeout is None else time.monotonic() + timeout
    for number in range(_ROUNDS):
        if number > 1:
            await asyncio.sleep(_WAIT * 2 ** (number - 2) * jitter())
        left = None if deadline is None else deadline - time.monotonic()
        reading = await store.read(tenant_id, image_id, left)
        decided = decision(reading)
        if decided.change is None or reading.image is None:
            return decided.answer
        left = None if deadline is None else deadline - time.monotonic()
        if await store.write(reading.image, decided.change, left):
            return decided.answer
    raise DarkroomError(Kind.UNAVAILABLE, "the image is changed by too many at once", retry_after=1)
