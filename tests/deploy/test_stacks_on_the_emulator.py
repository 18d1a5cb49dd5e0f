"""The committed stacks on a real LocalStack: made once, made again when they change, and nothing lost by it."""

from __future__ import annotations

import json
import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from aiobotocore.session import get_session
from botocore.exceptions import ClientError

from deploy.cdk import parameters as listed
from deploy.local import cloudformation
from gateway.settings import Settings as Gateway
from metadata_svc.settings import Settings as Metadata
from runtime.settings import load
from tests.support.localstack import LocalStack

GATEWAY = "http://127.0.0.1:9"  # nobody is asked here


@pytest.fixture
async def aws(localstack: LocalStack) -> AsyncIterator[Any]:
    """Makes clients by the service's name."""
    async with AsyncExitStack() as stack:

        async def client(service: str) -> Any:
            made = get_session().create_client(
                service, region_name=localstack.region, endpoint_url=localstack.endpoint(service)
            )
            return await stack.enter_async_context(made)

        yield client


@pytest.fixture
def templates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the templates for a test to change."""
    for path in cloudformation.TEMPLATES.glob("*.json"):
        (tmp_path / path.name).write_text(path.read_text())
    monkeypatch.setattr(cloudformation, "TEMPLATES", tmp_path)
    return tmp_path


def change(path: Path, **properties: Any) -> None:
    """Another template that is deployed to the same effect, but for what is given."""
    path.write_text(json.dumps(json.loads(path.read_text()) | properties))


async def applied(localstack: LocalStack) -> cloudformation.StackOutputs:
    return await cloudformation.apply(localstack.endpoint_url, localstack.region, GATEWAY)


async def test_a_second_apply_changes_nothing(localstack: LocalStack) -> None:
    assert await applied(localstack) == await applied(localstack)


async def test_every_listed_parameter_is_there_and_says_what_was_made(localstack: LocalStack, aws: Any) -> None:
    made = await applied(localstack)
    expected = {
        "/darkroom/local/shared/incoming_bucket": made.incoming_bucket,
        "/darkroom/local/shared/media_bucket": made.media_bucket,
        "/darkroom/local/shared/presets": listed.presets(),
        "/darkroom/local/metadata_svc/queue_url": made.queue_url,
        "/darkroom/local/metadata_svc/topic_arn": made.topic_arn,
        "/darkroom/local/metadata_svc/app_database_secret": made.app_secret,
        "/darkroom/local/metadata_svc/maintenance_database_secret": made.maintenance_secret,
        "/darkroom/local/image_svc/queue_url": made.queue_url,
        "/darkroom/local/image_svc/dlq_url": made.dlq_url,
        "/darkroom/local/edge/usage_plan_id": made.usage_plan_id,
    }
    pages = (await aws("ssm")).get_paginator("get_parameters_by_path").paginate(Path="/darkroom/local/", Recursive=True)
    assert {item["Name"]: item["Value"] async for page in pages for item in page["Parameters"]} == expected


async def test_services_read_what_only_the_stacks_on_aws_set(
    localstack: LocalStack, aws: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As text out of Parameter Store: the origins in commas, numbers, a word."""
    stage = f"t{uuid.uuid4().hex[:8]}"
    for name, value in {**localstack.environment, "DARKROOM_STAGE": stage}.items():
        monkeypatch.setenv(name, value)
    targets = dict.fromkeys(("presign_target", "metadata_target", "image_target"), "127.0.0.1:1")
    names = ("queue_url", "topic_arn", "app_database_secret", "maintenance_database_secret")
    required = {
        "gateway": {**targets, "presets": listed.presets()},
        "metadata_svc": {name: f"some-{name}" for name in names},
    }
    given = {
        "gateway": {"cors_origins": "https://photos.example.com,https://other.example.com"},
        "metadata_svc": {"app_pool_size": "7", "maintenance_pool_size": "9", "database_ssl": "verify-full"},
    }
    assert {(entry.folder, entry.name) for entry in (*listed.CORE_AWS, *listed.DATABASE)} == {
        (folder, name) for folder, values in given.items() for name in values
    }
    ssm = await aws("ssm")
    for folder, values in given.items():
        for name, value in (required[folder] | values).items():
            await ssm.put_parameter(Name=f"/darkroom/{stage}/{folder}/{name}", Value=value, Type="String")
    gateway = await load(Gateway, get_session())
    assert gateway.cors_origins == ("https://photos.example.com", "https://other.example.com")
    metadata = await load(Metadata, get_session())
    assert (metadata.app_pool_size, metadata.maintenance_pool_size, metadata.database_ssl) == (7, 9, "verify-full")


