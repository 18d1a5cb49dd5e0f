"""`darkroom.presign.v1.PresignService`: from proto to domain and back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import grpc
from darkroom.presign.v1 import presign_pb2 as pb
from darkroom.presign.v1 import presign_pb2_grpc as rpc
from google.protobuf.timestamp_pb2 import Timestamp

from presign_svc.domain import tickets
from presign_svc.domain.downloads import Windows
from presign_svc.domain.place import Bucket
from presign_svc.domain.sigv4 import Credentials, Signer, Stamp
from runtime.errors import DarkroomError, Kind

_Context = grpc.aio.ServicerContext[Any, Any]

_PUT: Final = frozenset({pb.UPLOAD_METHOD_UNSPECIFIED, pb.UPLOAD_METHOD_PUT})


class PresignServicer(rpc.PresignServiceServicer):
    """Signs batches.

    A batch looks at the credentials and the clock once and is then signed without an await: no refresh can come between
    two of its items.
    """

    def __init__(
        self,
        *,
        credentials: Callable[[], Credentials],
        clock: Callable[[], float],
        region: str,
        incoming: Bucket,
        media: Bucket,
        limits: tickets.TicketLimits,
        windows: Windows,
        max_items: int,
    ) -> None:
        """`credentials` gives the ones that sign now; `clock` the seconds since the epoch."""
        self._credentials = credentials
        self._clock = clock
        self._region = region
        self._incoming = incoming
        self._buckets = {pb.BUCKET_INCOMING: incoming, pb.BUCKET_MEDIA: media}
        self._limits = limits
        self._windows = windows
        self._max_items = max_items
        self._signer = Signer(credentials(), region)

    async def BatchIssueTickets(
        self, request: pb.BatchIssueTicketsRequest, context: _Context
    ) -> pb.BatchIssueTicketsResponse:
        """A sealed ticket, or an error, for each item."""
        self._check(len(request.items))
        stamp = self._newest_signer().at(int(self._clock()))
        response = pb.BatchIssueTicketsResponse()
        for item in request.items:
            result = response.results.add(item_id=item.item_id)
            try:
                self._issue(item, stamp, result.ticket)
            except DarkroomError as error:
                result.error.CopyFrom(error.to_status())
        return response

    async def BatchSignDownloads(
        self, request: pb.BatchSignDownloadsRequest, context: _Context
    ) -> pb.BatchSignDownloadsResponse:
        """A signed URL, or an error, for each item."""
        self._check(len(request.items))
        window = self._windows.at(int(self._clock()), self._newest_signer())
        expires_at = Timestamp(seconds=window.expires_at)
        stable_until = Timestamp(seconds=window.stable_until)
        response = pb.BatchSignDownloadsResponse()
        for item in request.items:
            result = response.results.add(item_id=item.item_id)
            try:
                bucket = self._buckets.get(item.bucket)
                if bucket is None:
                    raise DarkroomError(Kind.MALFORMED, "the bucket is incoming or media", pointer="/bucket")
                url = window.get(bucket, item.key, item.content_disposition, item.content_type)
                result.download.url = url
                result.download.expires_at.CopyFrom(expires_at)
                result.download.stable_until.CopyFrom(stable_until)
            except DarkroomError as error:
                result.error.CopyFrom(error.to_status())
        return response

    def _issue(self, item: pb.IssueTicketRequest, stamp: Stamp, out: pb.Ticket) -> None:
        if item.method not in _PUT:
            raise DarkroomError(
                Kind.UNPROCESSABLE, "multipart uploads are not offered yet: use the method put", pointer="/method"
            )
        asked = item.time_to_live.seconds if item.HasField("time_to_live") else None
        ticket = tickets.put(
            stamp,
            self._incoming,
            self._limits,
            key=item.key,
            content_type=item.content_type,
            size=item.size,
            sha256=item.sha256,
            end=tickets.expiry(asked, stamp.moment, self._signer.credentials, self._limits),
        )
        out.method = pb.UPLOAD_METHOD_PUT
        out.url = ticket.url
        out.headers.update(ticket.headers)
        out.expires_at.seconds = ticket.expires_at

    def _check(self, items: int) -> None:
        if items > self._max_items:
            raise DarkroomError(Kind.MALFORMED, f"a batch has at most {self._max_items} items", pointer="/items")

    def _newest_signer(self) -> Signer:
        current = self._credentials()
        if self._signer.credentials is not current:
            self._signer = Signer(current, self._region)
        return self._signer
