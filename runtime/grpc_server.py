"""The gRPC server of every service: health, reflection, errors, trace and drain in one builder."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any, Final

import grpc
import structlog
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from runtime import trace
from runtime.errors import DarkroomError, Kind
from runtime.grpc_warm import SUFFIX as WARM_SUFFIX

_log = structlog.get_logger(__name__)

_DETAILS: Final = "grpc-status-details-bin"  # where gRPC carries a google.rpc.Status

OPTIONS: Final = (
    ("grpc.so_reuseport", 0),  # a port taken by another process is an error, not a silent share
    ("grpc.max_receive_message_length", 8 * 1024 * 1024),  # bytes; a full batch of 1,000 items is below 2 MiB
    ("grpc.http2.min_ping_interval_without_data_ms", 2_000),  # lets clients notice a frozen server
    ("grpc.keepalive_permit_without_calls", 1),
)

# Seconds. Clients watch the health service and turn to other servers when this one says that it stops; it takes calls
# until none has come for `_QUIET`, at most for `_LAME_DUCK` (a client that does not watch keeps calling).
_QUIET: Final = 0.25
_LAME_DUCK: Final = 2.0
# Seconds between the end of the last call and the end of the streams that never end by themselves (health watches).
_LAST_WORDS: Final = 0.1

Unary = Callable[[Any, grpc.aio.ServicerContext[Any, Any]], Awaitable[Any]]


class _Guard(grpc.aio.ServerInterceptor):
    """Turns errors into statuses and continues the caller's trace. Wrappers are kept per method: that is cheap."""

    def __init__(self) -> None:
        self._handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {}
        self._running = 0
        self._last_start = 0.0
        self._idle = asyncio.Event()
        self._idle.set()

    async def quiet(self) -> None:
        """Returns when clients have stopped calling, or were given time enough to."""
        loop = asyncio.get_running_loop()
        self._last_start = loop.time()
        end = self._last_start + _LAME_DUCK
        while (left := min(self._last_start + _QUIET, end) - loop.time()) > 0:  # noqa: ASYNC110  # it waits for silence
            await asyncio.sleep(left)

    async def idle(self) -> None:
        """Returns when no call is running."""
        await self._idle.wait()

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any] | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        method = str(handler_call_details.method)
        known = self._handlers.get(method)
        if known is not None:
            return known
        warm = method.endswith(WARM_SUFFIX)
        if warm:
            # gRPC takes none but its own class of details, which has no public name.
            own: Any = type(handler_call_details)
            handler_call_details = own(method.removesuffix(WARM_SUFFIX), handler_call_details.invocation_metadata)
        handler = await continuation(handler_call_details)
        if handler is None or handler.unary_unary is None or method.startswith("/grpc."):
            return None if warm else handler
        forms: dict[str, Any] = {
            "request_deserializer": handler.request_deserializer,
            "response_serializer": handler.response_serializer,
        }
        guarded = self._guarded(handler.unary_unary, method)
        self._handlers[method] = (
            grpc.stream_stream_rpc_method_handler(_warm(guarded), **forms)
            if warm
            else grpc.unary_unary_rpc_method_handler(guarded, **forms)
        )
        return self._handlers[method]

    def _guarded(self, behaviour: Any, method: str) -> Unary:  # typed for synchronous servers
        async def answer(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
            self._running += 1
            self._idle.clear()
            self._last_start = asyncio.get_running_loop().time()
            try:
                return await _answered(behaviour, request, context, method)
            finally:
                self._running -= 1
                if not self._running:
                    self._idle.set()

        return answer


def _warm(behaviour: Unary) -> Any:
    """The method as a stream: see `runtime.grpc_warm`."""

    async def answers(_requests: Any, context: grpc.aio.ServicerContext[Any, Any]) -> None:
        while (request := await context.read()) is not grpc.aio.EOF:
            await context.write(await behaviour(request, context))

    return answers


async def _answered(behaviour: Unary, request: Any, context: grpc.aio.ServicerContext[Any, Any], method: str) -> Any:
    metadata = context.invocation_metadata()
    for key, value in () if metadata is None else metadata:
        if key == "traceparent":
            trace.current.set(trace.continued(str(value)))
            break
    try:
        return await behaviour(request, context)
    except DarkroomError as error:
        failure = error
    except grpc.aio.AbortError:
        raise
    except Exception:
        _log.exception("servicer failed", method=method)
        failure = DarkroomError(Kind.INTERNAL, "the service failed; its log says why")
    context.set_trailing_metadata(((_DETAILS, failure.to_status().SerializeToString()),))
    return await context.abort(failure.code, failure.detail)


class GrpcServer:
    """A running server. `port` is the one it listens on; `set_ready` is what `grpc.health.v1.Health` says."""

    def __init__(self, server: grpc.aio.Server, port: int, checks: health.aio.HealthServicer, names: list[str]) -> None:
        self.port = port
        self._server = server
        self._checks = checks
        self._names = ["", *names]

    async def set_ready(self, ready: bool) -> None:
        """Says on every service name whether this process takes work."""
        status = health_pb2.HealthCheckResponse.SERVING if ready else health_pb2.HealthCheckResponse.NOT_SERVING
        for name in self._names:
            await self._checks.set(name, status)


@asynccontextmanager
async def serving(
    *,
    host: str,
    port: int,
    names: Iterable[str],
    add: Callable[[grpc.aio.Server], None],
    drain_seconds: float,
) -> AsyncIterator[GrpcServer]:
    """Serves until the block ends; then says "not serving", waits until clients have heard it, takes no new call and
    lets the running ones end within `drain_seconds`.

    `names` are the full names of the services that `add` registers. Raises OSError where the port is taken.
    """
    guard = _Guard()
    server = grpc.aio.server(interceptors=[guard], options=OPTIONS)
    add(server)
    checks = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(checks, server)
    served = list(names)
    reflection.enable_server_reflection([*served, health.SERVICE_NAME, reflection.SERVICE_NAME], server)
    try:
        bound = server.add_insecure_port(f"{host}:{port}")
    except RuntimeError as error:
        raise OSError(f"cannot listen on {host}:{port}: {error}") from error
    await server.start()
    running = GrpcServer(server, bound, checks, served)
    await running.set_ready(True)
    _log.info("listening", host=host, port=bound)
    try:
        yield running
    finally:
        await checks.enter_graceful_shutdown()
        await guard.quiet()
        drain = asyncio.create_task(server.stop(drain_seconds))
        await asyncio.wait([drain, idle := asyncio.create_task(guard.idle())], return_when=asyncio.FIRST_COMPLETED)
        idle.cancel()
        await server.stop(_LAST_WORDS)
        await drain
