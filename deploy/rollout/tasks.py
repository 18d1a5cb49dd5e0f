"""One-off tasks on ECS, and whether the services have settled on the new version."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from botocore.exceptions import ClientError

from deploy.rollout.errors import RolloutError

_PATIENCE: Final = 3600.0  # seconds; a large migration takes minutes, an index on a large table more
_SETTLES: Final = 3 * 3600.0  # seconds; the longest bake is bounded by CloudFormation, which waits for it
_LAST_LINES: Final = 30
_STARTED_BY: Final = "darkroom-rollout"


@dataclass
class Tasks:
    """Tasks and services of one cluster. `outputs`: those of the stacks Network and Cluster."""

    ecs: Any  # botocore makes its clients at run time
    logs: Any
    outputs: Mapping[str, str]
    say: Callable[[str], None]
    pause: float = 5.0
    sleep: Callable[[float], None] = time.sleep

    def run(self, output: str) -> None:
        """Runs the task that an output of the stack names, to its end. Raises `RolloutError` unless it ends with 0."""
        definition = self.outputs[output]
        if going := self._going(definition):
            self.say(f"    an earlier {_short(definition)} still runs: waiting for it")
            self._end(definition, going)
        started = self.ecs.run_task(
            cluster=self.outputs["ClusterName"],
            taskDefinition=definition,
            count=1,
            launchType="FARGATE",
            startedBy=_STARTED_BY,
            networkConfiguration={
                "awsvpcConfiguration": {
                    "subnets": self.outputs["TaskSubnets"].split(","),
                    "securityGroups": [self.outputs["MigrationSecurityGroup"]],
                    "assignPublicIp": "DISABLED",
                }
            },
        )
        if not started["tasks"]:
            reasons = "; ".join(failure.get("reason", "no reason") for failure in started["failures"])
            raise RolloutError(f"{_short(definition)} does not start: {reasons}")
        self._end(definition, started["tasks"][0]["taskArn"])

    def settled(self) -> None:
        """Waits until the latest deployment of every service has succeeded. Raises `RolloutError` where one has not."""
        cluster = self.outputs["ClusterName"]
        pages = self.ecs.get_paginator("list_services").paginate(cluster=cluster)
        services = [arn for page in pages for arn in page["serviceArns"]]
        if not services:
            raise RolloutError(f"the cluster {cluster} has no services")
        deadline = time.monotonic() + _SETTLES
        for service in services:
            while (state := self._deployment(cluster, service)) in {"PENDING", "IN_PROGRESS"}:
                if time.monotonic() > deadline:
                    raise RolloutError(f"{_short(service)} is still being deployed after {_SETTLES / 3600:.0f} hours")
                self.sleep(self.pause)
            if state not in {"SUCCESSFUL", ""}:
                raise RolloutError(
                    f"{_short(service)}: its deployment is {state}: the old version serves. Migrations of the phase "
                    "post were not run. The alarm that stopped it, or the task's last words, say why."
                )
            self.say(f"    {_short(service)} has settled")

    def _deployment(self, cluster: str, service: str) -> str:
        """The state of the latest deployment; empty for a service that was never deployed anew."""
        found = self.ecs.list_service_deployments(cluster=cluster, service=service)["serviceDeployments"]
        return str(max(found, key=lambda deployment: deployment["createdAt"])["status"]) if found else ""

    def _going(self, definition: str) -> str:
        """A task of that definition's family that a roll-out before this one has left running."""
        family = _short(definition).partition(":")[0]
        found = self.ecs.list_tasks(cluster=self.outputs["ClusterName"], family=family, desiredStatus="RUNNING")
        return str(found["taskArns"][0]) if found["taskArns"] else ""

    def _end(self, definition: str, task: str) -> None:
        deadline = time.monotonic() + _PATIENCE
        while True:
            found = self.ecs.describe_tasks(cluster=self.outputs["ClusterName"], tasks=[task])["tasks"]
            if found and found[0]["lastStatus"] == "STOPPED":
                break
            if time.monotonic() > deadline:
                raise RolloutError(f"{_short(definition)} has not ended after {_PATIENCE / 60:.0f} minutes: {task}")
            self.sleep(self.pause)
        container = found[0]["containers"][0]
        words = self._words(definition, task, container["name"])
        if container.get("exitCode") != 0:
            reason = container.get("reason") or found[0].get("stoppedReason", "no reason")
            raise RolloutError(
                f"{_short(definition)} ended with status {container.get('exitCode', 'none')} ({reason}):\n{words}"
            )
        for line in words.splitlines():
            self.say(f"      {line}")
        self.say(f"    {_short(definition)} ended with status 0")

    def _words(self, definition: str, task: str, container: str) -> str:
        """The last lines that the task wrote; its commands write no secret."""
        described = self.ecs.describe_task_definition(taskDefinition=definition)["taskDefinition"]
        options = described["containerDefinitions"][0].get("logConfiguration", {}).get("options", {})
        group = options.get("awslogs-group")
        if not group:
            return "(no log)"
        stream = f"{options['awslogs-stream-prefix']}/{container}/{_short(task)}"
        try:
            events = self.logs.get_log_events(logGroupName=group, logStreamName=stream, limit=_LAST_LINES)["events"]
        except ClientError as error:
            return f"(no log: {error.response['Error']['Code']})"
        return "\n".join(event["message"] for event in events)


def _short(arn: str) -> str:
    """The last part of an ARN."""
    return arn.rsplit("/", 1)[-1]