async def test_the_secrets_are_generated_for_the_three_roles(localstack: LocalStack, aws: Any) -> None:
    made = await applied(localstack)
    manager = await aws("secretsmanager")
    held = [
        json.loads((await manager.get_secret_value(SecretId=name))["SecretString"])
        for name in (made.owner_secret, made.app_secret, made.maintenance_secret)
    ]
    assert [secret["username"] for secret in held] == ["darkroom_owner", "darkroom_app", "darkroom_maintenance"]
    assert len({secret["password"] for secret in held}) == 3


async def test_a_gateway_elsewhere_is_a_new_api_that_knows_the_old_keys(localstack: LocalStack, aws: Any) -> None:
    before = await applied(localstack)
    gateway = await aws("apigateway")
    key = await gateway.create_api_key(name="carried-over", enabled=True)
    await gateway.create_usage_plan_key(usagePlanId=before.usage_plan_id, keyId=key["id"], keyType="API_KEY")
    after = await cloudformation.apply(localstack.endpoint_url, localstack.region, "http://127.0.0.1:10")
    assert after.usage_plan_id != before.usage_plan_id
    known = await gateway.get_usage_plan_keys(usagePlanId=after.usage_plan_id)
    assert [item["id"] for item in known["items"]] == [key["id"]]
    stage = await gateway.get_stage(restApiId=after.api_id, stageName="live")
    assert stage["variables"] == {"gateway": "127.0.0.1:10"}
    await gateway.delete_api_key(apiKey=key["id"])


async def test_buckets_that_hold_pictures_are_not_deleted_for_a_new_template(
    localstack: LocalStack, aws: Any, templates: Path
) -> None:
    made = await applied(localstack)
    s3 = await aws("s3")
    await s3.put_object(Bucket=made.media_bucket, Key="media/t/i/thumb.webp", Body=b"picture")
    change(templates / "core.local.json", Description="another")
    with pytest.raises(cloudformation.StackError, match="make down"):
        await applied(localstack)
    assert (await s3.head_object(Bucket=made.media_bucket, Key="media/t/i/thumb.webp"))["ContentLength"] == 7
    await s3.delete_object(Bucket=made.media_bucket, Key="media/t/i/thumb.webp")
    again = await applied(localstack)
    assert again.media_bucket == made.media_bucket


async def test_a_failed_stack_says_why_and_the_next_apply_starts_over(
    localstack: LocalStack, aws: Any, templates: Path
) -> None:
    good = (templates / "core.local.json").read_text()
    broken = json.loads(good)
    broken["Resources"]["Broken"] = {
        "Type": "AWS::SSM::Parameter",
        "Properties": {"Name": "/darkroom/local/broken", "Type": "NoSuchType", "Value": "x"},
    }
    change(templates / "core.local.json", Resources=broken["Resources"])
    with pytest.raises(cloudformation.StackError, match="Broken"):
        await applied(localstack)
    (templates / "core.local.json").write_text(good)
    made = await applied(localstack)
    await (await aws("s3")).head_bucket(Bucket=made.incoming_bucket)
    with pytest.raises(ClientError, match="ParameterNotFound"):
        await (await aws("ssm")).get_parameter(Name="/darkroom/local/broken")


async def test_a_resource_that_the_emulator_only_pretends_to_make_is_an_error(
    localstack: LocalStack, templates: Path
) -> None:
    resources = json.loads((templates / "edge.local.json").read_text())["Resources"]
    resources["Cluster"] = {"Type": "AWS::ECS::Cluster", "Properties": {}}
    change(templates / "edge.local.json", Resources=resources)
    for _ in range(2):  # also where it finds the stack that it made
        with pytest.raises(cloudformation.StackError, match="Cluster"):
            await applied(localstack)
