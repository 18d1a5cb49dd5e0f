"""The worker-facing calls. Each reads an image, asks the domain, and writes its decision."""

# ruff: noqa: N802  # methods are named as the RPCs

from __future__ import annotations

from datetime import UTC
from typing import Any
from uuid import UUID

import grpc
import structlog
from darkroom.metadata.v1 import metadata_pb2 as pb

from metadata_svc.domain import processing, rendering
from metadata_svc.domain.image import State, Variant
from metadata_svc.domain.keys import media_prefix, original_key, parse_original_key
from metadata_svc.domain.rules import Rules, jitter
from metadata_svc.ports import ImageStore
from metadata_svc.service import checks
from metadata_svc.service.messages import (
    duration,
    facts_message,
    facts_of,
    problem_of,
    timedelta_of,
    variant_message,
    variant_of,
)
from metadata_svc.transitions import decide
from runtime.errors import DarkroomError, Kind

_log = structlog.get_logger(__name__)

Context = grpc.aio.ServicerContext[Any, Any]


class WorkerCalls:
    """BeginProcessing to RecordPurge."""

    def __init__(self, store: ImageStore, rules: Rules) -> None:
        self._every = store
        self._rules = rules

    async def BeginProcessing(self, request: pb.BeginProcessingRequest, context: Context) -> pb.BeginProcessingResponse:
        """See the proto."""
        lease = timedelta_of(request.lease, "/lease")
        named = parse_original_key(request.key)
        if named is None:
            return pb.BeginProcessingResponse(settled=pb.Settled(remove_object=True))
        tenant_id, image_id = str(named[0]), str(named[1])
        outcome = await decide(
            self._every,
            *named,
            lambda r: processing.begin(r.image, r.now, lease, self._rules, r.policy),
            context.time_remaining(),
        )
        if isinstance(outcome, processing.Busy):
            return pb.BeginProcessingResponse(busy=pb.Busy(retry_after=duration(outcome.retry_after)))
        prefix = media_prefix(tenant_id, image_id)
        if isinstance(outcome, processing.Settled):
            settled = pb.Settled(
                remove_object=outcome.remove_object,
                tenant_id=tenant_id,
                image_id=image_id,
                media_prefix=prefix if outcome.purge else "",
            )
            return pb.BeginProcessingResponse(settled=settled)
        image = outcome.image
        _log.info("attempt begun", tenant_id=tenant_id, image_id=image_id, attempt=image.attempt)
        job = pb.Job(
            attempt=image.attempt,
            tenant_id=tenant_id,
            image_id=image_id,
            content_type=image.content_type,
            size=image.size,
            sha256=image.sha256,
            presets=image.presets,
            media_prefix=prefix,
            traceparent=image.traceparent,
            variants=map(variant_message, image.variants),
            facts=None if image.facts is None else facts_message(image.facts, image.sha256),
        )
        return pb.BeginProcessingResponse(job=job)

    async def RenewProcessing(self, request: pb.RenewProcessingRequest, context: Context) -> pb.RenewProcessingResponse:
        """See the proto."""
        lease = timedelta_of(request.lease, "/lease")
        await decide(
            self._every,
            *_ids(request),
            lambda r: processing.renew(r.image, request.attempt, r.now, lease, self._rules),
            context.time_remaining(),
        )
        return pb.RenewProcessingResponse()

    async def FinishProcessing(
        self, request: pb.FinishProcessingRequest, context: Context
    ) -> pb.FinishProcessingResponse:
        """See the proto."""
        which = request.WhichOneof("verdict")
        if which is None:
            raise DarkroomError(Kind.MALFORMED, "no verdict", pointer="/verdict")
        verdict: processing.Verdict
        if which == "ready":
            facts = facts_of(request.ready.facts)
            verdict = processing.Ready(facts, tuple(variant_of(variant) for variant in request.ready.variants))
        else:
            verdict = problem_of(request.rejected)
        state = await decide(
            self._every,
            *_ids(request),
            lambda r: processing.finish(r.image, request.attempt, verdict, r.now, rules=self._rules, policy=r.policy),
            context.time_remaining(),
        )
        self._settled(request, state)
        return pb.FinishProcessingResponse(state=_state(state))

    async def FailProcessing(self, request: pb.FailProcessingRequest, context: Context) -> pb.FailProcessingResponse:
        """See the proto."""
        problem = problem_of(request.problem)
        spread = jitter()
        outcome = await decide(
            self._every,
            *_ids(request),
            lambda r: processing.fail(
                r.image,
                request.attempt,
                problem,
                r.now,
                final=request.final,
                jitter=spread,
                rules=self._rules,
                policy=r.policy,
            ),
            context.time_remaining(),
        )
        self._settled(request, outcome.state)
        response = pb.FailProcessingResponse(state=_state(outcome.state))
        if outcome.retry_after is not None:
            response.retry_after.CopyFrom(duration(outcome.retry_after))
        return response

    async def HandBackProcessing(
        self, request: pb.HandBackProcessingRequest, context: Context
    ) -> pb.HandBackProcessingResponse:
        """See the proto."""
        await decide(
            self._every,
            *_ids(request),
            lambda r: processing.hand_back(r.image, request.attempt, r.now, self._rules),
            context.time_remaining(),
        )
        return pb.HandBackProcessingResponse()

    async def BeginRendering(self, request: pb.BeginRenderingRequest, context: Context) -> pb.BeginRenderingResponse:
        """See the proto."""
        lease = timedelta_of(request.lease, "/lease")
        outcome = await decide(
            self._every,
            *_ids(request),
            lambda r: rendering.begin_rendering(r.image, request.preset, r.now, lease),
            context.time_remaining(),
        )
        if isinstance(outcome, Variant):
            return pb.BeginRenderingResponse(variant=variant_message(outcome))
        image = outcome.image
        return pb.BeginRenderingResponse(
            rendering=pb.Rendering(
                attempt=image.attempt,
                original_key=original_key(image.tenant_id, image.id),
                content_type=image.content_type,
                size=image.size,
                sha256=image.sha256,
                media_prefix=media_prefix(image.tenant_id, image.id),
            )
        )

    async def RecordVariant(self, request: pb.RecordVariantRequest, context: Context) -> pb.RecordVariantResponse:
        """See the proto."""
        made = variant_of(request.variant)
        variant = await decide(
            self._every,
            *_ids(request),
            lambda r: rendering.record_variant(r.image, request.attempt, made, r.now),
            context.time_remaining(),
        )
        _log.info("variant added", tenant_id=request.tenant_id, image_id=request.image_id, variant=variant.name)
        return pb.RecordVariantResponse(variant=variant_message(variant))

    async def AbandonProcessing(
        self, request: pb.AbandonProcessingRequest, context: Context
    ) -> pb.AbandonProcessingResponse:
        """See the proto."""
        named = parse_original_key(request.key)
        if named is None:
            return pb.AbandonProcessingResponse()
        problem = problem_of(request.problem)
        sent_at = request.sent_at.ToDatetime(tzinfo=UTC) if request.HasField("sent_at") else None
        state = await decide(
            self._every,
            *named,
            lambda r: processing.abandon(r.image, problem, r.now, sent_at=sent_at, rules=self._rules, policy=r.policy),
            context.time_remaining(),
        )
        return pb.AbandonProcessingResponse(state=pb.Image.STATE_UNSPECIFIED if state is None else _state(state))

    async def ExpireUpload(self, request: pb.ExpireUploadRequest, context: Context) -> pb.ExpireUploadResponse:
        """See the proto."""
        state = await decide(
            self._every, *_ids(request), lambda r: processing.expire(r.image, r.now), context.time_remaining()
        )
        return pb.ExpireUploadResponse(state=_state(state))

    async def RecordOriginalRemoval(
        self, request: pb.RecordOriginalRemovalRequest, context: Context
    ) -> pb.RecordOriginalRemovalResponse:
        """See the proto."""
        await decide(
            self._every,
            *_ids(request),
            lambda r: processing.record_original_removal(r.image, r.now),
            context.time_remaining(),
        )
        return pb.RecordOriginalRemovalResponse()

    async def RecordPurge(self, request: pb.RecordPurgeRequest, context: Context) -> pb.RecordPurgeResponse:
        """See the proto."""
        await decide(
            self._every,
            *_ids(request),
            lambda r: processing.record_purge(r.image, r.now, self._rules),
            context.time_remaining(),
        )
        _log.info("image purged", tenant_id=request.tenant_id, image_id=request.image_id)
        return pb.RecordPurgeResponse()

    @staticmethod
    def _settled(request: pb.FinishProcessingRequest | pb.FailProcessingRequest, state: State) -> None:
        _log.info(
            "attempt ended",
            tenant_id=request.tenant_id,
            image_id=request.image_id,
            attempt=request.attempt,
            state=state.name,
        )


_Named = (
    pb.RenewProcessingRequest
    | pb.FinishProcessingRequest
    | pb.FailProcessingRequest
    | pb.HandBackProcessingRequest
    | pb.BeginRenderingRequest
    | pb.RecordVariantRequest
    | pb.ExpireUploadRequest
    | pb.RecordOriginalRemovalRequest
    | pb.RecordPurgeRequest
)


def _ids(request: _Named) -> tuple[UUID, UUID]:
    """Tenant and image. An id out of form is no image's."""
    if not checks.is_uuid(request.tenant_id) or not checks.is_uuid(request.image_id):
        raise DarkroomError(Kind.NOT_FOUND, "no such image")
    return UUID(request.tenant_id), UUID(request.image_id)


def _state(state: State) -> pb.Image.State.ValueType:
    return pb.Image.State.ValueType(state)
