"""Why a roll-out stops."""

from __future__ import annotations


class RolloutError(Exception):
    """The roll-out cannot go on; the text says why, what has been done, and what to do."""
