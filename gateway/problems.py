"""Every refusal and failure as problem+json (RFC 9457): the one table from kinds to HTTP."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import msgspec

from gateway.answers import Answer
from runtime.errors import DarkroomError, Kind

MEDIA_TYPE: Final = "application/problem+json"
_URN: Final = "urn:darkroom:problem:"
_encoder: Final = msgspec.json.Encoder()

# Status and title of each kind. Retry-After goes with 429 and 503.
_TABLE: Final[dict[str, tuple[int, str]]] = {
    Kind.MALFORMED: (400, "The request is malformed."),
    Kind.UNAUTHENTICATED: (401, "A valid API key is required."),
    Kind.FORBIDDEN: (403, "The credential may not do this."),
    Kind.NOT_FOUND: (404, "There is nothing here."),
    "method_not_allowed": (405, "The resource does not support this method."),
    "request_timeout": (408, "The request did not arrive in time."),
    Kind.WRONG_STATE: (409, "The image's state does not allow this."),
    Kind.GONE: (410, "The image was deleted."),
    Kind.ETAG_MISMATCH: (412, "The image has changed."),
    "payload_too_large": (413, "The body is too large."),
    "unsupported_media_type": (415, "The body must be JSON."),
    "expectation_failed": (417, "The expectation cannot be met."),
    Kind.UNPROCESSABLE: (422, "A value is not accepted."),
    Kind.IDEMPOTENCY_CONFLICT: (422, "The Idempotency-Key was used for another request."),
    Kind.RATE_LIMITED: (429, "Too many requests."),
    Kind.QUOTA_EXCEEDED: (429, "The tenant's quota is used up."),
    "internal": (500, "The service failed."),
    Kind.UNAVAILABLE: (503, "The service is not available at the moment."),
}
# What the services behind say that a client can do nothing about is a fault of ours, or a dependency that is down.
_OURS: Final[dict[Kind, str]] = {
    Kind.DEADLINE_EXCEEDED: Kind.UNAVAILABLE,
    Kind.STALE_ATTEMPT: Kind.INTERNAL,
}
_DEFAULT_RETRY_AFTER: Final = 1  # seconds
_QUOTA_RETRY_AFTER: Final = 60  # seconds; what counts against a quota does not change by the second
_AUTHENTICATE: Final = 'ApiKey realm="darkroom", header="x-api-key"'
_OUR_FAULT: Final = "The fault is ours; the request id names it in our logs."


class FieldError(msgspec.Struct):
    """What is wrong with one field; `pointer` is RFC 6901 into the body, or `/` and a parameter's or header's name."""

    pointer: str
    detail: str


class Problem(msgspec.Struct, omit_defaults=True):
    """The body of a refusal."""

    type: str
    title: str
    status: int
    detail: str
    request_id: str
    errors: Sequence[FieldError] | None = None


class Refusal(Exception):  # noqa: N818  # an answer, not an error of ours
    """A request that gets no other answer than a problem. `kind` is one of the table's."""

    def __init__(
        self,
        kind: str,
        detail: str,
        *,
        errors: Sequence[FieldError] | None = None,
        retry_after: float | None = None,
        headers: Sequence[tuple[str, str]] = (),
    ) -> None:
        super().__init__(detail)
        self.kind = kind
        self.detail = detail
        self.errors = errors
        self.retry_after = retry_after
        self.headers = headers

    @classmethod
    def of(cls, error: DarkroomError) -> Refusal:
        """The refusal for an error of a service behind, or of our own domain."""
        kind = _OURS.get(error.kind, error.kind.value)
        detail = error.detail
        if kind == Kind.INTERNAL:
            detail = _OUR_FAULT
        elif kind == Kind.UNAVAILABLE:
            detail = "Try again after the given time."
        errors = None if error.pointer is None else [FieldError(error.pointer, error.detail)]
        return cls(kind, detail, errors=errors, retry_after=error.retry_after)


def malformed(pointer: str, detail: str) -> Refusal:
    """400 for one field, parameter or header."""
    return Refusal(Kind.MALFORMED, "One value is malformed.", errors=[FieldError(pointer, detail)])


def unprocessable(pointer: str, detail: str) -> Refusal:
    """422 for one field of the body."""
    return Refusal(Kind.UNPROCESSABLE, "One value is not accepted.", errors=[FieldError(pointer, detail)])


def ours() -> Refusal:
    """500: a bug of ours."""
    return Refusal(Kind.INTERNAL, _OUR_FAULT)


def answer(refusal: Refusal, request_id: str) -> Answer:
    """The refusal as an answer."""
    status, title = _TABLE[refusal.kind]
    problem = Problem(f"{_URN}{refusal.kind}", title, status, refusal.detail, request_id, refusal.errors)
    made = Answer(status, _encoded(problem), MEDIA_TYPE, refusal.headers)
    if status == 401:
        made.head.append(("www-authenticate", _AUTHENTICATE))
    elif status in {429, 503}:
        seconds = refusal.retry_after
        if seconds is None:
            seconds = _QUOTA_RETRY_AFTER if refusal.kind == Kind.QUOTA_EXCEEDED else _DEFAULT_RETRY_AFTER
        made.head.append(("retry-after", str(max(1, math.ceil(seconds)))))
    return made


def _encoded(problem: Problem) -> bytes:
    try:
        return _encoder.encode(problem)
    except UnicodeEncodeError:  # a client's own text is quoted in it, and was no Unicode
        printable = msgspec.to_builtins(problem, enc_hook=str)
        return _encoder.encode(_without_surrogates(printable))


def _without_surrogates(value: object) -> object:
    match value:
        case str():
            return value.encode(errors="replace").decode()
        case list():
            return [_without_surrogates(item) for item in value]
        case dict():
            return {key: _without_surrogates(item) for key, item in value.items()}
        case _:
            return value
