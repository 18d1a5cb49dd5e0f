"""What goes back: one write of head and body.

aiohttp's own Response costs 10 to 20 us more for the same bytes (case-insensitive multidicts, properties, two more
awaits), which is a fifth of all that the gateway does for a request.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterable, Sequence
from email.utils import formatdate
from http import HTTPStatus
from typing import Any, Final

import msgspec
from aiohttp import web
from aiohttp.abc import AbstractStreamWriter

JSON: Final = "application/json"

_STATUS_LINES: Final = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n" for status in HTTPStatus}
_BODILESS: Final = frozenset({204, 304})
_encoder: Final = msgspec.json.Encoder()


class Answer(web.StreamResponse):
    """A whole answer. The head is a list of (name, value) with names in lower case; values are checked when written."""

    def __init__(
        self, status: int, body: bytes = b"", content_type: str = "", headers: Iterable[tuple[str, str]] = ()
    ) -> None:
        # Not super().__init__(): it makes the multidicts that this class is there to spare.
        self._status = status
        self._keep_alive: bool | None = None
        self.head: list[tuple[str, str]] = [*headers]
        if content_type:
            self.head.append(("content-type", content_type))
        self.body = body

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Writes the answer; aiohttp calls this once."""
        length = "" if self._status in _BODILESS else f"content-length: {len(self.body)}\r\n"
        whole = self._begin(request, length)
        if request.method != "HEAD" and length:
            whole += self.body
        await request.writer.write(whole)
        return None

    def _begin(self, request: web.BaseRequest, length: str) -> bytes:
        """Status line and head; `length` is the line that tells where the body ends."""
        keep_alive = request.keep_alive if self._keep_alive is None else self._keep_alive
        self._keep_alive = keep_alive
        if not keep_alive:
            self.head.append(("connection", "close"))
        elif request.version < (1, 1):
            self.head.append(("connection", "keep-alive"))
        lines = "".join([f"{name}: {value}\r\n" for name, value in self.head])
        if lines.count("\r") != len(self.head) or lines.count("\n") != len(self.head):
            raise ValueError("a header's value must be one line")
        return f"{_STATUS_LINES[self._status]}{lines}{length}date: {_date()}\r\n\r\n".encode()

    async def write_eof(self, data: bytes = b"") -> None:
        """Nothing is left to write."""

    def find(self, name: str) -> str | None:
        """The value of a header, or None."""
        return next((value for known, value in self.head if known == name), None)


class Stream(Answer):
    """An answer whose body comes in pieces. Each is sent as it is made; an error on the way cuts the connection."""

    def __init__(self, pieces: AsyncIterator[bytes], content_type: str) -> None:
        super().__init__(200, content_type=content_type)
        self._pieces = pieces
        self._writer: AbstractStreamWriter | None = None

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Writes the head; aiohttp calls this once."""
        chunked = request.version >= (1, 1)
        if not chunked:
            self.force_close()  # HTTP/1.0 knows the end of the body by the end of the connection
        await request.writer.write(self._begin(request, "transfer-encoding: chunked\r\n" if chunked else ""))
        if request.method != "HEAD":
            self._writer = request.writer
            if chunked:
                self._writer.enable_chunking()
        return None

    async def write_eof(self, data: bytes = b"") -> None:  # noqa: ARG002  # aiohttp's signature; it passes nothing
        """Writes the body, to its end."""
        if self._writer is None:
            return
        async for piece in self._pieces:
            await self._writer.write(piece)
        await self._writer.write_eof()


def reply(value: Any, status: int = 200, headers: Sequence[tuple[str, str]] = ()) -> Answer:
    """The value as JSON."""
    return Answer(status, _encoder.encode(value), JSON, headers)


class _Date:
    """The header, made once a second."""

    def __init__(self) -> None:
        self._second = 0
        self._text = ""

    def __call__(self) -> str:
        second = int(time.time())
        if second != self._second:
            self._second = second
            self._text = formatdate(second, usegmt=True)
        return self._text


_date: Final = _Date()
