"""Sealed tickets and download URLs at a real S3 (LocalStack with signature checks on)."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import aiohttp
import pytest
from darkroom.presign.v1 import presign_pb2 as pb
from google.protobuf.duration_pb2 import Duration
from yarl import URL

from presign_svc import app
from presign_svc.adapters.credentials import AwsCredentialSource
from presign_svc.keeper import CredentialKeeper
from presign_svc.service import PresignServicer
from presign_svc.settings import Settings
from runtime import aws
from runtime.aws import AwsSettings
from tests.support.localstack import LocalStack

BODY = b"\xff\xd8\xff" + bytes(range(256)) * 40
OTHER = BODY[::-1]


@pytest.fixture(scope="module")
async def buckets(localstack: LocalStack) -> tuple[str, str]:
    """Names of an incoming and a media bucket of this module's own."""
    names = (f"presign-in-{uuid.uuid4().hex[:8]}", f"presign-media-{uuid.uuid4().hex[:8]}")
    async with AsyncExitStack() as stack:
        where = AwsSettings(AWS_ENDPOINT_URL=localstack.endpoint_url, AWS_REGION=localstack.region)
        s3 = await aws.client(stack, aws.session(), "s3", where)
        for name in names:
            await s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": localstack.region})
    return names


@pytest.fixture(scope="module")
async def servicer(localstack: LocalStack, buckets: tuple[str, str]) -> PresignServicer:
    settings = Settings(
        AWS_ENDPOINT_URL=localstack.endpoint_url,
        AWS_REGION=localstack.region,
        S3_ADDRESSING_STYLE="path",
        incoming_bucket=buckets[0],
        media_bucket=buckets[1],
        shortest_ticket_seconds=1,
    )
    keeper = CredentialKeeper(
        AwsCredentialSource(aws.session(), localstack.region), clock=time.time, lead=1, retry=1, timeout=5
    )
    await keeper.start()
    return app.servicer_of(settings, keeper)


@pytest.fixture(scope="module")
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    # As a client that sends just what it is told to.
    async with aiohttp.ClientSession(skip_auto_headers=["Content-Type", "User-Agent", "Accept"]) as session:
        yield session


async def ticket_for(servicer: PresignServicer, key: str, *, seconds: int = 900, checksum: bool = True) -> pb.Ticket:
    item = pb.IssueTicketRequest(
        item_id=1,
        key=key,
        content_type="image/jpeg",
        size=len(BODY),
        sha256=hashlib.sha256(BODY).digest() if checksum else b"",
        time_to_live=Duration(seconds=seconds),
    )
    context: Any = None  # the servicer does not look at it
    answer = await servicer.BatchIssueTickets(pb.BatchIssueTicketsRequest(items=[item]), context)
    return answer.results[0].ticket


async def put(
    http: aiohttp.ClientSession, ticket: pb.Ticket, body: bytes = BODY, *, without: str = "", **changed: str
) -> tuple[int, str]:
    headers = {**ticket.headers, **{name.replace("_", "-"): value for name, value in changed.items()}}
    headers.pop(without, None)
    async with http.put(_raw(ticket.url), data=body, headers=headers) as answer:
        return answer.status, await answer.text()


def _raw(url: str) -> URL:
    return URL(url, encoded=True)


@pytest.fixture
def key() -> str:
    return f"incoming/{uuid.uuid4()}/{uuid.uuid4()}"


@pytest.mark.parametrize("checksum", [True, False], ids=["with a checksum", "without"])
async def test_a_ticket_admits_the_announced_bytes_exactly_once(
    servicer: PresignServicer, http: aiohttp.ClientSession, key: str, checksum: bool
) -> None:
    ticket = await ticket_for(servicer, key, checksum=checksum)
    assert (await put(http, ticket))[0] == 200
    status, text = await put(http, ticket)
    assert (status, "PreconditionFailed" in text) == (412, True)


async def test_of_many_at_once_one_upload_wins(
    servicer: PresignServicer, http: aiohttp.ClientSession, key: str
) -> None:
    ticket = await ticket_for(servicer, key)
    statuses = [status for status, _ in await asyncio.gather(*(put(http, ticket) for _ in range(8)))]
    assert statuses.count(200) == 1
    assert set(statuses) <= {200, 409, 412}


