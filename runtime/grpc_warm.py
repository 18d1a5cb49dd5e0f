"""Unary methods over streams that stay open.

A unary call of grpc.aio costs some 600 microseconds of CPU at both ends together, a message on an open stream 240: at
low concurrency, where coalescing finds nothing to gather, that is most of a request. `runtime.grpc_server` serves every
unary method `package.Service/Method` also as the stream `package.Service/Method.warm`: requests in, answers out, in
order. It is a way of transport, not a contract: who does not know it calls the method itself.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any, Final, Generic, TypeVar

import grpc

from runtime.errors import DarkroomError, Kind
from runtime.grpc_client import call, translated

SUFFIX: Final = ".warm"

_DETAILS: Final = "grpc-status-details-bin"

# Seconds that a stream is used for. It stays at one server: this is how soon another one gets a share of the calls, and
# how soon a server that drains is left (it takes calls for longer than this).
_AGE: Final = 1.0

# The server went, or does not know streams: nothing was answered, and what is called this way may be repeated.
_REPEATED: Final = frozenset(
    {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.UNIMPLEMENTED,
    }
)

_Request = TypeVar("_Request")
_Response = TypeVar("_Response")


class WarmMethod(Generic[_Request, _Response]):
    """A unary method that may be repeated, called over warm streams, and over a call of its own where those fail.

    The trace of the caller is not carried: a message is a batch, and stands for many callers.
    """

    def __init__(
        self, channel: grpc.aio.Channel, method: str, request: type[_Request], response: type[_Response]
    ) -> None:
        """`method` is `package.Service/Method`, `request` and `response` are its message classes.

        The method must be among the `retried` of the channel, or repeated by its caller: the second way relies on it.
        """
        serialize: Any = request
        deserialize: Any = response
        forms = {
            "request_serializer": serialize.SerializeToString,
            "response_deserializer": deserialize.FromString,
        }
        self._unary = channel.unary_unary(f"/{method}", **forms)
        self._stream = channel.stream_stream(f"/{method}{SUFFIX}", **forms)
        self._idle: list[tuple[float, grpc.aio.StreamStreamCall[_Request, _Response]]] = []

    async def __call__(self, request: _Request, timeout: float) -> _Response:
        """One call within `timeout` seconds. Raises `DarkroomError`, whatever went wrong."""
        started = time.monotonic()
        old, stream = self._take(started)
        done = False
        try:
            async with asyncio.timeout(timeout):
                await stream.write(request)
                answer = await stream.read()
            done = answer is not grpc.aio.EOF
            if done:
                return answer  # type: ignore[return-value]  # it is not EOF
        except TimeoutError:
            raise DarkroomError(Kind.DEADLINE_EXCEEDED, "no answer in time from a service behind") from None
        except grpc.aio.AioRpcError as error:
            if error.code() not in _REPEATED and not _broke(error):
                raise translated(error) from None
        except asyncio.InvalidStateError:
            pass  # the stream had ended before the write
        finally:
            if done:
                self._idle.append((old, stream))
            else:
                stream.cancel()
        return await call(self._unary, request, max(started + timeout - time.monotonic(), 0))

    def _take(self, now: float) -> tuple[float, grpc.aio.StreamStreamCall[_Request, _Response]]:
        while self._idle:
            old, stream = self._idle.pop()
            if now < old and not stream.done():
                return old, stream
            stream.cancel()
        return now + _AGE, self._stream()


def _broke(error: grpc.aio.AioRpcError) -> bool:
    """Whether the stream broke under a write. gRPC's core then says INTERNAL; so do our servers, but with details."""
    return error.code() is grpc.StatusCode.INTERNAL and not any(
        key == _DETAILS for key, _ in error.trailing_metadata() or ()
    )
