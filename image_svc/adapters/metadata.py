"""metadata_svc, as the worker sees it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from typing import Final

import grpc
from darkroom.metadata.v1 import metadata_pb2 as pb
from darkroom.metadata.v1 import metadata_pb2_grpc as rpc
from google.protobuf import duration_pb2

from image_svc.domain.model import (
    Attempt,
    Busy,
    Job,
    Problem,
    Ready,
    Registered,
    Rendering,
    Retry,
    Settled,
    StoredVariant,
    Verdict,
)
from image_svc.pipeline.types import Facts, Format
from image_svc.ports import StaleAttempt, Unreachable
from runtime import grpc_client
from runtime.errors import DarkroomError, Kind
from runtime.grpc_warm import WarmMethod

_SERVICE: Final = "darkroom.metadata.v1.MetadataService"
# Repeated by the channel when the connection broke: calls that may be, and that nobody above repeats. The others are
# repeated with patience by the worker, once the connection has had time to come back.
_RETRIED: Final = ("RenewProcessing", "HandBackProcessing", "BatchGetImages", "BeginRendering", "RecordVariant")
_AWAY: Final = frozenset({Kind.UNAVAILABLE, Kind.DEADLINE_EXCEEDED, Kind.RATE_LIMITED})
# An image that is gone has no attempts.
_STALE: Final = frozenset({Kind.STALE_ATTEMPT, Kind.NOT_FOUND, Kind.GONE})


async def channel(stack: AsyncExitStack, target: str) -> grpc.aio.Channel:
    """A channel to metadata_svc that closes with the stack."""
    return await grpc_client.channel(stack, target, retried=[f"{_SERVICE}/{method}" for method in _RETRIED])


class GrpcMetadata:
    """`Metadata` over a channel. `timeout` is each call's deadline in seconds."""

    def __init__(self, to: grpc.aio.Channel, timeout: float) -> None:
        # The generated stub serves both kinds of channel; its type says which.
        self._stub: rpc.MetadataServiceAsyncStub = rpc.MetadataServiceStub(to)
        self._timeout = timeout
        # The two calls that each image makes. The worker repeats them anyway when a server goes.
        self._begin = WarmMethod(
            to, f"{_SERVICE}/BeginProcessing", pb.BeginProcessingRequest, pb.BeginProcessingResponse
        )
        self._finish = WarmMethod(
            to, f"{_SERVICE}/FinishProcessing", pb.FinishProcessingRequest, pb.FinishProcessingResponse
        )

    async def begin(self, key: str, lease: float) -> Job | Settled | Busy:
        """See `Metadata`."""
        request = pb.BeginProcessingRequest(key=key, lease=duration(lease))
        with translated():
            answer = await self._begin(request, self._timeout)
        match answer.WhichOneof("outcome"):
            case "job":
                job = answer.job
                return Job(
                    attempt=Attempt(job.tenant_id, job.image_id, job.attempt),
                    content_type=job.content_type,
                    size=job.size,
                    sha256=job.sha256,
                    presets=tuple(job.presets),
                    media_prefix=job.media_prefix,
                    traceparent=job.traceparent,
                    before=_before(job),
                )
            case "busy":
                return Busy(_seconds(answer.busy.retry_after))
            case "settled":
                return Settled(answer.settled.remove_object, answer.settled.media_prefix)
            case None:
                raise DarkroomError(Kind.INTERNAL, "metadata_svc gave an outcome that this release does not know")

    async def renew(self, attempt: Attempt, lease: float) -> None:
        """See `Metadata`."""
        request = pb.RenewProcessingRequest(
            tenant_id=attempt.tenant_id, image_id=attempt.image_id, attempt=attempt.number, lease=duration(lease)
        )
        with translated(fenced=True):
            await grpc_client.call(self._stub.RenewProcessing, request, self._timeout)

    async def finish(self, attempt: Attempt, verdict: Verdict) -> None:
        """See `Metadata`."""
        request = pb.FinishProcessingRequest(
            tenant_id=attempt.tenant_id, image_id=attempt.image_id, attempt=attempt.number
        )
        if isinstance(verdict, Problem):
            request.rejected.CopyFrom(_problem(verdict))
        else:
            request.ready.CopyFrom(_ready(verdict))
        with translated(fenced=True):
            await self._finish(request, self._timeout)

    async def fail(self, attempt: Attempt, problem: Problem, *, final: bool) -> Retry | None:
        """See `Metadata`."""
        request = pb.FailProcessingRequest(
            tenant_id=attempt.tenant_id,
            image_id=attempt.image_id,
            attempt=attempt.number,
            problem=_problem(problem),
            final=final,
        )
        with translated(fenced=True):
            answer = await grpc_client.call(self._stub.FailProcessing, request, self._timeout)
        return Retry(_seconds(answer.retry_after)) if answer.state == pb.Image.PROCESSING else None

    async def hand_back(self, attempt: Attempt) -> None:
        """See `Metadata`."""
        request = pb.HandBackProcessingRequest(
            tenant_id=attempt.tenant_id, image_id=attempt.image_id, attempt=attempt.number
        )
        with translated(fenced=True):
            await grpc_client.call(self._stub.HandBackProcessing, request, self._timeout)

    async def begin_rendering(
        self, tenant_id: str, image_id: str, preset: str, lease: float
    ) -> Rendering | StoredVariant:
        """See `Metadata`."""
        request = pb.BeginRenderingRequest(tenant_id=tenant_id, image_id=image_id, preset=preset, lease=duration(lease))
        with translated():
            answer = await grpc_client.call(self._stub.BeginRendering, request, self._timeout)
        if answer.WhichOneof("outcome") == "variant":
            return _stored(answer.variant)
        rendering = answer.rendering
        return Rendering(
            attempt=Attempt(tenant_id, image_id, rendering.attempt),
            original_key=rendering.original_key,
            content_type=rendering.content_type,
            size=rendering.size,
            sha256=rendering.sha256,
            media_prefix=rendering.media_prefix,
        )

    async def record_variant(self, attempt: Attempt, variant: StoredVariant) -> StoredVariant:
        """See `Metadata`."""
        request = pb.RecordVariantRequest(
            tenant_id=attempt.tenant_id,
            image_id=attempt.image_id,
            attempt=attempt.number,
            variant=_variant(variant),
        )
        with translated(fenced=True):
            return _stored((await grpc_client.call(self._stub.RecordVariant, request, self._timeout)).variant)

    async def abandon(self, key: str, problem: Problem, sent_at: float) -> None:
        """See `Metadata`."""
        request = pb.AbandonProcessingRequest(key=key, problem=_problem(problem))
        if sent_at:
            request.sent_at.FromMicroseconds(int(sent_at * 1_000_000))
        with translated():
            await grpc_client.call(self._stub.AbandonProcessing, request, self._timeout)

    async def expire_upload(self, tenant_id: str, image_id: str) -> None:
        """See `Metadata`."""
        request = pb.ExpireUploadRequest(tenant_id=tenant_id, image_id=image_id)
        with translated(unknown_is_fine=True):
            await grpc_client.call(self._stub.ExpireUpload, request, self._timeout)

    async def record_original_removal(self, tenant_id: str, image_id: str) -> None:
        """See `Metadata`."""
        request = pb.RecordOriginalRemovalRequest(tenant_id=tenant_id, image_id=image_id)
        with translated(unknown_is_fine=True):
            await grpc_client.call(self._stub.RecordOriginalRemoval, request, self._timeout)

    async def record_purge(self, tenant_id: str, image_id: str) -> None:
        """See `Metadata`."""
        request = pb.RecordPurgeRequest(tenant_id=tenant_id, image_id=image_id)
        with translated(unknown_is_fine=True):
            await grpc_client.call(self._stub.RecordPurge, request, self._timeout)

    async def registered(self, tenant_id: str, image_id: str) -> Registered | None:
        """See `Metadata`."""
        request = pb.BatchGetImagesRequest(
            items=[pb.GetImageRequest(item_id=1, tenant_id=tenant_id, image_id=image_id)]
        )
        with translated():
            answer = await grpc_client.call(self._stub.BatchGetImages, request, self._timeout)
            result = answer.results[0]
            if result.WhichOneof("result") == "error":
                error = DarkroomError.from_status(result.error)
                if error.kind in {Kind.NOT_FOUND, Kind.GONE}:
                    return None
                raise error
        image = result.image
        return Registered(
            original_key=image.original_key,
            awaits_upload=image.state == pb.Image.AWAITING_UPLOAD,
            expired=image.state == pb.Image.EXPIRED,
            deleted=image.state == pb.Image.DELETED,
            original_removed=image.original_removed,
        )


