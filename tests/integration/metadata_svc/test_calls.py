"""Keys, request rates, tags and the edges of the worker-facing calls."""

from __future__ import annotations

import asyncio
import hashlib
import uuid
from typing import Any

import pytest
from darkroom.metadata.v1 import metadata_pb2 as pb

from metadata_svc.adapters import statements
from metadata_svc.adapters.api_gateway import NoGatewayKeys
from metadata_svc.adapters.credentials import FixedLogin
from metadata_svc.adapters.database import connected
from metadata_svc.adapters.directory import Directory
from metadata_svc.admin import Admin, AdminError
from metadata_svc.domain.api_key import KeyKind, NewKey
from runtime.errors import DarkroomError, Kind
from tests.support.metadata import Metadata, seconds, settings_for_tests


async def new_key(metadata: Metadata, tenant: str, kind: KeyKind = KeyKind.SECRET, *scopes: str) -> tuple[str, bytes]:
    """Id and secret hash of a key that the admin command made."""
    options = settings_for_tests().pool(1)
    login = FixedLogin(metadata.database.maintenance_url)
    async with connected(login, statements.load(), options, name="test") as database:
        made = await Admin(Directory(database), NoGatewayKeys()).create_key(tenant, kind, list(scopes))
    _, key_id, secret = made["api_key"].split("_", 2)
    assert key_id == made["id"]
    return key_id, hashlib.sha256(secret.encode()).digest()


async def authenticate(metadata: Metadata, *keys: tuple[str, bytes]) -> list[pb.AuthenticateResult]:
    items = [
        pb.AuthenticateRequest(item_id=number, key_id=key_id, secret_sha256=digest)
        for number, (key_id, digest) in enumerate(keys)
    ]
    response = await metadata.call("BatchAuthenticate", pb.BatchAuthenticateRequest(items=items))
    return sorted(response.results, key=lambda result: int(result.item_id))


async def test_a_key_gives_its_tenant_scopes_and_limits(metadata: Metadata) -> None:
    tenant = await metadata.tenant(max_images=7, requests_per_second=42)
    key = await new_key(metadata, tenant, KeyKind.SECRET, "images:read", "images:write")
    publishable = await new_key(metadata, tenant, KeyKind.PUBLISHABLE)
    one, two = await authenticate(metadata, key, publishable)
    assert (one.credential.tenant_id, one.credential.kind) == (tenant, pb.Credential.SECRET)
    assert list(one.credential.scopes) == ["images:write", "images:read"]
    assert (one.credential.limits.max_images, one.credential.limits.requests_per_second) == (7, 42)
    assert (two.credential.kind, list(two.credential.scopes)) == (pb.Credential.PUBLISHABLE, [])


async def test_a_wrong_secret_an_unknown_key_and_a_revoked_one_get_the_same_answer(metadata: Metadata) -> None:
    tenant = await metadata.tenant()
    good = await new_key(metadata, tenant, KeyKind.SECRET, "admin")
    revoked = await new_key(metadata, tenant, KeyKind.SECRET, "admin")
    await metadata.owner.execute("UPDATE darkroom.api_keys SET revoked_at = now() WHERE id = $1", revoked[0])
    wrong: list[tuple[str, bytes]] = [
        (good[0], bytes(32)),
        (good[0], b""),
        (good[0], good[1][:-1]),
        ("a" * 16, good[1]),
        ("x\x00", good[1]),
        ("", b""),
        ("ü" * 16, bytes(32)),
        revoked,
    ]
    results = await authenticate(metadata, good, *wrong)
    assert results[0].HasField("credential")
    errors = {(result.error.code, result.error.message) for result in results[1:]}
    assert len(errors) == 1
    assert DarkroomError.from_status(results[1].error).kind is Kind.UNAUTHENTICATED


class BrokenGateway(NoGatewayKeys):
    """An API Gateway that refuses every key."""

    async def create(self, _key: NewKey) -> str | None:
        raise ConnectionError("API Gateway is away")


async def test_a_key_that_api_gateway_refuses_is_revoked_again(metadata: Metadata) -> None:
    tenant = await metadata.tenant()
    options = settings_for_tests().pool(1)
    login = FixedLogin(metadata.database.maintenance_url)
    async with connected(login, statements.load(), options, name="test") as database:
        with pytest.raises(ConnectionError):
            await Admin(Directory(database), BrokenGateway()).create_key(tenant, KeyKind.SECRET, ["admin"])
    (key,) = await metadata.owner.fetch("SELECT revoked_at FROM darkroom.api_keys")
    assert key["revoked_at"] is not None


