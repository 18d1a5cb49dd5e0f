"""W3C trace context (https://www.w3.org/TR/trace-context/): who asked for what runs now."""

from __future__ import annotations

import re
import secrets
from contextvars import ContextVar
from typing import Final

_TRACEPARENT: Final = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")
_NO_TRACE: Final = "0" * 32
_NO_SPAN: Final = "0" * 16

current: ContextVar[str] = ContextVar("traceparent", default="")


def continued(traceparent: str | None) -> str:
    """A trace context for work that starts here: a new span of the given trace, or of a new one where that is none."""
    match = _TRACEPARENT.fullmatch(traceparent) if traceparent else None
    span = secrets.token_hex(8)
    if match is None or match[1] == _NO_TRACE or match[2] == _NO_SPAN:
        return f"00-{secrets.token_hex(16)}-{span}-01"
    return f"00-{match[1]}-{span}-{match[3]}"


def trace_id(traceparent: str) -> str:
    """The 32 hex digits that name the trace; empty for a text that is no trace context."""
    return traceparent[3:35] if len(traceparent) == 55 else ""
