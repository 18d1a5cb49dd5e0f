"""Composition root of metadata_svc."""

from __future__ import annotations

import time
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

import grpc
from darkroom.metadata.v1 import metadata_pb2_grpc as rpc
from darkroom.metadata.v1 import reconcile_pb2_grpc as reconcile_rpc

from metadata_svc import migrate
from metadata_svc.adapters import statements
from metadata_svc.adapters.batches import SqlBatches
from metadata_svc.adapters.credentials import Logins, SecretLogins
from metadata_svc.adapters.database import Database, connected
from metadata_svc.adapters.images import all_images, own_images
from metadata_svc.adapters.publisher import AwsPublisher
from metadata_svc.adapters.reconciliation import SqlReconciliation
from metadata_svc.adapters.upkeep import SqlOutbox, SqlSweep
from metadata_svc.health import DatabaseWatch
from metadata_svc.ports import Publisher
from metadata_svc.relay import Relay
from metadata_svc.service import reconcile
from metadata_svc.service import servicer as requests
from metadata_svc.service.reconcile import ReconcileServicer
from metadata_svc.service.servicer import MetadataServicer
from metadata_svc.settings import Settings
from metadata_svc.sweeper import Sweeper
from runtime import aws, aws_http, lifecycle
from runtime.errors import DarkroomError
from runtime.grpc_server import serving
from runtime.settings import SettingsError, load

NAMES: Final = (requests.NAME, reconcile.NAME)


@dataclass(frozen=True, slots=True)
class Parts:
    """What the service consists of, apart from its server."""

    app: Database
    maintenance: Database
    servicer: MetadataServicer
    reconciler: ReconcileServicer
    relay: Relay
    sweeper: Sweeper

    def serve(self, server: grpc.aio.Server) -> None:
        """Adds what can be called to a server, under `NAMES`."""
        rpc.add_MetadataServiceServicer_to_server(self.servicer, server)
        reconcile_rpc.add_ReconcileServiceServicer_to_server(self.reconciler, server)


async def build(life: lifecycle.Lifecycle) -> None:
    """Builds the service. Raises `SettingsError` where a setting is wrong or the schema is older than this release."""
    session = aws.session()
    settings = await load(Settings, session)
    secrets = await aws.client(life.stack, session, "secretsmanager", settings, connections=2)
    # The relay sends one request at a time.
    sqs = await aws_http.opened(life.stack, session, "sqs", settings, connections=1)
    sns = await aws_http.opened(life.stack, session, "sns", settings, connections=1)
    parts = await assemble(
        life.stack,
        settings,
        app=SecretLogins(secrets, settings.app_database_secret),
        maintenance=SecretLogins(secrets, settings.maintenance_database_secret),
        publisher=AwsPublisher(sqs, sns, queue_url=settings.queue_url, topic_arn=settings.topic_arn),
    )
    life.background(parts.relay.run(), name="relay")
    life.background(parts.sweeper.run(), name="sweeper")
    server = await life.stack.enter_async_context(
        serving(
            host=settings.listen_host,
            port=settings.listen_port,
            names=list(NAMES),
            add=parts.serve,
            drain_seconds=settings.drain_seconds,
        )
    )

    async def ping(timeout: float) -> None:
        await parts.app.row("ping", timeout=timeout)
        for database in (parts.app, parts.maintenance):
            await database.unpark()

    watch = DatabaseWatch(
        ping,
        server.set_ready,
        interval=settings.health_interval_seconds,
        unready_after=settings.unready_after_seconds,
        clock=time.monotonic,
    )
    life.background(watch.run(), name="database watch")


async def assemble(
    stack: AsyncExitStack, settings: Settings, *, app: Logins, maintenance: Logins, publisher: Publisher
) -> Parts:
    """The service's parts on two pools that close with the stack. Crashes early where the schema is too old."""
    sql = statements.load()
    try:
        app_database = await stack.enter_async_context(
            connected(app, sql, settings.pool(settings.app_pool_size), name="metadata_svc app")
        )
        every_database = await stack.enter_async_context(
            connected(maintenance, sql, settings.pool(settings.maintenance_pool_size), name="metadata_svc maintenance")
        )
        await verify(every_database)
    except DarkroomError as error:
        raise SettingsError(f"metadata_svc: {error.detail}: {error.__cause__!r}") from error
    rules = settings.rules()
    request_life = timedelta(hours=settings.request_life_hours)
    relay = Relay(
        SqlOutbox(every_database, batch=settings.relay_batch, claim_seconds=settings.relay_claim_seconds),
        publisher,
        interval=settings.relay_interval_seconds,
        first_retry=settings.relay_first_retry_seconds,
        longest_retry=settings.relay_longest_retry_seconds,
    )
    sweeper = Sweeper(
        SqlSweep(
            every_database,
            batch=settings.sweep_batch,
            fold_batch=settings.fold_batch,
            reorder_after=rules.reorder_after,
        ),
        interval=settings.sweep_interval_seconds,
        fold_interval=settings.fold_interval_seconds,
        batch=settings.sweep_batch,
        wake=relay.wake,
    )
    servicer = MetadataServicer(
        batches=SqlBatches(app_database, every_database, request_life=request_life, grace=rules.upload_grace),
        own=own_images(app_database, relay.wake),
        every=all_images(every_database, relay.wake),
        rules=rules,
        max_items=settings.max_batch_items,
        page_size_default=settings.page_size_default,
        page_size_max=settings.page_size_max,
        similar_distance=settings.similar_distance,
    )
    reconciler = ReconcileServicer(
        SqlReconciliation(every_database),
        all_images(every_database, relay.wake),
        rules,
        rows=settings.reconcile_rows,
        max_items=settings.max_batch_items,
    )
    return Parts(app_database, every_database, servicer, reconciler, relay, sweeper)


async def verify(database: Database) -> None:
    """Raises `SettingsError` where the schema lacks a migration that this release needs before it runs."""
    needed = max(step.number for step in migrate.migrations() if step.phase == "pre")
    row = await database.row("schema_number")
    found = 0 if row is None else row["number"]
    if found < needed:
        raise SettingsError(
            f"metadata_svc: the schema is at migration {found}, this release needs {needed}: "
            "run `python -m metadata_svc.migrate` first"
        )


def main() -> None:
    """Runs the service until SIGTERM."""
    lifecycle.run(Settings.service, build)
