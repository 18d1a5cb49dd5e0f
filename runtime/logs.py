"""Structured logs: one JSON object a line on stderr, with the ids of the request, the image and the trace."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Mapping, MutableMapping
from typing import Any, Final

import msgspec
import structlog

from runtime import trace

# Signatures, session tokens and API keys must never reach a log, whichever library wrote the line and in whatever form:
# as a query string, percent-encoded once more, as a header, or as the text form of a dict.
_SECRET: Final = re.compile(
    r"""(X-Amz-(?:Signature|Security-Token|Credential)(?:=|%3D|\\?["']?:\s*(?:b?\\?["'])?))[^&\s"'\\,}]+"""
    r"""|(\bSignature=)[0-9a-f]{64}"""
    r"""|(drk_[A-Za-z0-9]+_)[A-Za-z0-9_-]+""",
    re.IGNORECASE,
)
_encoder: Final = msgspec.json.Encoder(enc_hook=str)


def redact(text: str) -> str:
    """The text with every signature, session token and API key secret blotted out."""
    return _SECRET.sub(lambda match: f"{match[1] or match[2] or match[3]}[redacted]", text)


def _add_trace(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    current = trace.trace_id(trace.current.get())
    if current:
        event.setdefault("trace_id", current)
    return event


def _render(_logger: object, _method: str, event: MutableMapping[str, Any]) -> str:
    try:
        line = _encoder.encode(event)
    except Exception:  # a line that has no JSON form (a huge number, a key that is no text) is still a line
        line = _encoder.encode({str(key): ascii(value) for key, value in event.items()})
    return redact(line.decode())


class _Formatter(logging.Formatter):
    """Lines of libraries, in the same form."""

    def __init__(self, service: str) -> None:
        super().__init__()
        self._service = service

    def format(self, record: logging.LogRecord) -> str:
        event: dict[str, Any] = {
            "event": record.getMessage(),
            "logger": record.name,
            "level": record.levelname.lower(),
            "service": self._service,
            "time": structlog.processors.TimeStamper(fmt="iso", utc=True)(None, "", {})["timestamp"],
        }
        if record.exc_info:
            event["exception"] = self.formatException(record.exc_info)
        return _render(None, "", _add_trace(None, "", structlog.contextvars.get_contextvars() | event))


def configure(service: str, level: str = "info") -> None:
    """Sets up logging for this process. Called once, first of all; `set_level` when the settings are known."""

    def add_service(_logger: object, _method: str, event: MutableMapping[str, Any]) -> Mapping[str, Any]:
        event["service"] = service
        return event

    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            add_service,
            _add_trace,
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
            structlog.processors.format_exc_info,
            _render,
        ],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Formatter(service))
    logging.basicConfig(handlers=[handler], force=True)
    logging.captureWarnings(True)
    _filter(level)


def set_level(level: str) -> None:
    """The least level that is logged from now on: debug, info, warning or error."""
    _filter(level)
    # Assembling a logger costs as much as writing its line. Until now it had to be done for each one.
    structlog.configure(cache_logger_on_first_use=True)


def _filter(level: str) -> None:
    number = logging.getLevelNamesMapping()[level.upper()]
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(number))
    # Libraries speak when something is wrong; their own debug lines can carry headers and URLs.
    logging.getLogger().setLevel(max(number, logging.WARNING))
