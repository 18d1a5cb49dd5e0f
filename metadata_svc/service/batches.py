"""The batch calls of the request path. One item's error is its own; the others' results stand."""

from __future__ import annotations

import hmac
from collections.abc import Mapping, Sequence
from typing import Any, Final

from darkroom.metadata.v1 import metadata_pb2 as pb
from google.protobuf.timestamp_pb2 import Timestamp

from metadata_svc.domain.image import etag
from metadata_svc.domain.keys import original_key
from metadata_svc.ports import Batches, NewImages, OutOfFormError
from metadata_svc.service import checks
from metadata_svc.service.messages import fill, json_of, limits_of, timestamp
from runtime.errors import DarkroomError, Kind

# Outcomes of create_images that are errors.
_REFUSED: Final[Mapping[int, DarkroomError]] = {
    3: DarkroomError(
        Kind.IDEMPOTENCY_CONFLICT,
        "this Idempotency-Key was used for another request; take a new key for a new request",
    ),
    4: DarkroomError(Kind.NOT_FOUND, "no such tenant"),
    5: DarkroomError(Kind.UNPROCESSABLE, "larger than this tenant may upload", pointer="/size"),
    6: DarkroomError(Kind.QUOTA_EXCEEDED, "the tenant has as many images as it may have; delete some first"),
    7: DarkroomError(Kind.QUOTA_EXCEEDED, "the tenant has as many bytes as it may have; delete some images first"),
}
_CREATED: Final = 1
# A statement's error is made once: it is the same for every item.
_REFUSED_STATUS: Final = {outcome: error.to_status() for outcome, error in _REFUSED.items()}
_NO_IMAGE: Final = DarkroomError(Kind.NOT_FOUND, "no such image").to_status()
_NO_KEY: Final = DarkroomError(Kind.UNAUTHENTICATED, "unknown or revoked API key, or wrong secret").to_status()
_NO_TENANT: Final = DarkroomError(Kind.NOT_FOUND, "no such tenant").to_status()