class FullVault:
    """A vault that takes nothing more."""

    async def keep(self, _text: str) -> str:
        raise AdminError("there is a secret of that name already")


async def test_a_key_that_nobody_could_ever_read_is_revoked_again(metadata: Metadata) -> None:
    tenant = await metadata.tenant()
    options = settings_for_tests().pool(1)
    login = FixedLogin(metadata.database.maintenance_url)
    async with connected(login, statements.load(), options, name="test") as database:
        with pytest.raises(AdminError, match="already"):
            await Admin(Directory(database), NoGatewayKeys(), FullVault()).create_key(tenant, KeyKind.SECRET, ["admin"])
    (key,) = await metadata.owner.fetch("SELECT revoked_at FROM darkroom.api_keys")
    assert key["revoked_at"] is not None


async def lease(metadata: Metadata, *wanted: tuple[str, int]) -> list[int | None]:
    items = [
        pb.LeaseRequestsRequest(item_id=number, tenant_id=tenant, wanted=count)
        for number, (tenant, count) in enumerate(wanted)
    ]
    response = await metadata.call("BatchLeaseRequests", pb.BatchLeaseRequestsRequest(items=items))
    results = sorted(response.results, key=lambda result: int(result.item_id))
    return [result.lease.granted if result.HasField("lease") else None for result in results]


async def within_a_second(metadata: Metadata) -> None:
    """Waits for the start of one of the database's seconds."""
    left = await metadata.owner.fetchval("SELECT 1 - extract(epoch FROM now()) % 1")
    await asyncio.sleep(float(left) + 0.01)


async def test_a_tenants_rate_is_shared_out_once_a_second(metadata: Metadata) -> None:
    tenant, other = await metadata.tenant(requests_per_second=100), await metadata.tenant(requests_per_second=3)
    await within_a_second(metadata)
    assert await lease(metadata, (tenant, 30), (other, 2), (tenant, 30)) == [30, 2, 30]
    assert await lease(metadata, (tenant, 30), (tenant, 30), (other, 2)) == [30, 10, 1]
    assert await lease(metadata, (tenant, 1), (str(uuid.uuid4()), 1), ("x", 1), (tenant, 0)) == [0, None, None, None]
    await within_a_second(metadata)
    assert await lease(metadata, (tenant, 100)) == [100]


async def test_gateways_that_ask_at_once_get_no_more_than_the_limit(metadata: Metadata) -> None:
    tenants = [await metadata.tenant(requests_per_second=50) for _ in range(3)]
    await within_a_second(metadata)
    asked = [[(tenant, 7) for tenant in (tenants if turn % 2 else reversed(tenants))] for turn in range(20)]
    answers = await asyncio.gather(*(lease(metadata, *wanted) for wanted in asked))
    granted = dict.fromkeys(tenants, 0)
    for wanted, answer in zip(asked, answers, strict=True):
        for (tenant, _), count in zip(wanted, answer, strict=True):
            granted[tenant] += count or 0
    # The twenty may straddle the end of a second.
    assert all(50 <= count <= 100 for count in granted.values())
    assert await metadata.owner.fetchval("SELECT count(*) FROM darkroom.request_leases") <= 6


async def test_old_leases_are_forgotten(metadata: Metadata) -> None:
    tenant = await metadata.tenant()
    await lease(metadata, (tenant, 1))
    await metadata.owner.execute("UPDATE darkroom.request_leases SET second = second - 20")
    await metadata.parts.sweeper.sweep()
    assert await metadata.owner.fetchval("SELECT count(*) FROM darkroom.request_leases") == 0


async def update(metadata: Metadata, image: pb.Image, tags: dict[str, str], etag: str = "") -> pb.Image:
    request = pb.UpdateImageRequest(tenant_id=image.tenant_id, image_id=image.id, tags=tags, etag=etag)
    response = await metadata.call("UpdateImage", request)
    result: pb.Image = response.image
    return result


