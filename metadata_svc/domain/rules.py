"""Limits and times of an image's life. The settings fill them in."""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True, slots=True)
class Rules:
    """Every number that a transition depends on."""

    # Attempts that count, before an image is FAILED (architecture.md 14).
    max_attempts: int = 5
    # The wait after the first failed attempt, doubled with each further one up to the longest.
    first_retry: timedelta = timedelta(seconds=2)
    longest_retry: timedelta = timedelta(minutes=2)
    # After a ticket's end: a PUT that began in time may still be under way, and its event takes seconds to a minute.
    upload_grace: timedelta = timedelta(minutes=10)
    # Create-only admits a ticket again once the object is gone: an original stays at least this long after it ended.
    removal_margin: timedelta = timedelta(minutes=5)
    # An image in work whose lease ended this long ago has lost its message: it gets a new one.
    stuck_after: timedelta = timedelta(minutes=15)
    # A worker that lost its lease may write for a moment longer before it notices.
    late_write_margin: timedelta = timedelta(minutes=1)
    # How long an order may go unreported before it is given again.
    reorder_after: timedelta = timedelta(minutes=15)
    # How long a variant stays that another one has replaced: signed URLs live up to half an hour, caches ask again.
    superseded_after: timedelta = timedelta(hours=1)
    # How long a deleted image is known as deleted, after its purge.
    tombstone_life: timedelta = timedelta(days=7)

    def retry_after(self, counted: int, jitter: float) -> timedelta:
        """The wait after the attempt that is the `counted`-th to fail. `jitter` in [0, 1) spreads it over its upper
        half ("equal jitter", https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/).
        """
        whole = min(self.first_retry * 2.0 ** min(max(counted, 1) - 1, 30), self.longest_retry)
        return whole * (0.5 + jitter / 2)


def jitter() -> float:
    """A number in [0, 1). Not for secrets."""
    return random.random()  # noqa: S311  # spreads retries, guards nothing
