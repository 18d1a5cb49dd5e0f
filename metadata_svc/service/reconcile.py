"""`darkroom.metadata.v1.ReconcileService`: stretches of a bucket's listing against stretches of the rows.

Both are in the same order, by tenant and image, so that one pass over each finds what either has and the other lacks,
however many there are.
"""

# ruff: noqa: N802  # methods are named as the RPCs

from __future__ import annotations

from collections import defaultdict
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

import grpc
import structlog
from darkroom.metadata.v1 import reconcile_pb2 as pb
from darkroom.metadata.v1 import reconcile_pb2_grpc as rpc
from google.protobuf.duration_pb2 import Duration

from metadata_svc.domain import reconciliation
from metadata_svc.domain.decision import Decision
from metadata_svc.domain.keys import parse_media_key, parse_original_key
from metadata_svc.domain.reconciliation import Outcome, Verdict
from metadata_svc.domain.rules import Rules
from metadata_svc.ports import ImageStore, Reading, Reconciliation
from metadata_svc.service.messages import timedelta_of, uuid_of
from metadata_svc.transitions import decide
from runtime.errors import DarkroomError, Kind

NAME: Final = "darkroom.metadata.v1.ReconcileService"

Context = grpc.aio.ServicerContext[Any, Any]

_Ref = tuple[UUID, UUID]
_FIRST: Final = (UUID(int=0), UUID(int=0))
_LAST: Final = (UUID(int=(1 << 128) - 1), UUID(int=(1 << 128) - 1))
_PARSERS: Final = {pb.BUCKET_INCOMING: parse_original_key, pb.BUCKET_MEDIA: parse_media_key}
_VERDICTS: Final = {
    Verdict.KEEP: pb.VERDICT_KEEP,
    Verdict.REMOVE: pb.VERDICT_REMOVE,
    Verdict.ORDER: pb.VERDICT_ORDERED,
}
_OUTCOMES: Final = {
    Outcome.NONE: pb.RecordMissingResponse.OUTCOME_UNSPECIFIED,
    Outcome.REMADE: pb.RecordMissingResponse.OUTCOME_REMADE,
    Outcome.FORGOTTEN: pb.RecordMissingResponse.OUTCOME_FORGOTTEN,
}

_log = structlog.get_logger(__name__)


