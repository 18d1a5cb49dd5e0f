"""Where the tasks of an ECS service are: for tasks that end, which Service Connect does not serve."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AsyncExitStack
from typing import Any, Final

from aiobotocore.session import AioSession
from botocore.exceptions import BotoCoreError, ClientError

from image_svc.ports import Unreachable
from runtime import aws
from runtime.aws import AwsSettings

SCHEME: Final = "ecs:"


async def resolved(session: AioSession, where: AwsSettings, target: str) -> str:
    """The gRPC name of a service's running tasks for `ecs:<cluster>/<service>:<port>`; any other target as it is.

    The addresses are those of this moment: enough for a command that ends. Raises ValueError for a target of another
    form, `Unreachable` where no task runs or ECS does not answer.
    """
    if not target.startswith(SCHEME):
        return target
    name, _, port = target.removeprefix(SCHEME).rpartition(":")
    cluster, _, service = name.partition("/")
    if not (cluster and service and port.isdigit()):
        raise ValueError(f"{target!r} is not of the form ecs:<cluster>/<service>:<port>")
    async with AsyncExitStack() as stack:
        ecs = await aws.client(stack, session, "ecs", where)
        try:
            # The first page, a hundred tasks, is more than one caller needs.
            listed = await ecs.list_tasks(cluster=cluster, serviceName=service, desiredStatus="RUNNING")
            arns = listed["taskArns"]
            described = await ecs.describe_tasks(cluster=cluster, tasks=arns) if arns else {"tasks": []}
        except (BotoCoreError, ClientError) as error:
            raise Unreachable(f"ECS: {error}") from error
    addresses = [address for task in described["tasks"] for address in _addresses(task)]
    if not addresses:
        raise Unreachable(f"ECS: no task of {service} runs in {cluster}")
    return "ipv4:" + ",".join(f"{address}:{port}" for address in addresses)


def _addresses(task: dict[str, Any]) -> Iterator[str]:
    if task.get("lastStatus") != "RUNNING":
        return
    for attachment in task.get("attachments", ()):
        for detail in attachment.get("details", ()):
            if detail["name"] == "privateIPv4Address":
                yield str(detail["value"])