async def test_tags_are_replaced_as_a_whole_and_change_the_etag(metadata: Metadata) -> None:
    image = await metadata.image(await metadata.tenant(), tags={"a": "1", "b": "2"})
    after = await update(metadata, image, {"b": "3", "c": "4"}, image.etag)
    assert after.tags == {"b": "3", "c": "4"}
    assert after.etag != image.etag
    assert (await metadata.get(image.tenant_id, image.id)).image == after
    with pytest.raises(DarkroomError) as caught:
        await update(metadata, image, {}, image.etag)
    assert caught.value.kind is Kind.ETAG_MISMATCH
    assert (await update(metadata, image, {})).tags == {}


async def test_of_writers_with_one_etag_one_wins(metadata: Metadata) -> None:
    image = await metadata.image(await metadata.tenant())
    results = await asyncio.gather(
        *(update(metadata, image, {"writer": str(number)}, image.etag) for number in range(6)), return_exceptions=True
    )
    won = [result for result in results if isinstance(result, pb.Image)]
    assert len(won) == 1
    assert (await metadata.get(image.tenant_id, image.id)).image == won[0]


async def test_a_worker_and_an_owner_at_once_lose_nothing_of_each_other(metadata: Metadata) -> None:
    image = await metadata.image(await metadata.tenant())
    job = (await metadata.begin(image)).job

    async def renew() -> None:
        for _ in range(15):
            request = pb.RenewProcessingRequest(
                tenant_id=job.tenant_id, image_id=job.image_id, attempt=job.attempt, lease=seconds(30)
            )
            await metadata.call("RenewProcessing", request)

    async def tag() -> None:
        for number in range(15):
            await update(metadata, image, {"n": str(number)})

    await asyncio.gather(renew(), tag())
    await metadata.finish(job)
    now = (await metadata.get(image.tenant_id, image.id)).image
    assert now.state == pb.Image.READY
    assert dict(now.tags) == {"n": "14"}


async def test_a_heartbeat_leaves_the_etag_as_it_is(metadata: Metadata) -> None:
    image = await metadata.image(await metadata.tenant())
    job = (await metadata.begin(image)).job
    before = (await metadata.get(image.tenant_id, image.id)).image
    request = pb.RenewProcessingRequest(
        tenant_id=job.tenant_id, image_id=job.image_id, attempt=job.attempt, lease=seconds(30)
    )
    await metadata.call("RenewProcessing", request)
    assert (await metadata.get(image.tenant_id, image.id)).image == before


async def test_attempts_that_die_without_a_word_end_in_failed(metadata: Metadata) -> None:
    image = await metadata.image(await metadata.tenant())
    for attempt in range(1, 6):
        assert (await metadata.begin(image, lease=30)).job.attempt == attempt
        await metadata.later(31)
    assert (await metadata.begin(image)).WhichOneof("outcome") == "settled"
    failed = (await metadata.get(image.tenant_id, image.id)).image
    assert (failed.state, failed.problem.type) == (pb.Image.FAILED, "processing_failed")
    await metadata.parts.relay.round()
    assert metadata.publisher.kinds() == ["image.failed"]


async def test_a_rejected_file_carries_its_reason(metadata: Metadata) -> None:
    image = await metadata.image(await metadata.tenant())
    job = (await metadata.begin(image)).job
    problem = pb.Problem(type="truncated", title="The file ends too early", detail="at byte 17")
    request = pb.FinishProcessingRequest(
        tenant_id=job.tenant_id, image_id=job.image_id, attempt=job.attempt, rejected=problem
    )
    assert (await metadata.call("FinishProcessing", request)).state == pb.Image.REJECTED
    assert (await metadata.call("FinishProcessing", request)).state == pb.Image.REJECTED
    now = (await metadata.get(image.tenant_id, image.id)).image
    assert (now.state, now.problem) == (pb.Image.REJECTED, problem)


async def test_what_a_decoder_says_with_nuls_is_stored_without_them(metadata: Metadata) -> None:
    image = await metadata.image(await metadata.tenant())
    job = (await metadata.begin(image)).job
    request = pb.FinishProcessingRequest(
        tenant_id=job.tenant_id,
        image_id=job.image_id,
        attempt=job.attempt,
        rejected=pb.Problem(type="not_an_image", title="No", detail="it begins with \x00\x01"),
    )
    await metadata.call("FinishProcessing", request)
    assert (await metadata.get(image.tenant_id, image.id)).image.problem.detail == "it begins with \ufffd\x01"


