"""What the gateway needs of the services behind it. Every call has a deadline and raises `DarkroomError` only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from darkroom.image.v1 import image_pb2 as image
from darkroom.metadata.v1 import metadata_pb2 as metadata
from darkroom.presign.v1 import presign_pb2 as presign


class Metadata(Protocol):
    """Images, credentials and usage. `timeout` is in seconds."""

    async def authenticate(self, key_id: str, secret_sha256: bytes, timeout: float) -> metadata.Credential:
        """What the key may do. Raises UNAUTHENTICATED for one that is unknown, wrong or revoked."""
        ...

    async def lease_requests(self, tenant_id: str, wanted: int, timeout: float) -> metadata.RequestLease:
        """A share of the tenant's request rate for the current second."""
        ...

    async def create_image(self, request: metadata.CreateImageRequest, timeout: float) -> metadata.Image:
        """Registers an image, or returns the one that its id or request id made before."""
        ...

    async def get_image(self, tenant_id: str, image_id: str, timeout: float) -> metadata.Image:
        """The image; a tombstone as one in the state DELETED. Raises NOT_FOUND."""
        ...

    async def get_images(self, wanted: Sequence[tuple[str, str]], timeout: float) -> list[metadata.Image]:
        """Those of the (tenant, image) pairs that there are, in any order, in as few calls as possible."""
        ...

    async def list_images(self, request: metadata.ListImagesRequest, timeout: float) -> metadata.ListImagesResponse:
        """A page of a tenant's images."""
        ...

    async def update_image(self, request: metadata.UpdateImageRequest, timeout: float) -> metadata.Image:
        """Replaces the tags. Raises ETAG_MISMATCH, NOT_FOUND or GONE."""
        ...

    async def renew_upload(self, request: metadata.RenewUploadRequest, timeout: float) -> metadata.Image:
        """Moves the upload deadline. Raises WRONG_STATE, NOT_FOUND or GONE."""
        ...

    async def reprocess_image(self, tenant_id: str, image_id: str, timeout: float) -> metadata.Image:
        """Orders the image's processing anew. Raises WRONG_STATE, NOT_FOUND or GONE."""
        ...

    async def delete_image(self, tenant_id: str, image_id: str, timeout: float) -> metadata.DeleteImageResponse:
        """Turns the image into a tombstone. Raises NOT_FOUND."""
        ...

    async def get_usage(self, tenant_id: str, timeout: float) -> metadata.GetUsageResponse:
        """The tenant's counts, bytes and limits."""
        ...


class Presign(Protocol):
    """Tickets and download URLs. `timeout` is in seconds."""

    async def issue_ticket(self, request: presign.IssueTicketRequest, timeout: float) -> presign.Ticket:
        """A sealed upload ticket."""
        ...

    async def sign_download(self, request: presign.SignDownloadRequest, timeout: float) -> presign.Download:
        """A signed URL."""
        ...

    async def sign_downloads(
        self, requests: Sequence[presign.SignDownloadRequest], timeout: float
    ) -> list[presign.Download]:
        """A signed URL for each request, in their order, in as few calls as possible."""
        ...


class Rendering(Protocol):
    """Variants on demand. `timeout` is in seconds."""

    async def render(self, tenant_id: str, image_id: str, preset: str, timeout: float) -> image.Variant:
        """The variant, made if need be; the work goes on after DEADLINE_EXCEEDED. Raises WRONG_STATE, STALE_ATTEMPT
        (processed again or deleted meanwhile), NOT_FOUND, GONE, RATE_LIMITED or UNAVAILABLE.
        """
        ...


class Health(Protocol):
    """Whether a service behind can be reached."""

    async def check(self, timeout: float, tested: str = "") -> bool:
        """Asks once. Never raises. `tested` names the service whose new version shall answer, where there is one."""
        ...
