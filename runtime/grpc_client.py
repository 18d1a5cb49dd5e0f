"""gRPC channels and calls: balanced over all addresses, with deadlines, trace and one retrying layer."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AsyncExitStack
from typing import Any, Final, TypeVar

import grpc
import msgspec
from google.rpc import status_pb2

from runtime import trace
from runtime.errors import DarkroomError

_DETAILS: Final = "grpc-status-details-bin"

_OPTIONS: Final = (
    ("grpc.max_receive_message_length", 8 * 1024 * 1024),  # bytes; as the servers' own limit
    # A peer that is frozen, or gone without a word, is noticed after these: asked when nothing came for `time`, given
    # up when nothing came for `timeout` after that, or for `ping_timeout` where gRPC had asked for reasons of its own.
    ("grpc.keepalive_time_ms", 5_000),
    ("grpc.keepalive_timeout_ms", 4_000),
    ("grpc.http2.ping_timeout_ms", 4_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),  # else it stops asking after two
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 3_000),  # a restarted service is found again within this
)

_PROXY: Final = "proxy:"

# Only UNAVAILABLE, only for calls that may be repeated: nothing was done, or doing it twice is doing it once.
# The five attempts (gRPC's own limit) span three seconds: a process that is restarted is back by then.
_RETRY: Final = {
    "maxAttempts": 5,
    "initialBackoff": "0.1s",
    "maxBackoff": "2s",
    "backoffMultiplier": 3,
    "retryableStatusCodes": ["UNAVAILABLE"],
}

_Request = TypeVar("_Request")
_Response = TypeVar("_Response")


async def channel(stack: AsyncExitStack, target: str, *, retried: Iterable[str] = ()) -> grpc.aio.Channel:
    """A channel that closes with the stack. Calls go round-robin over every address that `target` names
    (`host:port`, `dns:///name:port`, `ipv4:a:1,b:2`), or to a proxy that balances by itself (`proxy:host:port`).
    `retried` are the idempotent methods, `package.Service/Method`.
    """
    methods = [dict(zip(("service", "method"), name.split("/"), strict=True)) for name in retried]
    config: dict[str, Any]
    if target.startswith(_PROXY):
        # Watching the health would watch one of the servers behind it, whichever got the stream: when that one
        # drains, calls to all the others would fail with it. And its name may have an address of a kind that the
        # network does not have: one that answers is enough.
        target = target.removeprefix(_PROXY)
        config = {"loadBalancingConfig": [{"pick_first": {}}]}
    else:
        # A server that says "not serving" gets no more calls: it drains, or cannot work. "" is the server as a whole.
        config = {"loadBalancingConfig": [{"round_robin": {}}], "healthCheckConfig": {"serviceName": ""}}
    if methods:
        config["methodConfig"] = [{"name": methods, "retryPolicy": _RETRY}]
    options = (*_OPTIONS, ("grpc.service_config", msgspec.json.encode(config).decode()))
    return await stack.enter_async_context(grpc.aio.insecure_channel(target, options=options))


async def call(
    method: grpc.aio.UnaryUnaryMultiCallable[_Request, _Response], request: _Request, timeout: float
) -> _Response:
    """One unary call within `timeout` seconds, in the current trace. Raises `DarkroomError`, whatever went wrong."""
    traceparent = trace.current.get()
    metadata = (("traceparent", traceparent),) if traceparent else None
    try:
        return await method(request, timeout=timeout, metadata=metadata)
    except grpc.aio.AioRpcError as error:
        raise translated(error) from None


def translated(error: grpc.aio.AioRpcError) -> DarkroomError:
    """The error that the other side raised, or what the transport's own means to us."""
    for key, value in error.trailing_metadata() or ():
        if key == _DETAILS and isinstance(value, bytes):
            return DarkroomError.from_status(status_pb2.Status.FromString(value))
    return DarkroomError.from_status(status_pb2.Status(code=error.code().value[0], message=error.details() or ""))
