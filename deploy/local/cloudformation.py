"""Deploys the committed `Core` and `Edge` templates to LocalStack, as CloudFormation would to AWS.

What LocalStack's CloudFormation does not do is done here: an update there says COMPLETE and changes nothing, a failed
creation stays, and a type that it does not know "completes" with the physical id `unknown`. So each stack carries the
digest of its template and parameters as a tag; a stack with another digest, or one that failed, is deleted and made
anew, and an unknown resource is an error. What people put into a stack survives that: the keys of the usage plan are
carried over, and buckets that hold objects are not deleted.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from aiobotocore.config import AioConfig
from aiobotocore.session import get_session
from botocore.exceptions import ClientError

STAGE: Final = "local"
TEMPLATES: Final = Path(__file__).resolve().parents[1] / "templates"

_DIGEST_TAG: Final = "darkroom:digest"
# Seconds. Both stacks take 4 to 7 s; the first call of a service loads it.
_PATIENCE: Final = 120
_POLL: Final = 0.2
_CREDENTIALS: Final = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}


class StackError(Exception):
    """A stack could not be made; the text names each resource that failed, with its reason."""


@dataclass(frozen=True, slots=True)
class StackOutputs:
    """What the two stacks made, by the names under which the cluster needs it."""

    incoming_bucket: str
    media_bucket: str
    queue_url: str
    dlq_url: str
    topic_arn: str
    owner_secret: str
    app_secret: str
    maintenance_secret: str
    api_id: str
    api_url: str
    usage_plan_id: str


async def apply(endpoint_url: str, region: str, gateway_url: str) -> StackOutputs:
    """Creates both stacks on the emulator at `endpoint_url`, or makes them anew; a repeated call changes nothing.

    `gateway_url` is where the REST API sends requests, e.g. `http://127.0.0.1:8080`. Raises `StackError` with the
    reason of each resource that failed.
    """
    async with AsyncExitStack() as stack:

        async def client(service: str) -> Any:  # aiobotocore makes its clients at run time
            return await stack.enter_async_context(
                get_session().create_client(
                    service,
                    region_name=region,
                    endpoint_url=endpoint_url,
                    config=AioConfig(
                        connect_timeout=3,
                        read_timeout=60,
                        retries={"total_max_attempts": 1},
                        s3={"addressing_style": "path"},
                    ),
                    **_CREDENTIALS,
                )
            )

        formation, s3, gateway = await client("cloudformation"), await client("s3"), await client("apigateway")
        keys: list[str] = []

        async def keep_objects(outputs: dict[str, str]) -> None:
            for bucket in (outputs["IncomingBucket"], outputs["MediaBucket"]):
                if (await s3.list_objects_v2(Bucket=bucket, MaxKeys=1)).get("Contents"):
                    raise StackError(
                        f"the template of {_name('core')} has changed and {bucket} holds objects, which would be lost; "
                        "`make down` and `make up` start afresh"
                    )

        async def keep_keys(outputs: dict[str, str]) -> None:
            pages = gateway.get_paginator("get_usage_plan_keys").paginate(usagePlanId=outputs["UsagePlanId"])
            keys.extend([key["id"] async for page in pages for key in page["items"]])

        core = await _ensure(formation, "core", {}, keep_objects)
        edge = await _ensure(formation, "edge", {"GatewayHost": urlsplit(gateway_url).netloc}, keep_keys)
        for key in keys:
            await gateway.create_usage_plan_key(usagePlanId=edge["UsagePlanId"], keyId=key, keyType="API_KEY")
    return StackOutputs(
        incoming_bucket=core["IncomingBucket"],
        media_bucket=core["MediaBucket"],
        queue_url=core["QueueUrl"],
        dlq_url=core["DlqUrl"],
        topic_arn=core["TopicArn"],
        owner_secret=core["OwnerSecret"],
        app_secret=core["AppSecret"],
        maintenance_secret=core["MaintenanceSecret"],
        api_id=edge["ApiId"],
        # The output ApiUrl is AWS's; the emulator serves every API below its own address.
        api_url=f"{endpoint_url}/_aws/execute-api/{edge['ApiId']}/{edge['ApiStage']}",
        usage_plan_id=edge["UsagePlanId"],
    )


def _name(unit: str) -> str:
    return f"darkroom-{STAGE}-{unit}"


async def _ensure(
    client: Any,
    unit: str,
    parameters: dict[str, str],
    before_replacing: Callable[[dict[str, str]], Awaitable[None]],
) -> dict[str, str]:
    """The outputs of a stack that is what its template says.

    `before_replacing` is given the outputs of a whole stack that is about to be deleted, and may refuse.
    """
    name = _name(unit)
    # Compact: what is sent along may have 51,200 bytes, and the file is written for readers.
    body = json.dumps(json.loads((TEMPLATES / f"{unit}.local.json").read_text()), separators=(",", ":"))
    digest = hashlib.sha256(json.dumps([body, parameters], sort_keys=True).encode()).hexdigest()[:32]
    found = await _describe(client, name)
    if found is not None:
        tags = {tag["Key"]: tag["Value"] for tag in found.get("Tags", [])}
        if found["StackStatus"] == "CREATE_COMPLETE":
            if tags.get(_DIGEST_TAG) == digest:
                return await _whole(client, found)
            await before_replacing(outputs(found))
        await client.delete_stack(StackName=name)
        await _settled(client, name, "DELETE")
    await client.create_stack(
        StackName=name,
        TemplateBody=body,
        Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()],
        Tags=[{"Key": _DIGEST_TAG, "Value": digest}],
        Capabilities=["CAPABILITY_NAMED_IAM"],
    )
    made = await _settled(client, name, "CREATE")
    if made is None or made["StackStatus"] != "CREATE_COMPLETE":
        raise StackError(f"{name} is {made['StackStatus'] if made else 'gone'}:\n{await _failures(client, name)}")
    return await _whole(client, made)


async def _whole(client: Any, stack: dict[str, Any]) -> dict[str, str]:
    """The outputs of a complete stack. Raises `StackError` where the emulator only pretends to have made a resource."""
    resources = (await client.describe_stack_resources(StackName=stack["StackName"]))["StackResources"]
    unknown = [
        f"  {resource['LogicalResourceId']} ({resource['ResourceType']})"
        for resource in resources
        if resource.get("PhysicalResourceId") in {None, "", "unknown"}
    ]
    if unknown:
        raise StackError(f"{stack['StackName']} has resources that the emulator did not make:\n" + "\n".join(unknown))
    return outputs(stack)


async def _describe(client: Any, name: str) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = (await client.describe_stacks(StackName=name))["Stacks"][0]
    except ClientError as error:
        if "does not exist" in str(error):
            return None
        raise
    return None if found["StackStatus"] == "DELETE_COMPLETE" else found


async def _settled(client: Any, name: str, action: str) -> dict[str, Any] | None:
    """The stack once the action has ended; None once it is gone."""
    try:
        async with asyncio.timeout(_PATIENCE):
            while True:
                found = await _describe(client, name)
                if found is None or not found["StackStatus"].endswith("_IN_PROGRESS"):
                    return found
                await asyncio.sleep(_POLL)
    except TimeoutError:
        raise StackError(f"{name}: {action} did not end within {_PATIENCE} s") from None


async def _failures(client: Any, name: str) -> str:
    return failures((await client.describe_stack_events(StackName=name))["StackEvents"])


def failures(events: Sequence[Mapping[str, Any]]) -> str:
    """What failed among a stack's events, a line each with the reason."""
    failed = [event for event in events if event["ResourceStatus"].endswith("_FAILED")]
    return "\n".join(
        f"  {event['LogicalResourceId']} ({event['ResourceType']}): {event.get('ResourceStatusReason', 'no reason')}"
        for event in failed
    )


def outputs(stack: Mapping[str, Any]) -> dict[str, str]:
    """The outputs of a stack as CloudFormation describes it."""
    return {output["OutputKey"]: output["OutputValue"] for output in stack.get("Outputs", [])}