class BatchCalls:
    """BatchAuthenticate, BatchLeaseRequests, BatchCreateImages and BatchGetImages."""

    def __init__(self, batches: Batches, *, max_items: int) -> None:
        self._batches = batches
        self._max_items = max_items

    def check_size(self, items: Sequence[Any]) -> None:
        """Raises MALFORMED for a batch that is too large."""
        if len(items) > self._max_items:
            raise DarkroomError(
                Kind.MALFORMED, f"at most {self._max_items} items a batch, got {len(items)}", pointer="/items"
            )

    async def create(
        self, items: Sequence[pb.CreateImageRequest], timeout: float | None
    ) -> pb.BatchCreateImagesResponse:
        """Registers images."""
        self.check_size(items)
        try:
            return await self._create(items, timeout)
        except OutOfFormError:
            errors = {item.item_id: error for item in items if (error := checks.create_error(item)) is not None}
            if not errors:
                raise
        response = await self._create([item for item in items if item.item_id not in errors], timeout)
        for number, error in errors.items():
            response.results.add(item_id=number, error=error.to_status())
        return response

    async def _create(
        self, items: Sequence[pb.CreateImageRequest], timeout: float | None
    ) -> pb.BatchCreateImagesResponse:
        if not items:
            return pb.BatchCreateImagesResponse()
        batch = NewImages(
            tenant_ids=[item.tenant_id for item in items],
            image_ids=[item.image_id for item in items],
            request_ids=[item.request_id or None for item in items],
            request_sha256s=[item.request_sha256 if item.request_id else None for item in items],
            filenames=[item.filename for item in items],
            content_types=[item.content_type for item in items],
            sizes=[item.size for item in items],
            sha256s=[item.sha256 or None for item in items],
            upload_methods=[item.upload_method or pb.UPLOAD_METHOD_PUT for item in items],
            preset_lists=[",".join(item.presets) for item in items],
            tag_objects=[json_of(item.tags) if item.tags else None for item in items],
            times_to_live=[item.upload_time_to_live.seconds + item.upload_time_to_live.nanos / 1e9 for item in items],
            traceparents=[item.traceparent for item in items],
        )
        rows = await self._batches.create_images(batch, timeout)
        created_at = timestamp(rows[0]["now"])
        there_before = {row["ord"]: row for row in rows[1:]}
        # What all new images of one life have in common; most batches have one life.
        templates: dict[float, pb.Image] = {}
        response = pb.BatchCreateImagesResponse()
        for index, outcome in enumerate(rows[0]["outcomes"]):
            item = items[index]
            result = response.results.add()
            result.item_id = item.item_id
            if outcome == _CREATED:
                life = batch.times_to_live[index]
                template = templates.get(life)
                if template is None:
                    template = templates[life] = _template(created_at, life)
                # Field by field into the response itself: a third of the cost of a message that is copied there.
                image = result.image
                image.CopyFrom(template)
                image.id = item.image_id
                image.tenant_id = item.tenant_id
                image.filename = item.filename
                image.content_type = item.content_type
                image.size = item.size
                image.sha256 = item.sha256
                image.upload_method = pb.UploadMethod.ValueType(batch.upload_methods[index])
                image.original_key = original_key(item.tenant_id, item.image_id)
                if item.presets:
                    image.presets.extend(item.presets)
                if item.tags:
                    image.tags.update(item.tags)
            elif outcome in _REFUSED_STATUS:
                result.error.CopyFrom(_REFUSED_STATUS[outcome])
            elif (row := there_before.get(index + 1)) is not None:
                fill(result.image, row)
            else:
                # The request id outlived the image that it made.
                result.error.CopyFrom(_NO_IMAGE)
        return response

    async def get(self, items: Sequence[pb.GetImageRequest], timeout: float | None) -> pb.BatchGetImagesResponse:
        """Reads images."""
        self.check_size(items)
        try:
            return await self._get(items, timeout)
        except OutOfFormError:
            # No image has an id of another form.
            good = [item for item in items if checks.is_uuid(item.tenant_id) and checks.is_uuid(item.image_id)]
            if len(good) == len(items):
                raise
        response = await self._get(good, timeout)
        known = {item.item_id for item in good}
        for item in items:
            if item.item_id not in known:
                response.results.add(item_id=item.item_id, error=_NO_IMAGE)
        return response

    async def _get(self, items: Sequence[pb.GetImageRequest], timeout: float | None) -> pb.BatchGetImagesResponse:
        response = pb.BatchGetImagesResponse()
        if not items:
            return response
        rows = await self._batches.get_images(
            [item.tenant_id for item in items], [item.image_id for item in items], timeout
        )
        found = {row["ord"]: row for row in rows}
        for number, item in enumerate(items, 1):
            result = response.results.add()
            result.item_id = item.item_id
            row = found.get(number)
            if row is None:
                result.error.CopyFrom(_NO_IMAGE)
            else:
                fill(result.image, row)
        return response

    async def authenticate(
        self, items: Sequence[pb.AuthenticateRequest], timeout: float | None
    ) -> list[pb.AuthenticateResult]:
        """Checks API keys. An unknown key, a revoked one and a wrong secret get the same answer."""
        self.check_size(items)
        rows = await self._batches.get_keys([item.key_id for item in items if checks.is_key_id(item.key_id)], timeout)
        keys = {row["id"]: row for row in rows}
        results: list[pb.AuthenticateResult] = []
        for item in items:
            row = keys.get(item.key_id)
            # Compared in any case, so that the time tells nothing.
            matches = hmac.compare_digest(item.secret_sha256, row["secret_sha256"] if row else _NO_SECRET)
            if row is None or not matches or row["is_revoked"]:
                results.append(pb.AuthenticateResult(item_id=item.item_id, error=_NO_KEY))
            else:
                results.append(pb.AuthenticateResult(item_id=item.item_id, credential=_credential(row)))
        return results

    async def lease(
        self, items: Sequence[pb.LeaseRequestsRequest], timeout: float | None
    ) -> list[pb.LeaseRequestsResult]:
        """Leases request rate. Items of one tenant share what it is granted, in their order."""
        self.check_size(items)
        wanted: dict[str, int] = {}
        errors: dict[int, DarkroomError] = {}
        for item in items:
            if not checks.is_uuid(item.tenant_id):
                errors[item.item_id] = DarkroomError(Kind.NOT_FOUND, "no such tenant")
            elif not 0 < item.wanted <= _MOST_WANTED:
                errors[item.item_id] = DarkroomError(Kind.MALFORMED, f"must be 1 to {_MOST_WANTED}", pointer="/wanted")
            else:
                wanted[item.tenant_id] = wanted.get(item.tenant_id, 0) + item.wanted
        rows = await self._batches.lease_requests(wanted, timeout) if wanted else ()
        granted = {str(row["tenant_id"]): row["granted"] for row in rows}
        results: list[pb.LeaseRequestsResult] = []
        for item in items:
            if item.item_id in errors:
                results.append(pb.LeaseRequestsResult(item_id=item.item_id, error=errors[item.item_id].to_status()))
            elif item.tenant_id not in granted:
                results.append(pb.LeaseRequestsResult(item_id=item.item_id, error=_NO_TENANT))
            else:
                share = min(item.wanted, granted[item.tenant_id])
                granted[item.tenant_id] -= share
                lease = pb.RequestLease(granted=share, expires_at=Timestamp(seconds=rows[0]["second"] + 1))
                results.append(pb.LeaseRequestsResult(item_id=item.item_id, lease=lease))
        return results


_FIRST_ETAG: Final = etag(1)
_NO_SECRET: Final = bytes(32)
_MOST_WANTED: Final = 1_000_000  # keeps the sum of a batch within an integer


def _template(created_at: Timestamp, life: float) -> pb.Image:
    return pb.Image(
        state=pb.Image.AWAITING_UPLOAD,
        upload_expires_at=_later(created_at, life),
        etag=_FIRST_ETAG,
        created_at=created_at,
        updated_at=created_at,
    )


def _later(moment: Timestamp, seconds: float) -> Timestamp:
    micros = moment.nanos // 1000 + round(seconds * 1e6)
    return Timestamp(seconds=moment.seconds + micros // 1_000_000, nanos=micros % 1_000_000 * 1000)


def _credential(row: Mapping[str, Any]) -> pb.Credential:
    return pb.Credential(
        key_id=row["id"],
        tenant_id=str(row["tenant_id"]),
        kind=row["kind"],
        scopes=row["scopes"],
        limits=limits_of(row),
    )
