"""The two buckets."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

from aiobotocore.config import AioConfig

from image_svc.adapters.aws_errors import ClientError, code_of, reaching
from image_svc.ports import ObjectMissing, Original, Unreachable


def config(addressing_style: str) -> AioConfig:
    """How the client is to be made. Originals are hashed against what was announced, and a variant's own SHA-256 is
    part of what is signed: checksums and payload hashes of botocore's on top would go over every byte again.
    """
    return AioConfig(
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        s3={"addressing_style": addressing_style, "payload_signing_enabled": False},
    )


# Bytes of one read. Large enough that the loop turns little, small beside any image.
_CHUNK: Final = 256 * 1024
# A variant's key names its content, so it may be kept for good; only by who fetched it, because its URL is a secret.
_CACHE_CONTROL: Final = "private, max-age=31536000, immutable"
_MISSING: Final = frozenset({"NoSuchKey", "404"})
_THERE: Final = frozenset({"PreconditionFailed", "412"})
# Two writers of one new key at the same moment: S3 asks the later one to come again.
_BUSY: Final = frozenset({"ConditionalRequestConflict", "409"})
_S3: Final = "S3"


class _OpenOriginal:
    def __init__(self, answer: dict[str, Any]) -> None:
        self.size = int(answer["ContentLength"])
        self._body = answer["Body"]

    async def chunks(self) -> AsyncIterator[bytes]:
        while True:
            with reaching(_S3):
                chunk: bytes = await self._body.read(_CHUNK)  # what is there, up to so much
            if not chunk:
                return
            yield chunk


class S3ObjectStore:
    """`ObjectStore` over one S3 client made with `config`."""

    def __init__(self, s3: Any, *, incoming_bucket: str, media_bucket: str) -> None:
        self._s3 = s3
        self._incoming = incoming_bucket
        self._media = media_bucket

    async def verify(self) -> None:
        """Raises `Unreachable`, or `LookupError` naming a bucket that is not there or not ours to use."""
        for bucket in (self._incoming, self._media):
            with reaching(_S3):
                try:
                    await self._s3.head_bucket(Bucket=bucket)
                except ClientError as error:
                    if code_of(error).startswith("5"):
                        raise
                    raise LookupError(f"bucket {bucket!r} cannot be used: {error}") from None

    @asynccontextmanager
    async def original(self, key: str) -> AsyncIterator[Original]:
        """See `ObjectStore`. Leaving early drops the connection instead of reading the rest."""
        with reaching(_S3):
            try:
                answer = await self._s3.get_object(Bucket=self._incoming, Key=key)
            except ClientError as error:
                if code_of(error) in _MISSING:
                    raise ObjectMissing(key) from None
                raise
        try:
            yield _OpenOriginal(answer)
        finally:
            answer["Body"].close()

    async def has_original(self, key: str) -> bool:
        """See `ObjectStore`."""
        return await self._has(self._incoming, key)

    async def has_variant(self, key: str) -> bool:
        """See `ObjectStore`."""
        return await self._has(self._media, key)

    async def _has(self, bucket: str, key: str) -> bool:
        with reaching(_S3):
            try:
                await self._s3.head_object(Bucket=bucket, Key=key)
            except ClientError as error:
                if code_of(error) in _MISSING:
                    return False
                raise
        return True

    async def put_variant(self, key: str, body: bytes, content_type: str) -> int:
        """See `ObjectStore`. S3 checks the bytes against their SHA-256 on arrival."""
        digest = base64.b64encode(hashlib.sha256(body).digest()).decode()
        with reaching(_S3):
            try:
                await self._s3.put_object(
                    Bucket=self._media,
                    Key=key,
                    Body=body,
                    ContentType=content_type,
                    CacheControl=_CACHE_CONTROL,
                    ChecksumSHA256=digest,
                    IfNoneMatch="*",
                )
            except ClientError as error:
                if code_of(error) in _BUSY:
                    raise Unreachable(f"S3: {code_of(error)}") from None
                if code_of(error) not in _THERE:
                    raise
                there = await self._s3.head_object(Bucket=self._media, Key=key)
                return int(there["ContentLength"])
        return len(body)

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
            async for page in self._s3.get_paginator("list_object_versions").paginate(Bucket=bucket, Prefix=prefix):
                found = [
                    {"Key": version["Key"], "VersionId": version["VersionId"]}
                    for version in (*page.get("Versions", ()), *page.get("DeleteMarkers", ()))
                    if not exact or version["Key"] == prefix
                ]
                if not found:
                    continue
                answer = await self._s3.delete_objects(Bucket=bucket, Delete={"Objects": found, "Quiet": True})
                for left in answer.get("Errors", ()):
                    raise RuntimeError(f"S3 did not remove {left.get('Key')!r}: {left.get('Code')}")