@contextmanager
def translated(*, fenced: bool = False, unknown_is_fine: bool = False) -> Iterator[None]:
    """Turns a `DarkroomError` into what the ports promise. `fenced`: the call carries an attempt. `unknown_is_fine`:
    what is to be recorded of an image that does not exist any more needs no record.
    """
    try:
        yield
    except DarkroomError as error:
        if error.kind in _AWAY:
            raise Unreachable(f"metadata_svc: {error.detail}") from error
        if fenced and error.kind in _STALE:
            raise StaleAttempt(error.detail) from error
        if unknown_is_fine and error.kind in {Kind.NOT_FOUND, Kind.GONE}:
            return
        raise


def _ready(verdict: Ready) -> pb.Ready:
    facts = verdict.facts
    return pb.Ready(
        facts=pb.Facts(
            format=facts.format,
            width=facts.width,
            height=facts.height,
            frames=facts.frames,
            thumbhash=facts.thumbhash,
            color=facts.color,
            perceptual_hash=facts.perceptual_hash,
            sha256=verdict.sha256,
        ),
        variants=[_variant(variant) for variant in verdict.variants],
    )


def _before(job: pb.Job) -> Ready | None:
    if not job.HasField("facts"):
        return None
    facts = job.facts
    return Ready(
        facts=Facts(
            format=Format(facts.format),
            width=facts.width,
            height=facts.height,
            frames=facts.frames,
            thumbhash=facts.thumbhash,
            color=facts.color,
            perceptual_hash=facts.perceptual_hash,
        ),
        sha256=facts.sha256,
        variants=tuple(_stored(variant) for variant in job.variants),
    )


def _variant(variant: StoredVariant) -> pb.Variant:
    return pb.Variant(
        name=variant.name,
        key=variant.key,
        content_type=variant.content_type,
        width=variant.width,
        height=variant.height,
        size=variant.size,
    )


def _stored(variant: pb.Variant) -> StoredVariant:
    return StoredVariant(variant.name, variant.key, variant.content_type, variant.width, variant.height, variant.size)


def _problem(problem: Problem) -> pb.Problem:
    return pb.Problem(type=problem.type, title=problem.title, detail=problem.detail)


def duration(seconds: float) -> duration_pb2.Duration:
    """A length of time that is not negative."""
    return duration_pb2.Duration(seconds=int(seconds), nanos=int(seconds % 1 * 1_000_000_000))


def _seconds(duration: duration_pb2.Duration) -> float:
    return duration.seconds + duration.nanos / 1e9
