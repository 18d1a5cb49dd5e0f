"""What stands around every route: id, trace, deadline, admission, problems, headers and one line of log."""

from __future__ import annotations

import asyncio
import secrets

import structlog

from gateway import problems
from gateway.access_log import AccessLog
from gateway.answers import Answer
from gateway.context import Context
from gateway.cors import Cors
from gateway.problems import Refusal
from gateway.request import Request
from gateway.router import Router
from runtime import trace
from runtime.errors import DarkroomError, Kind

_log = structlog.get_logger(__name__)


class Front:
    """The way in and out. One function and no chain of middlewares: this is on every request's path."""

    def __init__(self, context: Context, router: Router, access_log: AccessLog | None) -> None:
        self._context = context
        self._router = router
        self._access_log = access_log
        self._cors = Cors(context.settings.cors_origins)

    async def handle(self, request: Request) -> Answer:
        """Answers, whatever happens below."""
        self.begin(request)
        try:
            answer = await self._route(request)
        except Refusal as refusal:
            answer = problems.answer(refusal, request.request_id)
        except DarkroomError as error:
            if error.kind in {Kind.INTERNAL, Kind.STALE_ATTEMPT}:
                _log.error("a service behind failed", reason=str(error))
            answer = problems.answer(Refusal.of(error), request.request_id)
        except asyncio.CancelledError:
            if self._access_log is not None:
                self._access_log(request, 499)
            raise
        except Exception:
            _log.exception("the gateway failed")
            answer = problems.answer(problems.ours(), request.request_id)
        return self.end(request, answer)

    def begin(self, request: Request) -> None:
        """Gives the request its id and its place in a trace, for all that is logged and called on its behalf."""
        request.request_id = secrets.token_hex(16)
        request.traceparent = trace.continued(request.headers.get("traceparent"))
        # Each request runs in a task, and so in a context, of its own: nothing is to be put back.
        trace.current.set(request.traceparent)
        structlog.contextvars.bind_contextvars(request_id=request.request_id)

    def end(self, request: Request, answer: Answer) -> Answer:
        """Gives the answer the headers that every answer has, and logs it."""
        head = answer.head
        head.append(("x-request-id", request.request_id))
        head.append(("x-content-type-options", "nosniff"))
        if answer.find("cache-control") is None:
            head.append(("cache-control", "private, no-store"))
        if self._cors.origins:
            self._cors.add(request, answer)
        if self._context.readiness.draining:
            answer.force_close()  # the client's next request goes to a process that stays
        if self._access_log is not None:
            self._access_log(request, answer.status)
        return answer

    async def _route(self, request: Request) -> Answer:
        target = request.raw_path
        if not target.startswith("/"):  # absolute form (RFC 9112, 3.2.2)
            target = request.rel_url.raw_path
        found = self._router.find(target.partition("?")[0])
        if found is None:
            raise Refusal(Kind.NOT_FOUND, "There is no such resource.")
        resource, values = found
        request.route = resource.path
        request.params = dict(zip(resource.parameters, values, strict=True))
        route = resource.routes.get(request.method)
        if route is None:
            allowed = resource.allowed
            if request.method == "OPTIONS":
                return Answer(204, headers=[("allow", allowed)])
            raise Refusal("method_not_allowed", f"Allowed here: {allowed}.", headers=[("allow", allowed)])
        if route.always:
            return await route.handler(request)
        self._context.admission.enter()
        try:
            return await route.handler(request)
        finally:
            self._context.admission.leave()