async def test_an_abandoned_image_is_failed_with_what_is_known(metadata: Metadata) -> None:
    image = await metadata.image(await metadata.tenant())
    problem = pb.Problem(type="processing_failed", title="No", detail="twenty receives")
    request = pb.AbandonProcessingRequest(key=image.original_key, problem=problem)
    assert (await metadata.call("AbandonProcessing", request)).state == pb.Image.FAILED
    assert (await metadata.get(image.tenant_id, image.id)).image.problem == problem
    unknown = pb.AbandonProcessingRequest(key=f"incoming/{uuid.uuid4()}/{uuid.uuid4()}", problem=problem)
    assert (await metadata.call("AbandonProcessing", unknown)).state == pb.Image.STATE_UNSPECIFIED
    foreign = pb.AbandonProcessingRequest(key="elsewhere/x", problem=problem)
    assert (await metadata.call("AbandonProcessing", foreign)).state == pb.Image.STATE_UNSPECIFIED


@pytest.mark.parametrize(
    "key", ["", "incoming/", "incoming/a/b", "media/x", "incoming/{t}/{i}/x", "incoming/{T}/{i}", "/incoming/{t}/{i}"]
)
async def test_an_object_under_a_key_of_nobodys_is_to_be_removed(metadata: Metadata, key: str) -> None:
    image = await metadata.image(await metadata.tenant())
    named = key.format(t=image.tenant_id, i=image.id, T=image.tenant_id.upper() + "0")
    request = pb.BeginProcessingRequest(key=named, lease=seconds(30))
    response = await metadata.call("BeginProcessing", request)
    assert response.settled == pb.Settled(remove_object=True)


@pytest.mark.parametrize(
    ("method", "request_"),
    [
        ("RenewProcessing", pb.RenewProcessingRequest(attempt=1, lease=seconds(1))),
        ("FinishProcessing", pb.FinishProcessingRequest(attempt=1, rejected=pb.Problem(type="x"))),
        ("FailProcessing", pb.FailProcessingRequest(attempt=1)),
        ("HandBackProcessing", pb.HandBackProcessingRequest(attempt=1)),
        ("ExpireUpload", pb.ExpireUploadRequest()),
        ("UpdateImage", pb.UpdateImageRequest()),
        ("RenewUpload", pb.RenewUploadRequest(upload_time_to_live=seconds(1))),
        ("DeleteImage", pb.DeleteImageRequest()),
    ],
)
@pytest.mark.parametrize("whose", ["nobody's", "no uuid"])
async def test_an_image_that_is_not_there_is_not_found(
    metadata: Metadata, method: str, request_: Any, whose: str
) -> None:
    image_id = str(uuid.uuid4()) if whose == "nobody's" else "x"
    asked = type(request_)()
    asked.CopyFrom(request_)
    asked.tenant_id, asked.image_id = await metadata.tenant(), image_id
    with pytest.raises(DarkroomError) as caught:
        await metadata.call(method, asked)
    assert caught.value.kind is Kind.NOT_FOUND


async def test_another_tenants_image_is_not_found_by_its_id(metadata: Metadata) -> None:
    image = await metadata.image(await metadata.tenant())
    stranger = await metadata.tenant()
    for method, request in (
        ("UpdateImage", pb.UpdateImageRequest(tags={"a": "b"})),
        ("RenewUpload", pb.RenewUploadRequest(upload_time_to_live=seconds(1))),
        ("DeleteImage", pb.DeleteImageRequest()),
    ):
        request.tenant_id, request.image_id = stranger, image.id
        with pytest.raises(DarkroomError) as caught:
            await metadata.call(method, request)
        assert caught.value.kind is Kind.NOT_FOUND
    assert (await metadata.get(image.tenant_id, image.id)).image == image


async def test_a_lease_must_last(metadata: Metadata) -> None:
    image = await metadata.image(await metadata.tenant())
    with pytest.raises(DarkroomError) as caught:
        await metadata.call("BeginProcessing", pb.BeginProcessingRequest(key=image.original_key))
    assert (caught.value.kind, caught.value.pointer) == (Kind.MALFORMED, "/lease")


async def test_usage_of_an_unknown_tenant_is_not_found(metadata: Metadata) -> None:
    with pytest.raises(DarkroomError) as caught:
        await metadata.call("GetUsage", pb.GetUsageRequest(tenant_id=str(uuid.uuid4())))
    assert caught.value.kind is Kind.NOT_FOUND
