"""Which pages of other origins may call the API (https://fetch.spec.whatwg.org/#http-cors-protocol)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from gateway.answers import Answer
from gateway.request import Request

_METHODS: Final = "GET, HEAD, POST, PATCH, DELETE"
_HEADERS: Final = "authorization, content-type, idempotency-key, if-match, if-none-match, traceparent, x-api-key"
_EXPOSED: Final = "etag, location, retry-after, x-request-id"
_PREFLIGHT_SECONDS: Final = "3600"


class Cors:
    """An allow-list of origins; `*` allows all. Keys travel in a header, not in cookies: no credentials mode."""

    def __init__(self, origins: Iterable[str]) -> None:
        self.origins = frozenset(origins)

    def add(self, request: Request, answer: Answer) -> None:
        """Adds the headers that let the page of an allowed origin read the answer."""
        head = answer.head
        head.append(("vary", "origin"))
        origin = request.headers.get("origin")
        if origin is None or not (origin in self.origins or "*" in self.origins):
            return
        head.append(("access-control-allow-origin", "*" if "*" in self.origins else origin))
        head.append(("access-control-expose-headers", _EXPOSED))
        if request.method == "OPTIONS":
            head.append(("access-control-allow-methods", _METHODS))
            head.append(("access-control-allow-headers", _HEADERS))
            head.append(("access-control-max-age", _PREFLIGHT_SECONDS))
