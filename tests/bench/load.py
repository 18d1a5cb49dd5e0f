"""A lean HTTP/1.1 client for loopback, a process of its own so that its CPU is not counted: see `Order`.

Reads one JSON line an order from stdin, sends so many requests over so many connections, one at a time on each, and
answers with one JSON line: requests sent, seconds taken, latencies in milliseconds, and the first answer that was not
the expected one.
"""

from __future__ import annotations

import asyncio
import itertools
import sys
import time
import uuid
from typing import Final

import msgspec
import uvloop

MOST_REQUESTS: Final = 200_000
MOST_CONNECTIONS: Final = 1_024


class Order(msgspec.Struct):
    """What to send. `paths` are taken in turn; a body makes it a POST with an Idempotency-Key of its own."""

    port: int
    paths: list[str]
    requests: int
    concurrency: int
    headers: dict[str, str] = {}
    body: str = ""
    expect: int = 200


class Answer(msgspec.Struct):
    """What came of it."""

    requests: int
    seconds: float
    p50_ms: float
    p99_ms: float
    wrong: str = ""


class Run:
    """One order under way."""

    def __init__(self, order: Order) -> None:
        if order.requests > MOST_REQUESTS or order.concurrency > MOST_CONNECTIONS:
            raise ValueError("an order has bounds, so that a mistake does not take the machine")
        self._order = order
        self._paths = itertools.cycle(order.paths)
        self._left = order.requests
        self._latencies: list[float] = []
        self._wrong = ""
        self._headers = "".join(f"{name}: {value}\r\n" for name, value in order.headers.items())
        # uuid4 a request would cost the client as much as sending it.
        self._key, self._number = uuid.uuid4().hex, itertools.count()

    async def __call__(self) -> Answer:
        """Sends everything."""
        started = time.perf_counter()
        await asyncio.gather(*(self._connection() for _ in range(self._order.concurrency)))
        seconds = time.perf_counter() - started
        latencies = sorted(self._latencies)
        count = len(latencies)
        return Answer(
            count, seconds, latencies[count // 2] * 1e3, latencies[min(count - 1, count * 99 // 100)] * 1e3, self._wrong
        )

    def _request(self) -> bytes:
        order = self._order
        head = f" {next(self._paths)} HTTP/1.1\r\nhost: 127.0.0.1:{order.port}\r\n{self._headers}"
        if not order.body:
            return f"GET{head}\r\n".encode()
        key = f"{self._key}{next(self._number)}"
        body = order.body.encode()
        return (
            f"POST{head}content-type: application/json\r\nidempotency-key: {key}\r\ncontent-length: {len(body)}\r\n\r\n"
        ).encode() + body

    async def _connection(self) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._order.port)
        expected = f"HTTP/1.1 {self._order.expect} ".encode()
        while self._left > 0 and not self._wrong:
            self._left -= 1
            started = time.perf_counter()
            writer.write(self._request())
            head = await reader.readuntil(b"\r\n\r\n")
            length = _content_length(head)
            body = await reader.readexactly(length) if length else b""
            self._latencies.append(time.perf_counter() - started)
            if not head.startswith(expected):
                self._wrong = (head + body).decode(errors="replace")[:2000]
        writer.close()


def _content_length(head: bytes) -> int:
    for line in head.split(b"\r\n"):
        if line[:15].lower() == b"content-length:":
            return int(line[15:])
    return 0


async def _main() -> None:
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        answer = await Run(msgspec.json.decode(line, type=Order))()
        sys.stdout.write(msgspec.json.encode(answer).decode() + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    uvloop.run(_main())
