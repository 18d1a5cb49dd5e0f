"""metadata_svc, as the reconciler sees it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Final

import grpc
from darkroom.metadata.v1 import reconcile_pb2 as pb
from darkroom.metadata.v1 import reconcile_pb2_grpc as rpc

from image_svc.adapters.metadata import duration, translated
from image_svc.reconcile.model import Bucket, Comparison, Missing, Object, Outcome, Upload, Verdict
from runtime import grpc_client
from runtime.errors import DarkroomError, Kind

_SERVICE: Final = "darkroom.metadata.v1.ReconcileService"
# Every call may be repeated.
_RETRIED: Final = ("CompareObjects", "CompareUploads", "RecordMissing")
_BUCKETS: Final = {Bucket.INCOMING: pb.BUCKET_INCOMING, Bucket.MEDIA: pb.BUCKET_MEDIA}
_VERDICTS: Final = {
    pb.VERDICT_UNSPECIFIED: Verdict.UNDECIDED,
    pb.VERDICT_KEEP: Verdict.KEEP,
    pb.VERDICT_REMOVE: Verdict.REMOVE,
    pb.VERDICT_ORDERED: Verdict.ORDERED,
}
_OUTCOMES: Final = {
    pb.RecordMissingResponse.OUTCOME_UNSPECIFIED: Outcome.NONE,
    pb.RecordMissingResponse.OUTCOME_REMADE: Outcome.REMADE,
    pb.RecordMissingResponse.OUTCOME_FORGOTTEN: Outcome.FORGOTTEN,
}


async def channel(stack: AsyncExitStack, target: str) -> grpc.aio.Channel:
    """A channel to metadata_svc that closes with the stack."""
    return await grpc_client.channel(stack, target, retried=[f"{_SERVICE}/{method}" for method in _RETRIED])


class GrpcJudge:
    """A `Judge` over a channel. `timeout` is each call's deadline in seconds."""

    def __init__(self, to: grpc.aio.Channel, timeout: float) -> None:
        # The generated stub serves both kinds of channel; its type says which.
        self._stub: rpc.ReconcileServiceAsyncStub = rpc.ReconcileServiceStub(to)
        self._timeout = timeout

    async def compare(
        self,
        bucket: Bucket,
        position: str,
        objects: Sequence[tuple[Object, float]],
        *,
        last: bool,
        minimum_age: float,
        give_orders: bool,
        dry_run: bool,
    ) -> Comparison:
        """See `Judge`."""
        request = pb.CompareObjectsRequest(
            bucket=_BUCKETS[bucket],
            position=position,
            objects=[_stored(found.key, age) for found, age in objects],
            last=last,
            minimum_age=duration(minimum_age),
            give_orders=give_orders,
            dry_run=dry_run,
        )
        with translated():
            answer = await grpc_client.call(self._stub.CompareObjects, request, self._timeout)
        return Comparison(
            verdicts=_verdicts(answer.verdicts, len(objects)),
            missing=[Missing(one.tenant_id, one.image_id, tuple(one.keys)) for one in answer.missing],
            position=answer.position,
            done=answer.done,
        )

    async def compare_uploads(
        self, uploads: Sequence[tuple[Upload, float]], *, minimum_age: float
    ) -> Sequence[Verdict]:
        """See `Judge`."""
        request = pb.CompareUploadsRequest(
            uploads=[_stored(upload.key, age) for upload, age in uploads], minimum_age=duration(minimum_age)
        )
        with translated():
            answer = await grpc_client.call(self._stub.CompareUploads, request, self._timeout)
        return _verdicts(answer.verdicts, len(uploads))

    async def record_missing(self, bucket: Bucket, missing: Missing, *, dry_run: bool) -> Outcome:
        """See `Judge`."""
        request = pb.RecordMissingRequest(
            bucket=_BUCKETS[bucket],
            missing=pb.MissingObjects(tenant_id=missing.tenant_id, image_id=missing.image_id, keys=missing.keys),
            dry_run=dry_run,
        )
        with translated():
            answer = await grpc_client.call(self._stub.RecordMissing, request, self._timeout)
        return _OUTCOMES.get(answer.outcome, Outcome.NONE)


def _stored(key: str, age: float) -> pb.StoredObject:
    return pb.StoredObject(key=key, age=duration(max(age, 0.0)))  # clocks differ


def _verdicts(given: Sequence[pb.Verdict.ValueType], count: int) -> list[Verdict]:
    """A verdict that this release does not know leaves its object alone."""
    if len(given) != count:
        raise DarkroomError(Kind.INTERNAL, "metadata_svc did not judge each object")
    return [_VERDICTS.get(verdict, Verdict.KEEP) for verdict in given]
