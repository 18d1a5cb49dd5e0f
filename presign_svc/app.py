"""Composition root of presign_svc."""

from __future__ import annotations

import time

from darkroom.presign.v1 import presign_pb2_grpc as rpc

from presign_svc.adapters.credentials import AwsCredentialSource
from presign_svc.domain.downloads import Windows
from presign_svc.domain.place import bucket
from presign_svc.domain.tickets import TicketLimits
from presign_svc.keeper import CredentialKeeper
from presign_svc.ports import CredentialsUnavailableError
from presign_svc.service import PresignServicer
from presign_svc.settings import Settings
from runtime import aws, lifecycle
from runtime.grpc_server import serving
from runtime.settings import SettingsError, load

SERVICE = "darkroom.presign.v1.PresignService"


async def build(life: lifecycle.Lifecycle) -> None:
    """Builds the service. Raises `SettingsError` where a setting is wrong or there are no credentials to sign with."""
    session = aws.session()
    settings = await load(Settings, session)
    keeper = CredentialKeeper(
        AwsCredentialSource(session, settings.aws_region),
        clock=time.time,
        lead=settings.credentials_lead_seconds,
        retry=settings.credentials_retry_seconds,
        timeout=settings.credentials_timeout_seconds,
    )
    try:
        await keeper.start()
    except CredentialsUnavailableError as error:
        raise SettingsError(f"presign_svc: no AWS credentials to sign with: {error}") from error
    life.background(keeper.run(), name="credentials")
    servicer = servicer_of(settings, keeper)
    await life.stack.enter_async_context(
        serving(
            host=settings.listen_host,
            port=settings.listen_port,
            names=[SERVICE],
            add=lambda server: rpc.add_PresignServiceServicer_to_server(servicer, server),
            drain_seconds=settings.drain_seconds,
        )
    )


def servicer_of(settings: Settings, keeper: CredentialKeeper) -> PresignServicer:
    """The servicer that the settings describe."""
    endpoint = settings.s3_public_endpoint_url or settings.aws_endpoint_url
    incoming, media = (
        bucket(name, region=settings.aws_region, endpoint=endpoint, style=settings.s3_addressing_style)
        for name in (settings.incoming_bucket, settings.media_bucket)
    )
    return PresignServicer(
        credentials=lambda: keeper.current,
        clock=time.time,
        region=settings.aws_region,
        incoming=incoming,
        media=media,
        limits=TicketLimits(
            default_life=settings.ticket_seconds,
            shortest_life=settings.shortest_ticket_seconds,
            longest_life=settings.longest_ticket_seconds,
            largest_size=settings.largest_put_bytes,
            retry_after=settings.credentials_retry_seconds,
        ),
        windows=Windows(
            settings.download_window_seconds,
            shortest_life=settings.shortest_ticket_seconds,
            retry_after=settings.credentials_retry_seconds,
        ),
        max_items=settings.max_batch_items,
    )


def main() -> None:
    """Runs the service until SIGTERM."""
    lifecycle.run(Settings.service, build)
