"""Whether a part of the cluster is really ready: asked of it, not concluded from its being there."""

from __future__ import annotations

import asyncio
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import asyncpg
import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

_PATIENCE: Final = 60.0  # seconds for one part; on an idle machine each takes one or two
_CALL: Final = 2.0  # seconds for one question
_PAUSE: Final = 0.1
_DEATHS: Final = 4  # of a process while it is waited for; one or two may come of what it needs being slower
_LOG_END: Final = 2000  # characters


class NotReady(Exception):  # noqa: N818  # reads as what it says
    """A part did not become ready in time; the text says which, and the end of its log."""


def wait(
    what: str,
    ready: Callable[[], bool],
    log: Path,
    *,
    patience: float = _PATIENCE,
    pid: Callable[[], int] = lambda: 0,
) -> None:
    """Asks until the answer is yes. Raises `NotReady`, earlier where `pid` shows that it dies again and again."""
    started = time.monotonic()
    pids: set[int] = set()
    while not ready():
        pids.add(pid())
        passed = time.monotonic() - started
        if passed > patience or len(pids - {0}) > _DEATHS:
            raise NotReady(f"{what} is not ready after {passed:.0f} s; the end of {log}:\n{_end(log)}")
        time.sleep(_PAUSE)


def grpc_serving(port: int) -> bool:
    """Whether the gRPC server at that port says SERVING."""
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)  # its type stubs lack the methods
        try:
            answer = stub.Check(health_pb2.HealthCheckRequest(), timeout=_CALL)
        except grpc.RpcError:
            return False
        return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


def http_answers(url: str, headers: dict[str, str] | None = None) -> bool:
    """Whether a GET of that URL is answered with a status below 400."""
    request = urllib.request.Request(url, headers=headers or {})  # noqa: S310  # our own, http
    try:
        with urllib.request.urlopen(request, timeout=_CALL + 3):  # noqa: S310
            return True
    except (urllib.error.URLError, OSError):
        return False


def postgres_answers(url: Callable[[], str]) -> bool:
    """Whether the database answers a query. `url` is asked each time: its password is made with the server."""

    async def ask() -> None:
        connection = await asyncpg.connect(url(), timeout=_CALL)
        try:
            await connection.execute("SELECT 1")
        finally:
            await connection.close()

    try:
        asyncio.run(ask())
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
        return False
    return True


def _end(log: Path) -> str:
    """The end of a log for people: a traceback inside a JSON line is unfolded."""
    if not log.exists():
        return "(no log)"
    lines = log.read_text(errors="replace").splitlines()[-4:]
    return "\n".join(lines).replace("\\n", "\n").replace('\\"', '"')[-_LOG_END:]
