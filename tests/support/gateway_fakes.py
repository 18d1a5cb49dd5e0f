"""metadata_svc and presign_svc in memory, as far as the gateway sees them. mypy holds them to the gateway's ports."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from darkroom.image.v1 import image_pb2
from darkroom.metadata.v1 import metadata_pb2 as pb
from darkroom.presign.v1 import presign_pb2 as presign
from google.protobuf.timestamp_pb2 import Timestamp

from gateway.ports import Health, Metadata, Presign, Rendering
from runtime.errors import DarkroomError, Kind

LIMITS = pb.Limits(max_image_bytes=50_000_000, max_images=1000, max_bytes=10**12, requests_per_second=1000)
SCOPES = ("images:write", "images:read", "originals:read")


def api_key(number: int) -> str:
    """A key of the right form."""
    return f"drk_{number:016d}_{'s' * 42}{number}"


def stamp(seconds: float) -> Timestamp:
    """A point in time."""
    return Timestamp(seconds=int(seconds))


@dataclass
class FakeMetadata:
    """Rows in a dictionary. `failure` is raised by every call while it is set; `calls` counts them by name."""

    images: dict[tuple[str, str], pb.Image] = field(default_factory=dict)
    keys: dict[str, tuple[bytes, pb.Credential]] = field(default_factory=dict)
    requests: dict[tuple[str, str], tuple[bytes, str]] = field(default_factory=dict)
    granted: int = 1000
    failure: DarkroomError | None = None
    calls: list[str] = field(default_factory=list)
    listed: list[pb.ListImagesRequest] = field(default_factory=list)
    created: list[pb.CreateImageRequest] = field(default_factory=list)

    def add_key(
        self, key: str, tenant_id: str, *scopes: str, kind: pb.Credential.Kind.ValueType = pb.Credential.SECRET
    ) -> None:
        """Knows a key from now on."""
        _, key_id, secret = key.split("_", 2)
        credential = pb.Credential(key_id=key_id, tenant_id=tenant_id, kind=kind, scopes=scopes, limits=LIMITS)
        self.keys[key_id] = hashlib.sha256(secret.encode()).digest(), credential

    def put(self, image: pb.Image) -> pb.Image:
        """Keeps an image as it is given."""
        self.images[image.tenant_id, image.id] = image
        return image

    def _called(self, name: str) -> None:
        self.calls.append(name)
        if self.failure is not None:
            raise self.failure

    def _find(self, tenant_id: str, image_id: str) -> pb.Image:
        found = self.images.get((tenant_id, image_id))
        if found is None:
            raise DarkroomError(Kind.NOT_FOUND, "There is no image with this id.")
        return found

    async def authenticate(self, key_id: str, secret_sha256: bytes, timeout: float) -> pb.Credential:
        self._called("authenticate")
        known = self.keys.get(key_id)
        if known is None or known[0] != secret_sha256:
            raise DarkroomError(Kind.UNAUTHENTICATED, "unknown key")
        return known[1]

    async def lease_requests(self, tenant_id: str, wanted: int, timeout: float) -> pb.RequestLease:
        self._called("lease_requests")
        granted = min(wanted, self.granted)
        self.granted -= granted
        return pb.RequestLease(granted=granted, expires_at=stamp(time.time() + 2))

    async def create_image(self, request: pb.CreateImageRequest, timeout: float) -> pb.Image:
        self._called("create_image")
        self.created.append(request)
        if request.request_id:
            seen = self.requests.setdefault(
                (request.tenant_id, request.request_id), (request.request_sha256, request.image_id)
            )
            if seen[0] != request.request_sha256:
                raise DarkroomError(Kind.IDEMPOTENCY_CONFLICT, "Use a new key for a new request.")
            if (request.tenant_id, seen[1]) in self.images:
                return self.images[request.tenant_id, seen[1]]
        return self.put(
            pb.Image(
                id=request.image_id,
                tenant_id=request.tenant_id,
                state=pb.Image.AWAITING_UPLOAD,
                filename=request.filename,
                content_type=request.content_type,
                size=request.size,
                sha256=request.sha256,
                tags=request.tags,
                original_key=f"incoming/{request.tenant_id}/{request.image_id}",
                upload_expires_at=stamp(time.time() + request.upload_time_to_live.seconds),
                etag="e1",
                created_at=stamp(1_780_000_000),
                updated_at=stamp(1_780_000_000),
            )
        )

    async def get_image(self, tenant_id: str, image_id: str, timeout: float) -> pb.Image:
        self._called("get_image")
        return self._find(tenant_id, image_id)

    async def get_images(self, wanted: Sequence[tuple[str, str]], timeout: float) -> list[pb.Image]:
        self._called("get_images")
        return [self.images[key] for key in wanted if key in self.images]

    async def list_images(self, request: pb.ListImagesRequest, timeout: float) -> pb.ListImagesResponse:
        self._called("list_images")
        self.listed.append(request)
        images = [image for image in self.images.values() if image.tenant_id == request.tenant_id]
        return pb.ListImagesResponse(images=images, next_page_token="next")

    async def update_image(self, request: pb.UpdateImageRequest, timeout: float) -> pb.Image:
        self._called("update_image")
        image = self._find(request.tenant_id, request.image_id)
        if request.etag and request.etag != image.etag:
            raise DarkroomError(Kind.ETAG_MISMATCH, "Read the image again.")
        image.tags.clear()
        image.tags.update(request.tags)
        image.etag += "1"
        return image

    async def renew_upload(self, request: pb.RenewUploadRequest, timeout: float) -> pb.Image:
        self._called("renew_upload")
        image = self._find(request.tenant_id, request.image_id)
        if image.state != pb.Image.AWAITING_UPLOAD:
            raise DarkroomError(Kind.WRONG_STATE, "The image does not await its bytes any more.")
        image.upload_expires_at.CopyFrom(stamp(time.time() + request.upload_time_to_live.seconds))
        return image

    async def reprocess_image(self, tenant_id: str, image_id: str, timeout: float) -> pb.Image:
        self._called("reprocess_image")
        image = self._find(tenant_id, image_id)
        if image.state not in (pb.Image.READY, pb.Image.FAILED, pb.Image.PROCESSING):
            raise DarkroomError(Kind.WRONG_STATE, "only one that is READY or FAILED is processed again")
        image.state = pb.Image.PROCESSING
        image.ClearField("ready_at")
        return image

    async def delete_image(self, tenant_id: str, image_id: str, timeout: float) -> pb.DeleteImageResponse:
        self._called("delete_image")
        image = self._find(tenant_id, image_id)
        image.state = pb.Image.DELETED
        return pb.DeleteImageResponse(receipt=f"r-{image_id}", deleted_at=stamp(1_780_000_000))

    async def get_usage(self, tenant_id: str, timeout: float) -> pb.GetUsageResponse:
        self._called("get_usage")
        return pb.GetUsageResponse(images=len(self.images), bytes=7, limits=LIMITS)


@dataclass
class FakePresign:
    """Signs with its name."""

    issued: list[presign.IssueTicketRequest] = field(default_factory=list)
    signed: int = 0
    failure: DarkroomError | None = None

    async def issue_ticket(self, request: presign.IssueTicketRequest, timeout: float) -> presign.Ticket:
        if self.failure is not None:
            raise self.failure
        self.issued.append(request)
        return presign.Ticket(
            method=presign.UPLOAD_METHOD_PUT,
            url=f"https://s3.test/{request.key}?X-Amz-Signature=fake",
            headers={"content-type": request.content_type, "if-none-match": "*"},
            expires_at=stamp(time.time() + request.time_to_live.seconds),
        )

    async def sign_download(self, request: presign.SignDownloadRequest, timeout: float) -> presign.Download:
        return (await self.sign_downloads([request], timeout))[0]

    async def sign_downloads(
        self, requests: Sequence[presign.SignDownloadRequest], timeout: float
    ) -> list[presign.Download]:
        self.signed += len(requests)
        return [
            presign.Download(
                url=f"https://s3.test/{request.key}?{request.content_disposition}",
                expires_at=stamp(time.time() + 1800),
                stable_until=stamp(time.time() + 900),
            )
            for request in requests
        ]


@dataclass
class FakeRendering:
    """image_svc: each call takes the next of `outcomes`: an error, what makes one, or seconds that pass first."""

    metadata: FakeMetadata
    outcomes: list[DarkroomError | Callable[[], DarkroomError] | float] = field(default_factory=list)
    calls: list[tuple[str, str, str, float]] = field(default_factory=list)

    async def render(self, tenant_id: str, image_id: str, preset: str, timeout: float) -> image_pb2.Variant:
        self.calls.append((tenant_id, image_id, preset, timeout))
        outcome = self.outcomes.pop(0) if self.outcomes else 0.0
        if callable(outcome):
            raise outcome()
        if isinstance(outcome, DarkroomError):
            raise outcome
        await asyncio.sleep(min(outcome, timeout))
        if outcome > timeout:
            raise DarkroomError(Kind.DEADLINE_EXCEEDED, "a dependency answered DEADLINE_EXCEEDED")
        made = image_pb2.Variant(
            name=preset, key=f"media/{image_id}/{preset}", content_type="image/webp", width=2, height=2, size=5
        )
        self.metadata.images[tenant_id, image_id].variants.add(
            name=made.name, key=made.key, content_type=made.content_type, width=2, height=2, size=5
        )
        return made


@dataclass
class FakeHealth:
    """Says what it is told to."""

    well: bool = True
    asked: list[str] = field(default_factory=list)

    async def check(self, timeout: float, tested: str = "") -> bool:
        self.asked.append(tested)
        return self.well


def ready_image(tenant_id: str, image_id: str) -> pb.Image:
    """A finished image with one variant."""
    return pb.Image(
        id=image_id,
        tenant_id=tenant_id,
        state=pb.Image.READY,
        filename="a.jpg",
        content_type="image/jpeg",
        size=1000,
        sha256=b"\x01" * 32,
        original_key=f"incoming/{tenant_id}/{image_id}",
        facts=pb.Facts(
            format="JPEG",
            width=40,
            height=30,
            frames=1,
            thumbhash=b"abc",
            color="#102030",
            perceptual_hash=0x0123456789ABCDEF,
        ),
        variants=[
            pb.Variant(name="thumb", key=f"media/{image_id}", content_type="image/webp", width=4, height=3, size=9)
        ],
        tags={"album": "may"},
        etag="e9",
        created_at=stamp(1_780_000_000),
        updated_at=stamp(1_780_000_001),
        ready_at=stamp(1_780_000_001),
    )


# What mypy checks: the fakes are what the gateway asks for.
_METADATA: type[Metadata] = FakeMetadata
_PRESIGN: type[Presign] = FakePresign
_RENDERING: type[Rendering] = FakeRendering
_HEALTH: type[Health] = FakeHealth
