"""From metadata_svc's image to the API's, with a signed URL for each variant."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Final

from darkroom.metadata.v1 import metadata_pb2 as metadata
from darkroom.presign.v1 import presign_pb2 as presign
from google.protobuf.timestamp_pb2 import Timestamp

from gateway import models
from gateway.ports import Presign

State: Final = metadata.Image
TERMINAL: Final = frozenset({State.READY, State.REJECTED, State.FAILED, State.EXPIRED, State.DELETED})


def time_of(stamp: Timestamp) -> datetime:
    """A point in time, in UTC."""
    return datetime.fromtimestamp(stamp.seconds + stamp.nanos / 1e9, UTC)


class SignedUrls:
    """Signs download URLs and keeps each until presign_svc would give another one for the same key."""

    def __init__(self, presigner: Presign, *, entries: int, clock: Callable[[], float]) -> None:
        """`clock` gives the seconds since the epoch."""
        self._presign = presigner
        self._entries = entries
        self._clock = clock
        self._kept: OrderedDict[str, presign.Download] = OrderedDict()

    async def media(self, keys: Iterable[str], timeout: float) -> dict[str, presign.Download]:
        """A URL for each key in the media bucket, by key."""
        now = self._clock()
        found: dict[str, presign.Download] = {}
        missing: list[str] = []
        for key in keys:
            kept = self._kept.get(key)
            if kept is not None and kept.stable_until.seconds > now:
                found[key] = kept
            else:
                missing.append(key)
        if missing:
            requests = [presign.SignDownloadRequest(bucket=presign.BUCKET_MEDIA, key=key) for key in missing]
            for key, download in zip(missing, await self._presign.sign_downloads(requests, timeout), strict=True):
                found[key] = self._kept[key] = download
                self._kept.move_to_end(key)
            while len(self._kept) > self._entries:
                self._kept.popitem(last=False)
        return found


class Images:
    """Makes the API's images."""

    def __init__(self, urls: SignedUrls) -> None:
        self.urls = urls

    async def one(self, image: metadata.Image, timeout: float) -> models.Image:
        """The image as clients see it."""
        return (await self.many([image], timeout))[0]

    async def many(self, images: Sequence[metadata.Image], timeout: float) -> list[models.Image]:
        """The images as clients see them, their URLs signed in as few calls as possible."""
        keys = [variant.key for image in images for variant in image.variants]
        signed = await self.urls.media(keys, timeout) if keys else {}
        return [_model(image, signed) for image in images]


def _model(image: metadata.Image, signed: dict[str, presign.Download]) -> models.Image:
    facts = image.facts if image.HasField("facts") else None
    return models.Image(
        id=image.id,
        state=metadata.Image.State.Name(image.state),
        filename=image.filename,
        content_type=image.content_type,
        size=image.size,
        sha256=image.sha256.hex() or None,
        format=facts.format if facts else None,
        width=facts.width if facts else None,
        height=facts.height if facts else None,
        animated=facts.frames > 1 if facts else None,
        placeholder=models.Placeholder(facts.thumbhash, facts.color) if facts else None,
        perceptual_hash=f"{facts.perceptual_hash:016x}" if facts else None,
        variants=[_variant(variant, signed[variant.key]) for variant in image.variants],
        problem=models.ImageProblem(image.problem.type, image.problem.title, image.problem.detail)
        if image.HasField("problem")
        else None,
        tags=dict(image.tags),
        etag=image.etag,
        created_at=time_of(image.created_at),
        updated_at=time_of(image.updated_at),
        ready_at=time_of(image.ready_at) if image.HasField("ready_at") else None,
    )


def _variant(variant: metadata.Variant, download: presign.Download) -> models.Variant:
    return models.Variant(
        name=variant.name,
        content_type=variant.content_type,
        width=variant.width,
        height=variant.height,
        size=variant.size,
        url=download.url,
        url_expires_at=time_of(download.expires_at),
    )
