"""The reconciler's command on real buckets and a real database: what is planted in either direction is found once."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import sys
import uuid
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import msgspec
from aiobotocore.session import get_session
from darkroom.metadata.v1 import metadata_pb2 as pb

from image_svc.pipeline.presets import default_presets
from image_svc.reconcile.app import reconciler
from image_svc.reconcile.settings import ReconcileSettings
from runtime import grpc_client
from tests.support.eventually import eventually
from tests.support.image_stack import ROOT, Stack
from tests.support.pictures import picture

NAMES = [preset.name for preset in default_presets() if preset.eager]
# Seconds. What is planted is left to become older than this before it is looked for.
MINIMUM_AGE = 1.0
NOTHING = {
    "originals_removed": 0,
    "variants_removed": 0,
    "versions_removed": 0,
    "uploads_aborted": 0,
    "ordered": 0,
    "remade": 0,
    "forgotten": 0,
}


@dataclass
class Reconcile:
    """The reconciler on the stack's buckets, queue and metadata_svc."""

    running: Stack

    def settings(self, settings: dict[str, Any]) -> dict[str, Any]:
        return {
            "incoming_bucket": self.running.place.incoming,
            "media_bucket": self.running.place.media,
            "queue_url": self.running.place.queue_url,
            "metadata_target": f"ipv4:127.0.0.1:{self.running.metadata_port}",
            "reconcile_minimum_age_seconds": MINIMUM_AGE,
            "reconcile_page": 3,
            **settings,
        }

    async def __call__(self, *, dry_run: bool = False, deletions: int | None = None, **settings: Any) -> dict[str, Any]:
        """One run in this process; its report."""
        place: dict[str, Any] = {
            "AWS_ENDPOINT_URL": self.running.localstack.endpoint_url,
            "S3_ADDRESSING_STYLE": "path",
        }
        own = ReconcileSettings(**place, **self.settings(settings))
        async with AsyncExitStack() as stack:
            run = await reconciler(stack, get_session(), own, deletions=deletions, dry_run=dry_run)
            report = await run.run()
        return {**dataclasses.asdict(report), "found": report.found}

    async def start(self, *arguments: str, **settings: Any) -> asyncio.subprocess.Process:
        """The command, as ECS runs it."""
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "image_svc.reconcile",
            *arguments,
            cwd=ROOT,
            env={
                "PATH": os.environ["PATH"],
                "PYTHONPATH": f"{ROOT}:{ROOT / 'protos'}",
                **self.running.localstack.environment,
                **{f"IMAGE_SVC_{name.upper()}": str(value) for name, value in self.settings(settings).items()},
            },
            stderr=asyncio.subprocess.PIPE,
        )

    async def command(self, *arguments: str, status: int = 0, **settings: Any) -> dict[str, Any]:
        """Runs it to its end; the line that it ends with."""
        process = await self.start(*arguments, **settings)
        _, log = await asyncio.wait_for(process.communicate(), 60)
        assert process.returncode == status, log.decode()
        lines = [msgspec.json.decode(line) for line in log.splitlines() if line.startswith(b"{")]
        report: dict[str, Any]
        (report,) = [line for line in lines if line["event"] == "reconciled"]
        return report

    async def until_old(self) -> None:
        """Waits until everything so far is older than the minimum age."""
        await asyncio.sleep(MINIMUM_AGE + 0.2)


def found(report: dict[str, Any]) -> dict[str, int]:
    """What a run found, by kind, without the kinds of which there was nothing."""
    kinds = {kind: report[kind] for kind in NOTHING}
    assert report["found"] == sum(kinds.values())
    return {kind: count for kind, count in kinds.items() if count}


async def put(running: Stack, bucket: str, key: str, body: bytes = b"orphan") -> None:
    await running.place.s3.put_object(Bucket=bucket, Key=key, Body=body)


async def lose(running: Stack, bucket: str, key: str) -> None:
    """Every version of an object, as if it had never been."""
    for version in await running.place.keys(bucket, key):
        key_, _, id_ = version.partition("@")
        await running.place.s3.delete_object(Bucket=bucket, Key=key_, VersionId=id_)


async def deafen(running: Stack) -> None:
    """From now on S3 tells nobody of uploads."""
    await running.place.s3.put_bucket_notification_configuration(
        Bucket=running.place.incoming, NotificationConfiguration={}
    )


async def state(running: Stack, image: pb.Image, name: str) -> None:
    await running.owner.execute(
        "UPDATE darkroom.images SET state = $2, due_at = NULL WHERE id = $1",
        uuid.UUID(image.id),
        pb.Image.State.Value(name),
    )


