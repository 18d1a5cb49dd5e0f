"""The servicer: batches, per-item errors, a refresh between and within batches."""

from __future__ import annotations

from typing import Any, cast
from urllib.parse import parse_qs, urlsplit

import grpc
import pytest
from darkroom.presign.v1 import presign_pb2 as pb
from google.protobuf.duration_pb2 import Duration

from presign_svc.domain.downloads import Windows
from presign_svc.domain.place import bucket
from presign_svc.domain.sigv4 import Credentials
from presign_svc.domain.tickets import TicketLimits
from presign_svc.service import PresignServicer
from runtime.errors import DarkroomError, Kind

REGION = "ap-northeast-2"
NOW = 1_793_836_799.9  # a tenth of a second before midnight UTC
CONTEXT = cast("grpc.aio.ServicerContext[Any, Any]", None)  # the servicer does not look at it


class World:
    """The clock and the credentials, which a test moves."""

    def __init__(self) -> None:
        self.now = NOW
        self.held = Credentials("OLD", "secret", "token", NOW + 100_000)
        self.reads = 0

    def credentials(self) -> Credentials:
        self.reads += 1
        return self.held

    def servicer(self) -> PresignServicer:
        return PresignServicer(
            credentials=self.credentials,
            clock=lambda: self.now,
            region=REGION,
            incoming=bucket("incoming", region=REGION, endpoint=None, style="virtual"),
            media=bucket("media", region=REGION, endpoint=None, style="virtual"),
            limits=TicketLimits(
                default_life=900, shortest_life=60, longest_life=3600, largest_size=5 * 1024**3, retry_after=10.0
            ),
            windows=Windows(900, shortest_life=60, retry_after=10.0),
            max_items=1000,
        )


def order(item_id: int = 1, **changes: Any) -> pb.IssueTicketRequest:
    known: dict[str, Any] = {"key": f"incoming/t/{item_id}", "content_type": "image/jpeg", "size": 5, **changes}
    return pb.IssueTicketRequest(item_id=item_id, **known)


async def issue(servicer: PresignServicer, *orders: pb.IssueTicketRequest) -> dict[int, pb.IssueTicketResult]:
    answer = await servicer.BatchIssueTickets(pb.BatchIssueTicketsRequest(items=orders), CONTEXT)
    return {result.item_id: result for result in answer.results}


def signed_by(url: str) -> str:
    return parse_qs(urlsplit(url).query)["X-Amz-Credential"][0].split("/")[0]


async def test_an_item_that_fails_does_so_alone() -> None:
    results = await issue(World().servicer(), order(7), order(8, size=0), order(9, sha256=bytes(32)))
    assert [results[7].WhichOneof("result"), results[9].WhichOneof("result")] == ["ticket", "ticket"]
    error = DarkroomError.from_status(results[8].error)
    assert (error.kind, error.pointer) == (Kind.UNPROCESSABLE, "/size")
    assert not results[8].HasField("ticket")


async def test_the_expiry_is_exact() -> None:
    ticket = (await issue(World().servicer(), order(time_to_live=Duration(seconds=100, nanos=999_999_999))))[1].ticket
    query = parse_qs(urlsplit(ticket.url).query)
    assert query["X-Amz-Date"] == ["20261104T235959Z"]
    assert query["X-Amz-Expires"] == ["100"]
    assert ticket.expires_at.seconds == int(NOW) + 100
    assert ticket.expires_at.nanos == 0
    assert ticket.method == pb.UPLOAD_METHOD_PUT


async def test_multipart_is_refused_with_a_text_that_says_what_to_do() -> None:
    results = await issue(World().servicer(), order(1, method=pb.UPLOAD_METHOD_MULTIPART), order(2))
    error = DarkroomError.from_status(results[1].error)
    assert (error.kind, error.pointer) == (Kind.UNPROCESSABLE, "/method")
    assert "use the method put" in error.detail
    assert results[2].HasField("ticket")


async def test_an_unset_method_is_a_put() -> None:
    assert (await issue(World().servicer(), order()))[1].ticket.method == pb.UPLOAD_METHOD_PUT


async def test_a_life_of_zero_is_not_the_default() -> None:
    result = (await issue(World().servicer(), order(time_to_live=Duration())))[1]
    assert DarkroomError.from_status(result.error).pointer == "/time_to_live"


async def test_a_batch_is_signed_by_one_credential_read_once() -> None:
    world = World()
    servicer = world.servicer()
    world.reads = 0
    results = await issue(servicer, *(order(number) for number in range(100)))
    assert world.reads == 1
    assert {signed_by(result.ticket.url) for result in results.values()} == {"OLD"}


async def test_a_refreshed_credential_signs_the_next_batch() -> None:
    world = World()
    servicer = world.servicer()
    before = (await issue(servicer, order()))[1].ticket.url
    world.held = Credentials("NEW", "other", None, NOW + 200_000)
    after = (await issue(servicer, order()))[1].ticket.url
    assert (signed_by(before), signed_by(after)) == ("OLD", "NEW")
    assert "X-Amz-Security-Token" not in after


async def test_tickets_get_shorter_and_then_stop_when_credentials_cannot_be_refreshed() -> None:
    world = World()
    servicer = world.servicer()
    world.held = Credentials("LAST", "secret", "token", int(NOW) + 200)
    assert (await issue(servicer, order()))[1].ticket.expires_at.seconds == int(NOW) + 200
    world.now += 141
    error = DarkroomError.from_status((await issue(servicer, order()))[1].error)
    assert (error.kind, error.retry_after) == (Kind.UNAVAILABLE, 10.0)


async def test_downloads_carry_their_promises_and_errors_of_their_own() -> None:
    request = pb.BatchSignDownloadsRequest(
        items=[
            pb.SignDownloadRequest(item_id=1, bucket=pb.BUCKET_MEDIA, key="media/t/i/thumb.webp"),
            pb.SignDownloadRequest(item_id=2, bucket=pb.BUCKET_INCOMING, key="incoming/t/i", content_type="image/png"),
            pb.SignDownloadRequest(item_id=3, key="k"),
            pb.SignDownloadRequest(item_id=4, bucket=pb.BUCKET_MEDIA),
        ]
    )
    answer = await World().servicer().BatchSignDownloads(request, CONTEXT)
    results = {result.item_id: result for result in answer.results}
    assert results[1].download.url.startswith("https://media.s3.ap-northeast-2.amazonaws.com/media/t/i/thumb.webp?")
    assert results[1].download.stable_until.seconds == 1_793_836_800
    assert results[1].download.expires_at.seconds == 1_793_836_800 + 900
    assert results[2].download.url.startswith("https://incoming.s3.")
    assert DarkroomError.from_status(results[3].error).pointer == "/bucket"
    assert DarkroomError.from_status(results[4].error).pointer == "/key"


async def test_a_batch_beyond_its_size_is_refused_whole() -> None:
    servicer = World().servicer()
    with pytest.raises(DarkroomError) as caught:
        await issue(servicer, *(order(number) for number in range(1001)))
    assert (caught.value.kind, caught.value.pointer) == (Kind.MALFORMED, "/items")
    items = [pb.SignDownloadRequest(item_id=number) for number in range(1001)]
    with pytest.raises(DarkroomError):
        await servicer.BatchSignDownloads(pb.BatchSignDownloadsRequest(items=items), CONTEXT)


async def test_an_empty_batch_is_answered() -> None:
    assert await issue(World().servicer()) == {}