class ReconcileServicer(rpc.ReconcileServiceServicer):
    """`rows` is the most that one call reads, `max_items` the most objects that it takes."""

    def __init__(
        self, reconciliation: Reconciliation, every: ImageStore, rules: Rules, *, rows: int, max_items: int
    ) -> None:
        self._reconciliation = reconciliation
        self._every = every
        self._rules = rules
        self._rows = rows
        self._max_items = max_items

    async def CompareObjects(self, request: pb.CompareObjectsRequest, context: Context) -> pb.CompareObjectsResponse:
        """See the proto."""
        parse = _parser(request.bucket)
        minimum_age = timedelta_of(request.minimum_age, "/minimum_age")
        self._check_size(len(request.objects))
        after = _position(request.position)
        refs = [parse(stored.key) for stored in request.objects]
        known = [ref for ref in refs if ref is not None]
        if any(ref <= after for ref in known):
            # Their rows are behind us: they would look like nobody's.
            raise DarkroomError(Kind.MALFORMED, "objects from before the position", pointer="/objects")
        until = _LAST if request.last else max(known, default=after)
        found = await self._reconciliation.stretch(after, until, self._rows, context.time_remaining())
        done = len(found.rows) < self._rows
        reached = until if done else (found.rows[-1].tenant_id, found.rows[-1].id)

        rows = {(row.tenant_id, row.id): row for row in found.rows}
        there: defaultdict[_Ref, set[str]] = defaultdict(set)
        response = pb.CompareObjectsResponse(position=f"{reached[0]}/{reached[1]}", done=done)
        for stored, ref in zip(request.objects, refs, strict=True):
            if ref is None:
                response.verdicts.append(pb.VERDICT_REMOVE)  # no image's key has this form
                continue
            if ref > reached:
                response.verdicts.append(pb.VERDICT_UNSPECIFIED)
                continue
            there[ref].add(stored.key)
            row = rows.get(ref)
            if request.bucket == pb.BUCKET_MEDIA:
                verdict = reconciliation.on_variant(row, stored.key, found.now, self._rules)
            else:
                verdict = reconciliation.on_original(row, _length(stored.age), minimum_age)
            if verdict is Verdict.ORDER and not await self._ordered(ref, request, context):
                verdict = Verdict.KEEP
            response.verdicts.append(_VERDICTS[verdict])
        for row in found.rows:
            at = there[row.tenant_id, row.id]
            keys: list[str] = []
            if request.bucket == pb.BUCKET_MEDIA:
                keys = sorted(reconciliation.missing_variants(row, at, found.now, minimum_age))
            elif reconciliation.missing_original(row, at, found.now, minimum_age):
                keys = [row.original]
            if keys:
                response.missing.add(tenant_id=str(row.tenant_id), image_id=str(row.id), keys=keys)
        return response

    async def CompareUploads(self, request: pb.CompareUploadsRequest, context: Context) -> pb.CompareUploadsResponse:
        """See the proto."""
        minimum_age = timedelta_of(request.minimum_age, "/minimum_age")
        self._check_size(len(request.uploads))
        refs = [parse_original_key(upload.key) for upload in request.uploads]
        named = sorted({ref for ref in refs if ref is not None})
        found = await self._reconciliation.named(named, context.time_remaining())
        rows = {(row.tenant_id, row.id): row for row in found.rows}
        response = pb.CompareUploadsResponse()
        for upload, ref in zip(request.uploads, refs, strict=True):
            row = None if ref is None else rows.get(ref)
            verdict = reconciliation.on_upload(row, _length(upload.age), minimum_age, found.now, self._rules)
            response.verdicts.append(_VERDICTS[verdict])
        return response

    async def RecordMissing(self, request: pb.RecordMissingRequest, context: Context) -> pb.RecordMissingResponse:
        """See the proto."""
        parse = _parser(request.bucket)
        ref = (
            uuid_of(request.missing.tenant_id, "/missing/tenant_id"),
            uuid_of(request.missing.image_id, "/missing/image_id"),
        )
        keys = frozenset(request.missing.keys)
        if not keys or any(parse(key) != ref for key in keys):
            raise DarkroomError(Kind.MALFORMED, "not this image's objects", pointer="/missing/keys")

        def decision(reading: Reading) -> Decision[Outcome]:
            if request.bucket == pb.BUCKET_MEDIA:
                decided = reconciliation.record_missing_variants(reading.image, keys, reading.now, self._rules)
            else:
                decided = reconciliation.record_missing_original(reading.image, reading.now)
            return Decision(decided.answer) if request.dry_run else decided

        outcome = await decide(self._every, *ref, decision, context.time_remaining())
        if outcome is not Outcome.NONE:
            _log.error(
                "objects are missing",
                tenant_id=request.missing.tenant_id,
                image_id=request.missing.image_id,
                keys=sorted(keys),
                outcome=outcome.value,
                dry_run=request.dry_run,
            )
        return pb.RecordMissingResponse(outcome=_OUTCOMES[outcome])

    async def _ordered(self, ref: _Ref, request: pb.CompareObjectsRequest, context: Context) -> bool:
        """Whether the image was (or would be) given to the workers now."""
        if not request.give_orders:
            return False

        def decision(reading: Reading) -> Decision[bool]:
            decided = reconciliation.hasten(reading.image, reading.now)
            return Decision(decided.answer) if request.dry_run else decided

        return await decide(self._every, *ref, decision, context.time_remaining())

    def _check_size(self, count: int) -> None:
        if count > self._max_items:
            raise DarkroomError(Kind.MALFORMED, f"at most {self._max_items} objects in a call")


def _parser(bucket: pb.Bucket.ValueType) -> Any:
    if bucket not in _PARSERS:
        raise DarkroomError(Kind.MALFORMED, "no such bucket", pointer="/bucket")
    return _PARSERS[bucket]


def _position(text: str) -> _Ref:
    if not text:
        return _FIRST
    tenant_id, _, image_id = text.partition("/")
    return uuid_of(tenant_id, "/position"), uuid_of(image_id, "/position")


def _length(duration: Duration) -> timedelta:
    """Zero for an object that seems to come from the future: clocks differ."""
    return max(timedelta(seconds=duration.seconds, microseconds=duration.nanos // 1000), timedelta(0))