async def older_rows(running: Stack, *images: pb.Image) -> None:
    """Two hours pass for these rows: no URL that was signed before their last change is good any more."""
    await running.owner.execute(
        "UPDATE darkroom.images SET updated_at = updated_at - interval '2 hours' WHERE id = ANY ($1)",
        [uuid.UUID(image.id) for image in images],
    )


async def everything(running: Stack) -> dict[str, str]:
    place = running.place
    return await place.keys(place.incoming) | await place.keys(place.media)


async def test_a_sound_system_is_left_as_it_is(running: Stack) -> None:
    worker = await running.worker()
    images = await running.settled([await running.upload(picture(seed=seed)) for seed in range(4)])
    rejected = await running.upload(b"no picture" * 20)
    await running.settled([rejected])
    waiting = await running.register(picture(seed=5))
    await Reconcile(running).until_old()
    await older_rows(running, *images, rejected, waiting)
    before = await everything(running)
    report = await Reconcile(running)()
    assert found(report) == {}
    assert report["versions"] == len(before) == 4 + 1 + 4 * len(NAMES)
    assert await everything(running) == before
    assert worker.process.returncode is None


async def test_objects_that_no_row_needs_are_removed_and_another_run_finds_none(running: Stack) -> None:
    place, tenant = running.place, running.tenant_id
    worker = await running.worker()
    good = await running.upload(picture(seed=1))
    expired, deleted, removed = [await running.register(picture(seed=2)) for _ in range(3)]
    (good,) = await running.settled([good])
    await deafen(running)
    await state(running, expired, "EXPIRED")
    request = pb.DeleteImageRequest(tenant_id=tenant, image_id=deleted.id)
    await grpc_client.call(running.stub.DeleteImage, request, 5)
    await running.owner.execute(
        "UPDATE darkroom.images SET state = 4, original_removed_at = now() WHERE id = $1", uuid.UUID(removed.id)
    )
    await worker.stop()  # so that what is planted is not purged by anybody else
    other, unknown = str(uuid.uuid4()), str(uuid.uuid4())
    originals = [
        expired.original_key,
        deleted.original_key,
        removed.original_key,
        f"incoming/{tenant}/{unknown}",
        f"incoming/{other}/{good.id}",  # the right image, and not its tenant
        f"incoming/{tenant}/{good.id}.tmp",
        "incoming/who knows",
    ]
    variants = [
        f"media/{tenant}/{expired.id}/thumb.0.webp",
        f"media/{tenant}/{deleted.id}/thumb.0.webp",
        f"media/{tenant}/{unknown}/thumb.0.webp",
        f"media/{other}/{good.id}/{good.variants[0].key.rpartition('/')[2]}",
        f"media/{tenant}/{good.id}",
        "media/who knows",
    ]
    kept = await everything(running)
    for key in originals:
        await put(running, place.incoming, key)
    for key in variants:
        await put(running, place.media, key)
    reconcile = Reconcile(running)
    await reconcile.until_old()

    expectation = {"originals_removed": len(originals), "variants_removed": len(variants)}
    planted = await everything(running)
    dry = await reconcile(dry_run=True)
    assert found(dry) == expectation
    assert await everything(running) == planted, "a dry run changes nothing"
    assert found(await reconcile()) == expectation
    assert await everything(running) == kept
    assert found(await reconcile()) == {}
    assert (await running.get(good.id)).state == pb.Image.READY


async def test_old_versions_and_what_hides_a_kept_object_are_removed(running: Stack) -> None:
    place = running.place
    await running.worker()
    content = picture(seed=3)
    twice, hidden, dropped = await running.settled([await running.upload(content) for _ in range(3)])
    await deafen(running)
    kept = await everything(running)
    again = twice.variants[0].key
    await put(running, place.media, again, (await place.variants(again))[again])
    await place.s3.delete_object(Bucket=place.incoming, Key=hidden.original_key)
    await place.s3.delete_object(Bucket=place.media, Key=hidden.variants[1].key)
    # A marker above nothing, as an image leaves that is gone.
    bare = f"incoming/{running.tenant_id}/{uuid.uuid4()}"
    await place.s3.delete_object(Bucket=place.incoming, Key=bare)
    reconcile = Reconcile(running)
    await reconcile.until_old()
    assert found(await reconcile()) == {"versions_removed": 4}
    after = await everything(running)
    assert set(after.values()) == set(kept.values())
    assert len(after) == len(kept)
    assert (await place.variants(hidden.variants[1].key)).keys() == {hidden.variants[1].key}
    answer = await place.s3.get_object(Bucket=place.incoming, Key=hidden.original_key)
    assert await answer["Body"].read() == content
    assert found(await reconcile()) == {}
    assert (await running.get(dropped.id)).state == pb.Image.READY


