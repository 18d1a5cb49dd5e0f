"""Composition root of the command, which runs once: status 0 when all was compared, 1 when not."""

from __future__ import annotations

import argparse
import dataclasses
import sys
import time
from contextlib import AsyncExitStack
from functools import partial

import structlog
from aiobotocore.session import AioSession

from image_svc.adapters import judge as judge_adapter
from image_svc.adapters import s3 as s3_adapter
from image_svc.adapters import tasks
from image_svc.adapters.inventory import S3Inventory
from image_svc.adapters.judge import GrpcJudge
from image_svc.adapters.sqs import SqsQueue
from image_svc.ports import Unreachable
from image_svc.reconcile.compare import Reconciler
from image_svc.reconcile.settings import ReconcileSettings
from runtime import aws, aws_http, lifecycle
from runtime.settings import SettingsError, load

_log = structlog.get_logger(__name__)


async def reconciler(
    stack: AsyncExitStack, session: AioSession, settings: ReconcileSettings, *, deletions: int | None, dry_run: bool
) -> Reconciler:
    """A run on clients that close with the stack. Raises `SettingsError` for what cannot be used."""
    s3 = await aws.client(
        stack, session, "s3", settings, connections=2, also=s3_adapter.config(settings.s3_addressing_style)
    )
    sqs = await aws_http.opened(stack, session, "sqs", settings, connections=1)
    inventory = S3Inventory(s3, incoming_bucket=settings.incoming_bucket, media_bucket=settings.media_bucket)
    queue = SqsQueue(sqs, settings.queue_url)
    for resource in (inventory, queue):
        try:
            await resource.verify()
        except (LookupError, Unreachable) as error:
            raise SettingsError(f"image_svc: {error}") from error
    try:
        target = await tasks.resolved(session, settings, settings.metadata_target)
    except (ValueError, Unreachable) as error:
        raise SettingsError(f"image_svc: {error}") from error
    judge = GrpcJudge(await judge_adapter.channel(stack, target), settings.reconcile_rpc_seconds)
    return Reconciler(inventory, judge, queue, settings.limits(deletions), dry_run=dry_run)


async def _run(options: argparse.Namespace, stack: AsyncExitStack) -> bool:
    started = time.monotonic()
    session = aws.session()
    settings = await load(ReconcileSettings, session)
    run = await reconciler(stack, session, settings, deletions=options.deletions, dry_run=options.dry_run)
    try:
        report = await run.run()
    except Unreachable as error:
        report = run.report
        report.stopped = str(error)
    say = _log.error if report.stopped else _log.info
    say(
        "reconciled",
        found=report.found,
        **dataclasses.asdict(report),
        seconds=round(time.monotonic() - started, 1),
    )
    return not report.stopped


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        prog="python -m image_svc.reconcile",
        description="Compares the buckets with the rows, and puts right what differs.",
    )
    parser.add_argument("--dry-run", action="store_true", help="look and count, change nothing")
    parser.add_argument(
        "--deletions", type=int, metavar="N", help="removals at most (default: the setting reconcile_deletions)"
    )
    sys.exit(lifecycle.once("image_svc", partial(_run, parser.parse_args())))
