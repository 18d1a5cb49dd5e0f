"""The two buckets."""

from __future__ import annotations

import asyncio
import base64
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import quote

import aiohttp
from aiobotocore.config import AioConfig

from image_svc.adapters.aws_errors import Refused, reaching
from image_svc.ports import ObjectMissing, Original, Unreachable
from runtime.aws_http import NO_BODY, AwsHttp


def config(addressing_style: str) -> AioConfig:
    """How a client for removals and listings is to be made."""
    return AioConfig(
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        s3={"addressing_style": addressing_style, "payload_signing_enabled": False},
    )


# A variant's key names its content, so it may be kept for good; only by who fetched it, because its URL is a secret.
_CACHE_CONTROL: Final = "private, max-age=31536000, immutable"
_MISSING: Final = frozenset({"NoSuchKey", "404"})
_THERE: Final = frozenset({"PreconditionFailed", "412"})
# Two writers of one new key at the same moment: S3 asks the later one to come again.
_BUSY: Final = frozenset({"ConditionalRequestConflict", "409"})
_S3: Final = "S3"
_SERVER_ERROR: Final = 500
# Each piece of a photo that comes wakes this process, which costs more than reading it: a small one says that we are
# faster than the network, and that more is to gather in the kernel meanwhile. No longer than the kernel has room for
# what comes: a sender that has to stop costs more than is saved. (A photo of four megabytes from an emulator: 4 % less
# CPU and no later; with twice as much of both, no less, and 14 ms later.)
_MUCH: Final = 64 * 1024  # bytes; half of what aiohttp holds for a reader who is away
_GATHER: Final = 0.001  # seconds
_UNQUOTED: Final = "/~"  # beside letters, digits and -._: https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html


class _OpenOriginal:
    def __init__(self, http: AwsHttp, answer: aiohttp.ClientResponse) -> None:
        self.size = int(answer.headers["content-length"])
        self._http = http
        self._answer = answer

    async def chunks(self) -> AsyncIterator[bytes]:
        with reaching(_S3):  # once: a photo comes in many pieces. What the reader raises does not pass here
            async for chunk in self._http.pieces(self._answer):
                yield chunk
                if len(chunk) < _MUCH and not self._answer.content.is_eof():
                    await asyncio.sleep(_GATHER)


class S3ObjectStore:
    """`ObjectStore`. What each image needs goes over `http`; `s3` gives a client, made with `config`, for removals.

    `path_style`: the bucket is the first part of the path and not of the host, as emulators have it.
    """

    def __init__(
        self,
        http: AwsHttp,
        s3: Callable[[], Awaitable[Any]],
        *,
        incoming_bucket: str,
        media_bucket: str,
        path_style: bool,
    ) -> None:
        self._http = http
        self._s3 = s3
        self._incoming = incoming_bucket
        self._media = media_bucket
        self._path_style = path_style

    async def verify(self) -> None:
        """Raises `Unreachable`, or `LookupError` naming a bucket that is not there or not ours to use."""
        for bucket in (self._incoming, self._media):
            with reaching(_S3):
                try:
                    async with self._send("HEAD", bucket, ""):
                        pass
                except Refused as error:
                    if error.status >= _SERVER_ERROR:
                        raise
                    raise LookupError(f"bucket {bucket!r} cannot be used: {error}") from None

    @asynccontextmanager
    async def original(self, key: str) -> AsyncIterator[Original]:
        """See `ObjectStore`. Leaving early drops the connection instead of reading the rest."""
        async with AsyncExitStack() as stack:
            with reaching(_S3):
                try:
                    answer = await stack.enter_async_context(self._send("GET", self._incoming, key))
                except Refused as error:
                    if error.code in _MISSING:
                        raise ObjectMissing(key) from None
                    raise
            yield _OpenOriginal(self._http, answer)

    async def has_original(self, key: str) -> bool:
        """See `ObjectStore`."""
        return await self._size(self._incoming, key) is not None

    async def has_variant(self, key: str) -> bool:
        """See `ObjectStore`."""
        return await self._size(self._media, key) is not None

    async def _size(self, bucket: str, key: str) -> int | None:
        """Bytes of an object; None where there is none."""
        with reaching(_S3):
            try:
                async with self._send("HEAD", bucket, key) as answer:
                    return int(answer.headers["content-length"])
            except Refused as error:
                if error.code in _MISSING:
                    return None
                raise

    async def put_variant(self, key: str, body: bytes, content_type: str) -> int:
        """See `ObjectStore`. S3 checks the bytes against their SHA-256, which is signed, on arrival."""
        digest = hashlib.sha256(body).digest()
        headers = {
            "cache-control": _CACHE_CONTROL,
            "content-type": content_type,
            "if-none-match": "*",
            "x-amz-checksum-sha256": base64.b64encode(digest).decode(),
        }
        with reaching(_S3):
            try:
                async with self._send("PUT", self._media, key, headers=headers, body=body, digest=digest):
                    return len(body)
            except Refused as error:
                if error.code in _BUSY:
                    raise Unreachable(f"S3: {error}") from None
                if error.code not in _THERE:
                    raise
        size = await self._size(self._media, key)
        if size is None:
            raise Unreachable("S3: an object was there and is gone")
        return size

    def _send(
        self,
        method: str,
        bucket: str,
        key: str,
        *,
        headers: Mapping[str, str] = MappingProxyType({}),
        body: bytes = b"",
        digest: bytes = NO_BODY,
    ) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
        path = f"/{quote(key, safe=_UNQUOTED)}"
        if self._path_style:
            return self._http.send(method, f"/{bucket}{path}", headers, body, digest)
        return self._http.send(method, path, headers, body, digest, subdomain=bucket)

    async def remove_original(self, key: str) -> None:
        """See `ObjectStore`."""
        await self._remove(self._incoming, key, exact=True)

    async def remove_variants(self, prefix: str) -> None:
        """See `ObjectStore`."""
        if not prefix.endswith("/"):
            raise ValueError(f"{prefix!r} could be the start of another image's prefix")
        await self._remove(self._media, prefix, exact=False)

    async def _remove(self, bucket: str, prefix: str, *, exact: bool) -> None:
        with reaching(_S3):
            s3 = await self._s3()
            async for page in s3.get_paginator("list_object_versions").paginate(Bucket=bucket, Prefix=prefix):
                found = [
                    {"Key": version["Key"], "VersionId": version["VersionId"]}
                    for version in (*page.get("Versions", ()), *page.get("DeleteMarkers", ()))
                    if not exact or version["Key"] == prefix
                ]
                if not found:
                    continue
                answer = await s3.delete_objects(Bucket=bucket, Delete={"Objects": found, "Quiet": True})
                for left in answer.get("Errors", ()):
                    raise RuntimeError(f"S3 did not remove {left.get('Key')!r}: {left.get('Code')}")