@pytest.mark.parametrize("awkward", ["a b+c%20&=?#", "ü/日本/🎞", "quote'\"<>`{}|\\^~[]", "a;b:c@d,e!f*g(h)$"])
async def test_any_key_can_be_uploaded_and_downloaded(
    servicer: PresignServicer,
    http: aiohttp.ClientSession,
    buckets: tuple[str, str],
    localstack: LocalStack,
    awkward: str,
) -> None:
    key = f"incoming/{uuid.uuid4()}/{awkward}"
    assert (await put(http, await ticket_for(servicer, key)))[0] == 200
    item = pb.SignDownloadRequest(item_id=1, bucket=pb.BUCKET_INCOMING, key=key)
    assert await download(servicer, http, item) == (200, BODY, "image/jpeg", None)
    async with AsyncExitStack() as stack:
        where = AwsSettings(AWS_ENDPOINT_URL=localstack.endpoint_url, AWS_REGION=localstack.region)
        s3 = await aws.client(stack, aws.session(), "s3", where)
        listed = await s3.list_objects_v2(Bucket=buckets[0], Prefix=key)
        assert [entry["Key"] for entry in listed["Contents"]] == [key]


@pytest.mark.parametrize(
    ("body", "change", "without", "status", "code"),
    [
        (BODY + b"x", {}, "", 403, "SignatureDoesNotMatch"),
        (BODY[:-1], {}, "", 403, "SignatureDoesNotMatch"),
        (OTHER, {}, "", 400, "BadDigest"),
        (BODY, {"content_type": "image/png"}, "", 403, "SignatureDoesNotMatch"),
        (BODY, {"if_none_match": '"x"'}, "", 403, "SignatureDoesNotMatch"),
        (BODY, {"x_amz_checksum_sha256": base64.b64encode(hashlib.sha256(OTHER).digest()).decode()}, "", 403, ""),
        (BODY, {"x_amz_meta_extra": "1"}, "", 403, "AccessDenied"),
        (BODY, {}, "content-type", 403, ""),
        (BODY, {}, "if-none-match", 403, ""),
        (BODY, {}, "x-amz-checksum-sha256", 403, ""),
    ],
    ids=[
        "one byte more",
        "one byte less",
        "other bytes of the same size",
        "another type",
        "another condition",
        "another checksum",
        "one more header",
        "no type",
        "no condition",
        "no checksum",
    ],
)
async def test_what_differs_from_the_announcement_is_refused_and_leaves_the_ticket_good(
    servicer: PresignServicer,
    http: aiohttp.ClientSession,
    key: str,
    *,
    body: bytes,
    change: dict[str, str],
    without: str,
    status: int,
    code: str,
) -> None:
    ticket = await ticket_for(servicer, key)
    got, text = await put(http, ticket, body, without=without, **change)
    assert got == status, text
    assert code in text
    assert (await put(http, ticket))[0] == 200, "nothing was stored under the key"


async def test_a_ticket_is_for_one_key(servicer: PresignServicer, http: aiohttp.ClientSession, key: str) -> None:
    ticket = await ticket_for(servicer, key)
    ticket.url = ticket.url.replace(key, key[:-1] + ("0" if key[-1] != "0" else "1"))
    assert (await put(http, ticket))[0] == 403


async def test_an_expired_ticket_is_refused(servicer: PresignServicer, http: aiohttp.ClientSession, key: str) -> None:
    ticket = await ticket_for(servicer, key, seconds=1)
    await asyncio.sleep(max(0.0, ticket.expires_at.seconds + 1.1 - time.time()))
    status, text = await put(http, ticket)
    assert (status, "expired" in text.lower()) == (403, True)


async def download(
    servicer: PresignServicer, http: aiohttp.ClientSession, item: pb.SignDownloadRequest
) -> tuple[int, bytes, str | None, str | None]:
    context: Any = None
    answer = await servicer.BatchSignDownloads(pb.BatchSignDownloadsRequest(items=[item]), context)
    async with http.get(_raw(answer.results[0].download.url)) as got:
        headers = got.headers
        return got.status, await got.read(), headers.get("content-type"), headers.get("content-disposition")


async def test_a_download_answers_with_the_asked_for_headers(
    servicer: PresignServicer, http: aiohttp.ClientSession, key: str
) -> None:
    assert (await put(http, await ticket_for(servicer, key)))[0] == 200
    item = pb.SignDownloadRequest(
        item_id=1,
        bucket=pb.BUCKET_INCOMING,
        key=key,
        content_disposition="attachment; filename*=UTF-8''%C3%BC.jpg",
        content_type="application/octet-stream",
    )
    assert await download(servicer, http, item) == (200, BODY, item.content_type, item.content_disposition)


async def test_a_download_of_another_key_or_method_is_refused(
    servicer: PresignServicer, http: aiohttp.ClientSession, key: str
) -> None:
    item = pb.SignDownloadRequest(item_id=1, bucket=pb.BUCKET_MEDIA, key="nothing/here")
    assert (await download(servicer, http, item))[0] == 404
    context: Any = None
    answer = await servicer.BatchSignDownloads(pb.BatchSignDownloadsRequest(items=[item]), context)
    url = answer.results[0].download.url
    async with http.get(_raw(url.replace("nothing", "another"))) as got:
        assert got.status == 403
    async with http.delete(_raw(url)) as got:
        assert got.status == 403