async def test_variants_of_an_older_fingerprint_go_when_no_url_can_name_them_any_more(running: Stack) -> None:
    place = running.place
    await running.worker()
    fresh, stale = await running.settled([await running.upload(picture(seed=4)) for _ in range(2)])
    kept = await everything(running)
    olds = []
    for image in (fresh, stale):
        prefix = f"media/{running.tenant_id}/{image.id}/"
        olds.append(f"{prefix}thumb.0123456789abcdef.webp")
        await put(running, place.media, olds[-1])
    await older_rows(running, stale)
    reconcile = Reconcile(running)
    await reconcile.until_old()
    assert found(await reconcile()) == {"variants_removed": 1}
    assert await place.keys(place.media, olds[0])
    assert not await place.keys(place.media, olds[1])
    await older_rows(running, fresh)
    assert found(await reconcile()) == {"variants_removed": 1}
    assert await everything(running) == kept
    assert found(await reconcile()) == {}


async def test_an_upload_whose_event_was_lost_is_processed(running: Stack) -> None:
    await running.worker()
    await deafen(running)
    content = picture(seed=5)
    lost = [await running.upload(content) for _ in range(3)]
    reconcile = Reconcile(running)
    await reconcile.until_old()
    assert found(await reconcile(dry_run=True)) == {"ordered": 3}
    assert {(await running.get(image.id)).state for image in lost} == {pb.Image.AWAITING_UPLOAD}
    assert found(await reconcile(reconcile_backlog=0)) == {"ordered": 3}
    assert {image.state for image in await running.settled(lost)} == {pb.Image.READY}
    assert found(await reconcile()) == {}


async def test_nothing_is_ordered_while_the_queue_is_long(running: Stack) -> None:
    await deafen(running)
    await running.upload(picture(seed=5))
    for _ in range(3):
        await running.place.queue.send("a message that waits")
    reconcile = Reconcile(running)
    await reconcile.until_old()
    waiting, _ = await running.place.depth()
    assert waiting >= 3
    assert found(await reconcile(reconcile_backlog=waiting - 1)) == {}
    assert found(await reconcile(reconcile_backlog=waiting)) == {"ordered": 1}


async def test_variants_that_are_lost_are_made_again_as_they_were(running: Stack) -> None:
    place = running.place
    await running.worker()
    images = await running.settled([await running.upload(picture(seed=seed)) for seed in (6, 7)])
    before = await place.variants("")
    for variant in images[0].variants:
        await lose(running, place.media, variant.key)
    await lose(running, place.media, images[1].variants[2].key)
    reconcile = Reconcile(running)
    await reconcile.until_old()
    assert found(await reconcile(dry_run=True)) == {"remade": 2}
    assert found(await reconcile()) == {"remade": 2}

    async def ready() -> bool:
        return {(await running.get(image.id)).state for image in images} == {pb.Image.READY}

    await eventually(ready, within=30)
    assert await place.variants("") == before
    assert [(await running.get(image.id)).variants for image in images] == [image.variants for image in images]
    await reconcile.until_old()
    assert found(await reconcile()) == {}


async def test_what_nothing_can_bring_back_is_named_by_no_row_any_more(running: Stack) -> None:
    place = running.place
    await running.worker()
    whole, partly = await running.settled([await running.upload(picture(seed=seed)) for seed in (8, 9)])
    await lose(running, place.incoming, whole.original_key)
    await lose(running, place.incoming, partly.original_key)
    await running.owner.execute(
        "UPDATE darkroom.images SET original_removed_at = now() WHERE id = $1", uuid.UUID(partly.id)
    )
    lost = partly.variants[0]
    await lose(running, place.media, lost.key)
    reconcile = Reconcile(running)
    await reconcile.until_old()
    assert found(await reconcile()) == {"forgotten": 2}
    assert (await running.get(whole.id)).original_removed
    assert len((await running.get(whole.id)).variants) == len(NAMES)
    now = await running.get(partly.id)
    assert now.state == pb.Image.READY
    assert {one.name for one in now.variants} == set(NAMES) - {lost.name}
    await reconcile.until_old()
    assert found(await reconcile()) == {}


