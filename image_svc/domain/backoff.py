"""How long to wait before something is tried again."""

from __future__ import annotations

import random


def backoff(tries: int, *, first: float, longest: float) -> float:
    """Seconds before try number `tries + 1`: exponential up to `longest`, with the upper half of it left to chance.

    Half jitter keeps a floor, so that nothing turns into a hot loop, and spreads those that failed together.
    """
    # 2**30 is beyond any `longest`, and a float has room for it.
    most = min(longest, first * 2.0 ** min(max(tries, 1) - 1, 30))
    return most * random.uniform(0.5, 1.0)  # noqa: S311 - spreads load, protects nothing
