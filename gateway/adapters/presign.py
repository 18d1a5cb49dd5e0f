"""presign_svc over gRPC."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import AsyncExitStack
from typing import Final

import grpc
from darkroom.presign.v1 import presign_pb2 as pb

from runtime import grpc_client
from runtime.coalesce import Coalescer
from runtime.errors import DarkroomError, Kind
from runtime.grpc_warm import WarmMethod

SERVICE: Final = "darkroom.presign.v1.PresignService"

_RETRIED: Final = (f"{SERVICE}/BatchIssueTickets", f"{SERVICE}/BatchSignDownloads")


async def channel(stack: AsyncExitStack, target: str) -> grpc.aio.Channel:
    """A channel to presign_svc that closes with the stack."""
    return await grpc_client.channel(stack, target, retried=_RETRIED)


class GrpcPresign:
    """`ports.Presign` over a channel, coalesced into batches."""

    def __init__(self, channel: grpc.aio.Channel, *, max_items: int, max_in_flight: int) -> None:
        self._batch_issue = WarmMethod(
            channel, f"{SERVICE}/BatchIssueTickets", pb.BatchIssueTicketsRequest, pb.BatchIssueTicketsResponse
        )
        self._batch_sign = WarmMethod(
            channel, f"{SERVICE}/BatchSignDownloads", pb.BatchSignDownloadsRequest, pb.BatchSignDownloadsResponse
        )
        self._max_items = max_items
        self._issue = Coalescer(self._send_issue, max_items=max_items, max_in_flight=max_in_flight)
        self._sign = Coalescer(self._send_sign, max_items=max_items, max_in_flight=max_in_flight)

    async def issue_ticket(self, request: pb.IssueTicketRequest, timeout: float) -> pb.Ticket:
        """A sealed upload ticket."""
        return (await self._issue(request, timeout)).ticket

    async def sign_download(self, request: pb.SignDownloadRequest, timeout: float) -> pb.Download:
        """A signed URL."""
        return (await self._sign(request, timeout)).download

    async def sign_downloads(self, requests: Sequence[pb.SignDownloadRequest], timeout: float) -> list[pb.Download]:
        """A signed URL for each request, in their order."""
        for number, request in enumerate(requests):
            request.item_id = number
        signed: dict[int, pb.Download] = {}
        for start in range(0, len(requests), self._max_items):
            for result in await self._send_sign(list(requests[start : start + self._max_items]), timeout):
                if result.WhichOneof("result") == "error":
                    raise DarkroomError.from_status(result.error)
                signed[result.item_id] = result.download
        if len(signed) != len(requests):
            raise DarkroomError(Kind.INTERNAL, "the batch came back without some of its items")
        return [signed[number] for number in range(len(requests))]

    async def _send_issue(self, items: list[pb.IssueTicketRequest], timeout: float) -> Iterable[pb.IssueTicketResult]:
        return (await self._batch_issue(pb.BatchIssueTicketsRequest(items=items), timeout)).results

    async def _send_sign(self, items: list[pb.SignDownloadRequest], timeout: float) -> Iterable[pb.SignDownloadResult]:
        return (await self._batch_sign(pb.BatchSignDownloadsRequest(items=items), timeout)).results
