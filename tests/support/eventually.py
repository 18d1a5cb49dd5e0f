"""Waiting for what nobody announces."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable


async def eventually(check: Callable[[], Awaitable[object]], *, within: float = 30.0, every: float = 0.05) -> None:
    """Asks again and again until the answer is true. Raises `TimeoutError` after `within` seconds."""
    async with asyncio.timeout(within):
        while True:
            if await check():
                return
            await asyncio.sleep(every)
