"""One typed error, and one table between its kinds and gRPC.

Servicers and domain code raise `DarkroomError`; the server's interceptor turns it into a status, batch RPCs into an
item's `google.rpc.Status`; the client turns either back into a `DarkroomError`. The gateway has the table to HTTP.
"""

from __future__ import annotations

import math
from enum import StrEnum
from typing import Final

import grpc
from google.protobuf import any_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2

_DOMAIN: Final = "darkroom"


class Kind(StrEnum):
    """What went wrong, as `urn:darkroom:problem:<kind>` names it."""

    MALFORMED = "malformed"
    UNAUTHENTICATED = "unauthenticated"
    FORBIDDEN = "forbidden"
    NOT_FOUND = "not_found"
    GONE = "gone"
    WRONG_STATE = "wrong_state"
    IDEMPOTENCY_CONFLICT = "idempotency_conflict"
    ETAG_MISMATCH = "etag_mismatch"
    STALE_ATTEMPT = "stale_attempt"
    UNPROCESSABLE = "unprocessable"
    RATE_LIMITED = "rate_limited"
    QUOTA_EXCEEDED = "quota_exceeded"
    UNAVAILABLE = "unavailable"
    DEADLINE_EXCEEDED = "deadline_exceeded"
    INTERNAL = "internal"


_CODES: Final[dict[Kind, grpc.StatusCode]] = {
    Kind.MALFORMED: grpc.StatusCode.INVALID_ARGUMENT,
    Kind.UNAUTHENTICATED: grpc.StatusCode.UNAUTHENTICATED,
    Kind.FORBIDDEN: grpc.StatusCode.PERMISSION_DENIED,
    Kind.NOT_FOUND: grpc.StatusCode.NOT_FOUND,
    Kind.GONE: grpc.StatusCode.NOT_FOUND,
    Kind.WRONG_STATE: grpc.StatusCode.FAILED_PRECONDITION,
    Kind.IDEMPOTENCY_CONFLICT: grpc.StatusCode.ALREADY_EXISTS,
    Kind.ETAG_MISMATCH: grpc.StatusCode.ABORTED,
    Kind.STALE_ATTEMPT: grpc.StatusCode.ABORTED,
    Kind.UNPROCESSABLE: grpc.StatusCode.INVALID_ARGUMENT,
    Kind.RATE_LIMITED: grpc.StatusCode.RESOURCE_EXHAUSTED,
    Kind.QUOTA_EXCEEDED: grpc.StatusCode.RESOURCE_EXHAUSTED,
    Kind.UNAVAILABLE: grpc.StatusCode.UNAVAILABLE,
    Kind.DEADLINE_EXCEEDED: grpc.StatusCode.DEADLINE_EXCEEDED,
    Kind.INTERNAL: grpc.StatusCode.INTERNAL,
}

# What a status means that does not come from us (the transport's own, a proxy's): it carries no reason.
_FOREIGN: Final[dict[int, Kind]] = {
    code_pb2.UNAVAILABLE: Kind.UNAVAILABLE,
    code_pb2.DEADLINE_EXCEEDED: Kind.DEADLINE_EXCEEDED,
    code_pb2.CANCELLED: Kind.UNAVAILABLE,  # the server went before it took the call up
    code_pb2.RESOURCE_EXHAUSTED: Kind.UNAVAILABLE,
}


class DarkroomError(Exception):
    """Something that a caller is told about.

    `detail` is for the caller: it says what was wrong and what to do, and holds no secret. `pointer` names the field
    (RFC 6901). `retry_after` is in seconds.
    """

    def __init__(
        self, kind: Kind, detail: str, *, pointer: str | None = None, retry_after: float | None = None
    ) -> None:
        super().__init__(f"{kind}: {detail}")
        self.kind = kind
        self.detail = detail
        self.pointer = pointer
        self.retry_after = retry_after

    @property
    def code(self) -> grpc.StatusCode:
        """The gRPC code of this kind."""
        return _CODES[self.kind]

    def to_status(self) -> status_pb2.Status:
        """The error as a `google.rpc.Status` with an ErrorInfo."""
        info = error_details_pb2.ErrorInfo(reason=self.kind.value, domain=_DOMAIN)
        if self.pointer is not None:
            info.metadata["pointer"] = self.pointer
        if self.retry_after is not None:
            info.metadata["retry_after"] = repr(self.retry_after)
        packed = any_pb2.Any()
        packed.Pack(info)
        code: int = self.code.value[0]
        return status_pb2.Status(code=code, message=self.detail, details=[packed])

    @classmethod
    def from_status(cls, status: status_pb2.Status) -> DarkroomError:
        """The error behind a status: ours by its ErrorInfo, else by its code; never the other side's internals."""
        for packed in status.details:
            info = error_details_pb2.ErrorInfo()
            if packed.Unpack(info) and info.domain == _DOMAIN:
                try:
                    kind = Kind(info.reason)
                except ValueError:  # from a newer release
                    break
                return cls(
                    kind,
                    status.message,
                    pointer=info.metadata.get("pointer"),
                    retry_after=_seconds(info.metadata.get("retry_after", "")),
                )
        foreign = _FOREIGN.get(status.code, Kind.INTERNAL)
        known = status.code in code_pb2.Code.values()
        return cls(foreign, f"a dependency answered {code_pb2.Code.Name(status.code) if known else status.code}")


def _seconds(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if 0 <= value < math.inf else None
