"""What the ports promise, of the fakes and of the adapters at LocalStack alike; and what only a server can show."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from image_svc.adapters.sqs import SqsQueue
from image_svc.domain.messages import Created, Ignored, parse
from image_svc.ports import ObjectMissing, ObjectStore, Queue, ReceiptLost, Unreachable
from tests.support.image_place import Place, place, requests
from tests.support.image_place import store as store_at
from tests.support.image_world import FakeQueue, FakeStore, World
from tests.support.localstack import LocalStack

KEY = "incoming/t/a b+c%20%ED"


@asynccontextmanager
async def stores(kind: str, localstack: LocalStack) -> AsyncIterator[tuple[ObjectStore, object]]:
    if kind == "fake":
        world = World()
        yield FakeStore(world), world
        return
    async with place(localstack, versioned=kind == "versioned", notify=False) as made:
        yield made.store, made


async def put_original(where: object, key: str, content: bytes) -> None:
    if isinstance(where, World):
        where.originals[key] = content
    elif isinstance(where, Place):
        await where.s3.put_object(Bucket=where.incoming, Key=key, Body=content)


@pytest.fixture(params=["fake", "plain", "versioned"])
async def store(request: pytest.FixtureRequest, localstack: LocalStack) -> AsyncIterator[tuple[ObjectStore, object]]:
    async with stores(request.param, localstack) as made:
        yield made


@pytest.fixture(params=["fake", "real"])
async def queue(request: pytest.FixtureRequest, localstack: LocalStack) -> AsyncIterator[Queue]:
    if request.param == "fake":
        yield FakeQueue(World())
        return
    async with place(localstack, notify=False) as made:
        yield made.queue


async def test_an_original_is_read_as_it_was_written(store: tuple[ObjectStore, object]) -> None:
    objects, where = store
    content = bytes(range(256)) * 4000
    await put_original(where, KEY, content)
    assert await objects.has_original(KEY)
    async with objects.original(KEY) as original:
        assert original.size == len(content)
        read = [chunk async for chunk in original.chunks()]
    assert b"".join(read) == content
    async with objects.original(KEY) as original:
        assert original.size == len(content)  # left without reading it
    async with objects.original(KEY) as original:
        async for _ in original.chunks():
            break


async def test_an_original_that_is_not_there_is_said_to_be_missing(store: tuple[ObjectStore, object]) -> None:
    objects, _ = store
    assert not await objects.has_original(KEY)
    with pytest.raises(ObjectMissing):
        async with objects.original(KEY):
            pass


async def test_removing_takes_every_version_and_nothing_else(store: tuple[ObjectStore, object]) -> None:
    objects, where = store
    for content in (b"1", b"22", b"333"):
        await put_original(where, KEY, content)
    await put_original(where, f"{KEY}.longer", b"another's")
    for _ in range(2):
        await objects.remove_original(KEY)
    assert not await objects.has_original(KEY)
    assert await objects.has_original(f"{KEY}.longer")
    if isinstance(where, Place):
        assert [key.split("@")[0] for key in await where.keys(where.incoming)] == [f"{KEY}.longer"]


async def test_variants_are_removed_by_their_prefix(store: tuple[ObjectStore, object]) -> None:
    objects, where = store
    for number in range(3):
        await objects.put_variant(f"media/t/1/{number}.webp", b"%d" % number, "image/webp")
    await objects.put_variant("media/t/12/0.webp", b"another's", "image/webp")
    for _ in range(2):
        await objects.remove_variants("media/t/1/")
    await objects.remove_variants("media/t/none/")
    if isinstance(where, Place):
        assert list(await where.variants("")) == ["media/t/12/0.webp"]
        assert len(await where.keys(where.media)) == 1
    elif isinstance(where, World):
        assert list(where.variants) == ["media/t/12/0.webp"]


async def test_more_versions_than_one_page_holds_are_removed(localstack: LocalStack) -> None:
    async with place(localstack, versioned=True, notify=False) as made:
        prefix = "media/t/1/"
        gate = asyncio.Semaphore(10)

        async def put(number: int) -> None:
            async with gate:
                # Not as variants are written: those have one version.
                await made.s3.put_object(Bucket=made.media, Key=f"{prefix}{number % 600}.webp", Body=b"%d" % number)

        await asyncio.gather(*(put(number) for number in range(1_100)))
        assert len(await made.keys(made.media)) == 1_100
        await made.store.remove_variants(prefix)
        assert not await made.keys(made.media)


async def test_a_prefix_that_could_be_anothers_is_refused(localstack: LocalStack) -> None:
    async with place(localstack, notify=False) as made:
        for prefix in ("", "media/t/1"):
            with pytest.raises(ValueError, match="another"):
                await made.store.remove_variants(prefix)


async def test_a_variant_carries_what_a_cache_needs_and_its_checksum(localstack: LocalStack) -> None:
    async with place(localstack, notify=False) as made:
        await made.store.put_variant("media/t/1/x.webp", b"bytes", "image/webp")
        head = await made.s3.head_object(Bucket=made.media, Key="media/t/1/x.webp", ChecksumMode="ENABLED")
        assert head["ContentType"] == "image/webp"
        assert head["CacheControl"] == "private, max-age=31536000, immutable"
        assert base64.b64decode(head["ChecksumSHA256"]) == hashlib.sha256(b"bytes").digest()


async def test_a_message_is_in_one_hand_until_it_is_given_back(queue: Queue) -> None:
    message_id = await queue.send("body")
    (first,) = await queue.receive(most=10, wait=5, visibility=30)
    assert (first.id, first.body, first.receives) == (message_id, "body", 1)
    assert await queue.receive(most=10, wait=0, visibility=30) == []
    await queue.keep(first.receipt, 60)
    await queue.keep(first.receipt, 0)
    (second,) = await queue.receive(most=10, wait=5, visibility=30)
    assert (second.id, second.receives) == (message_id, 2)
    assert await queue.delete([second.receipt]) == []
    with pytest.raises(ReceiptLost):
        await queue.keep(second.receipt, 30)


async def test_a_receive_brings_no_more_than_is_asked_for(queue: Queue) -> None:
    for number in range(5):
        await queue.send(str(number))
    messages = await queue.receive(most=3, wait=5, visibility=30)
    assert len(messages) == 3
    assert await queue.delete([message.receipt for message in messages]) == []
    assert len(await queue.receive(most=10, wait=5, visibility=30)) == 2


async def test_a_receive_waits_for_a_message(queue: Queue) -> None:
    receiving = asyncio.create_task(queue.receive(most=1, wait=10, visibility=30))
    await asyncio.sleep(0.3)
    await queue.send("late")
    started = time.monotonic()
    assert len(await receiving) == 1
    assert time.monotonic() - started < 5


async def test_the_events_of_a_real_bucket_are_understood(localstack: LocalStack) -> None:
    async with place(localstack) as made:
        await made.s3.put_object(Bucket=made.incoming, Key=KEY, Body=b"x")
        await made.s3.put_object(Bucket=made.incoming, Key="exports/a", Body=b"x")
        items = []
        while Created(KEY) not in items:
            for message in await made.queue.receive(most=10, wait=5, visibility=30):
                items += parse(message.body, bucket=made.incoming)
        assert Ignored("S3's test event") in items
        assert not await made.queue.receive(most=10, wait=1, visibility=30)


async def test_a_wrong_place_is_found_at_the_start(localstack: LocalStack) -> None:
    async with place(localstack, notify=False) as made:
        await made.store.verify()
        await made.queue.verify()
        with pytest.raises(LookupError, match="no-such-bucket"):
            await store_at(made.http["s3"], made.s3, made.incoming, "no-such-bucket").verify()
        with pytest.raises(LookupError, match="no-such-queue"):
            await SqsQueue(made.http["sqs"], f"{made.queue_url}-no-such-queue").verify()


async def test_a_server_that_is_away_is_unreachable(localstack: LocalStack) -> None:
    async with AsyncExitStack() as stack:
        s3, sqs = [await requests(stack, service, "http://127.0.0.1:1") for service in ("s3", "sqs")]
        store = store_at(s3, None, "incoming", "media")
        with pytest.raises(Unreachable, match="S3"):
            await store.has_original(KEY)
        with pytest.raises(Unreachable, match="S3"):
            async with store.original(KEY):
                pass
        with pytest.raises(Unreachable, match="SQS"):
            await SqsQueue(sqs, "http://127.0.0.1:1/queue").receive(most=1, wait=0, visibility=30)


@pytest.mark.parametrize("how", ["cut", "slow_down"])
async def test_a_transfer_that_breaks_off_is_unreachable_and_no_verdict(how: str, localstack: LocalStack) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        if how == "cut":
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nonly this")
        else:
            body = b"<Error><Code>SlowDown</Code></Error>"
            writer.write(b"HTTP/1.1 503 Slow Down\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, AsyncExitStack() as stack:
        s3 = await requests(stack, "s3", f"http://127.0.0.1:{port}")
        store = store_at(s3, None, "incoming", "media")
        with pytest.raises(Unreachable):
            await read_all(store)


async def read_all(store: ObjectStore) -> bytes:
    async with store.original(KEY) as original:
        return b"".join([chunk async for chunk in original.chunks()])


async def test_the_first_variant_of_a_key_stays_and_tells_the_second_its_size(localstack: LocalStack) -> None:
    async with place(localstack, versioned=True, notify=False) as made:
        key = "media/t/1/thumb.f.webp"
        assert not await made.store.has_variant(key)
        assert await made.store.put_variant(key, b"first", "image/webp") == 5
        assert await made.store.put_variant(key, b"the second", "image/webp") == 5
        assert await made.store.has_variant(key)
        assert await made.variants("media/t/1/") == {key: b"first"}
        assert len(await made.keys(made.media)) == 1
        sizes = await asyncio.gather(
            *(made.store.put_variant("media/t/2/thumb.f.webp", b"x" * size, "image/webp") for size in range(1, 9))
        )
        assert len(set(sizes)) == 1, "whoever was first"
