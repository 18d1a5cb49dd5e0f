"""Deploys the committed `Core` and `Edge` templates to LocalStack, as CloudFormation would to AWS."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

STAGE: Final = "local"


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
    """Creates or updates both stacks on the emulator at `endpoint_url`; a repeated call changes nothing.

    `gateway_url` is where the REST API sends requests, e.g. `http://127.0.0.1:8080`. Raises `StackError` with the
    reason of each resource that failed.
    """
    raise NotImplementedError
