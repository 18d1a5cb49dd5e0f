"""What lies in the two buckets, for the reconciler."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from image_svc.adapters.aws_errors import ClientError, code_of, reaching
from image_svc.reconcile.model import Bucket, Page, Upload, UploadPage, Version

_S3: Final = "S3"
_MISSING: Final = frozenset({"NoSuchKey", "NoSuchUpload", "404"})
# S3's own bound of a removal.
_BATCH: Final = 1000


class S3Inventory:
    """An `Inventory` over one S3 client."""

    def __init__(self, s3: Any, *, incoming_bucket: str, media_bucket: str) -> None:
        self._s3 = s3
        self._names = {Bucket.INCOMING: incoming_bucket, Bucket.MEDIA: media_bucket}

    async def verify(self) -> None:
        """Raises `Unreachable`, or `LookupError` naming a bucket that is not there or not ours to use."""
        for name in self._names.values():
            with reaching(_S3):
                try:
                    await self._s3.head_bucket(Bucket=name)
                except ClientError as error:
                    if code_of(error).startswith("5"):
                        raise
                    raise LookupError(f"bucket {name!r} cannot be used: {error}") from None

    async def page(self, bucket: Bucket, after: tuple[str, str] | None, most: int) -> Page:
        """See `Inventory`."""
        markers = {"KeyMarker": after[0], "VersionIdMarker": after[1]} if after else {}
        with reaching(_S3):
            answer = await self._s3.list_object_versions(
                Bucket=self._names[bucket], Prefix=bucket.value, MaxKeys=most, **markers
            )
        found = [_version(entry) for entry in answer.get("Versions", ())]
        found += [_version(entry, marker=True) for entry in answer.get("DeleteMarkers", ())]
        # Two lists, each in order: by key as S3 orders them (bytes of UTF-8), then from the newest on.
        found.sort(key=lambda version: (version.key.encode(), not version.newest, -version.modified.timestamp()))
        return Page(found, _after(answer, "NextVersionIdMarker"))

    async def uploads(self, after: tuple[str, str] | None, most: int) -> UploadPage:
        """See `Inventory`."""
        markers = {"KeyMarker": after[0], "UploadIdMarker": after[1]} if after else {}
        with reaching(_S3):
            answer = await self._s3.list_multipart_uploads(
                Bucket=self._names[Bucket.INCOMING], Prefix=Bucket.INCOMING.value, MaxUploads=most, **markers
            )
        found = [Upload(entry["Key"], entry["UploadId"], entry["Initiated"]) for entry in answer.get("Uploads", ())]
        return UploadPage(found, _after(answer, "NextUploadIdMarker"))

    async def has(self, bucket: Bucket, key: str) -> bool:
        """See `Inventory`."""
        with reaching(_S3):
            try:
                await self._s3.head_object(Bucket=self._names[bucket], Key=key)
            except ClientError as error:
                if code_of(error) in _MISSING:
                    return False
                raise
        return True

    async def remove(self, bucket: Bucket, versions: Sequence[Version]) -> None:
        """See `Inventory`."""
        for start in range(0, len(versions), _BATCH):
            listed = [{"Key": version.key, "VersionId": version.id} for version in versions[start : start + _BATCH]]
            with reaching(_S3):
                answer = await self._s3.delete_objects(
                    Bucket=self._names[bucket], Delete={"Objects": listed, "Quiet": True}
                )
            for left in answer.get("Errors", ()):
                raise RuntimeError(f"S3 did not remove {left.get('Key')!r}: {left.get('Code')}")

    async def abort(self, upload: Upload) -> None:
        """See `Inventory`."""
        with reaching(_S3):
            try:
                await self._s3.abort_multipart_upload(
                    Bucket=self._names[Bucket.INCOMING], Key=upload.key, UploadId=upload.id
                )
            except ClientError as error:
                if code_of(error) not in _MISSING:
                    raise


def _version(entry: dict[str, Any], *, marker: bool = False) -> Version:
    return Version(entry["Key"], entry["VersionId"], entry["LastModified"], entry["IsLatest"], marker)


def _after(answer: dict[str, Any], second: str) -> tuple[str, str] | None:
    return (answer["NextKeyMarker"], answer.get(second, "")) if answer.get("IsTruncated") else None