async def test_a_multipart_upload_that_nobody_can_complete_is_aborted(running: Stack) -> None:
    place = running.place

    async def begin(key: str) -> str:
        answer = await place.s3.create_multipart_upload(Bucket=place.incoming, Key=key)
        return str(answer["UploadId"])

    async def begun() -> set[str]:
        return {
            one["UploadId"] for one in (await place.s3.list_multipart_uploads(Bucket=place.incoming)).get("Uploads", ())
        }

    waiting, late, expired = [await running.register(picture(seed=1), upload_method=2) for _ in range(3)]
    await state(running, expired, "EXPIRED")
    await running.owner.execute(
        "UPDATE darkroom.images SET upload_expires_at = now() - interval '1 day', due_at = NULL WHERE id = $1",
        uuid.UUID(late.id),
    )
    kept = await begin(waiting.original_key)
    keys = [late.original_key, expired.original_key, f"incoming/{running.tenant_id}/{uuid.uuid4()}", "incoming/x"]
    for key in keys:
        await begin(key)
    reconcile = Reconcile(running)
    await reconcile.until_old()
    assert found(await reconcile(dry_run=True)) == {"uploads_aborted": len(keys)}
    assert len(await begun()) == len(keys) + 1
    assert found(await reconcile()) == {"uploads_aborted": len(keys)}
    assert await begun() == {kept}
    assert found(await reconcile()) == {}


async def test_what_is_young_is_left_alone(running: Stack) -> None:
    place, tenant = running.place, running.tenant_id
    await running.worker()
    (image,) = await running.settled([await running.upload(picture(seed=2))])
    await deafen(running)
    await running.upload(picture(seed=3))
    await put(running, place.incoming, f"incoming/{tenant}/{uuid.uuid4()}")
    await put(running, place.media, f"media/{tenant}/{uuid.uuid4()}/thumb.0.webp")
    await put(running, place.media, image.variants[1].key)
    await place.s3.create_multipart_upload(Bucket=place.incoming, Key=f"incoming/{tenant}/{uuid.uuid4()}")
    await lose(running, place.media, image.variants[0].key)
    before = await everything(running)
    assert found(await Reconcile(running)(reconcile_minimum_age_seconds=600)) == {}
    assert await everything(running) == before


async def test_more_removals_than_the_budget_stop_the_run_and_fail_it(running: Stack) -> None:
    place, tenant = running.place, running.tenant_id
    for _ in range(7):
        await put(running, place.media, f"media/{tenant}/{uuid.uuid4()}/thumb.0.webp")
    reconcile = Reconcile(running)
    await reconcile.until_old()
    report = await reconcile.command(status=1, reconcile_deletions=5)
    assert report["stopped"] == "more than 5 removals would be needed"
    left = len(await everything(running))
    assert 2 <= left <= 7
    dry = await reconcile.command("--dry-run", "--deletions", "7", reconcile_deletions=0)
    assert found(dry) == {"variants_removed": left}
    assert found(await reconcile(deletions=7, reconcile_deletions=0)) == {"variants_removed": left}
    assert await everything(running) == {}


async def test_a_wrong_media_bucket_neither_empties_nor_remakes_everything(running: Stack) -> None:
    place = running.place
    await running.worker()
    images = await running.settled([await running.upload(picture(seed=seed)) for seed in range(4)])
    reconcile = Reconcile(running)
    await reconcile.until_old()
    report = await reconcile(media_bucket=place.incoming, reconcile_repairs=0)
    assert "name objects that are not there" in report["stopped"]
    assert {(await running.get(image.id)).state for image in images} == {pb.Image.READY}
    assert found(await reconcile()) == {}


async def test_a_run_that_is_killed_in_the_middle_is_finished_by_the_next(running: Stack) -> None:
    place, tenant = running.place, running.tenant_id
    await running.worker()
    (image,) = await running.settled([await running.upload(picture(seed=4))])
    kept = await everything(running)
    planted = 40
    for _ in range(planted):
        await put(running, place.media, f"media/{tenant}/{uuid.uuid4()}/thumb.0.webp")
    reconcile = Reconcile(running)
    await reconcile.until_old()
    process = await reconcile.start(reconcile_rate=20)

    async def some_are_gone() -> bool:
        return len(await everything(running)) < len(kept) + planted

    await eventually(some_are_gone, within=30)
    process.kill()
    await process.wait()
    left = len(await everything(running)) - len(kept)
    assert 0 < left < planted
    assert found(await reconcile()) == {"variants_removed": left}
    assert await everything(running) == kept
    assert found(await reconcile()) == {}
    assert (await running.get(image.id)).state == pb.Image.READY


async def test_a_run_that_is_told_to_stop_ends_at_once_with_status_one(running: Stack) -> None:
    for _ in range(20):
        await put(running, running.place.media, f"media/{running.tenant_id}/{uuid.uuid4()}/thumb.0.webp")
    process = await Reconcile(running).start("--dry-run", reconcile_rate=1)
    assert process.stderr is not None
    await asyncio.sleep(3)
    process.terminate()
    assert await asyncio.wait_for(process.wait(), 10) == 1
    assert b"told to stop" in await process.stderr.read()
