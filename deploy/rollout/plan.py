"""The steps of a roll-out, in their order: what `make deploy` does, and what PLAN=1 prints.

The order keeps a running system whole. Repositories are there before images are pushed; everything a service needs is
there before the service; the database takes the new version (phase `pre`) before a task of it starts, and gives up what
the old version needs (phase `post`) only when no task of the old one is left.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from deploy.cdk.synth import INLINE_LIMIT
from deploy.images import catalogue
from deploy.rollout.assembly import Stack

Kind = Literal["stack", "images", "task", "settled", "answers"]

# Outputs of the stack Cluster.
MIGRATE_BEFORE: Final = "MigratePreTaskDefinition"
MIGRATE_AFTER: Final = "MigratePostTaskDefinition"


@dataclass(frozen=True)
class Step:
    """One step. `name`: of the stack's unit, or the output that holds a task's definition."""

    kind: Kind
    name: str
    text: str


# Stacks that take the tag of the images as the parameter ImageTag are among these too.
ORDER: Final = (
    Step("stack", "Core", "buckets, queues, topic, secrets, parameters"),
    Step("stack", "Registry", "repositories of the images, a bucket for large templates"),
    Step("images", "", "build what is not there yet; push, wait for scan and signature"),
    Step("stack", "Network", "VPC, subnets, endpoints or NAT"),
    Step("stack", "Database", "Aurora, its secrets and their rotation"),
    Step("stack", "Cluster", "ECS cluster, definitions of one-off tasks"),
    Step("task", MIGRATE_BEFORE, "migrations that the new version needs and the old one tolerates"),
    Step("stack", "Services", "the four services: blue/green, then the bake"),
    Step("settled", "", "every service runs the new version and nothing else"),
    Step("task", MIGRATE_AFTER, "migrations that remove what only the old version needed"),
    Step("stack", "Edge", "API Gateway, usage plan, WAF"),
    Step("answers", "", "the API answers"),
)


def lines(stacks: Sequence[Stack], tag: str) -> list[str]:
    """The plan for people, a line a step."""
    by_unit = {stack.unit: stack for stack in stacks}
    told = []
    for number, step in enumerate(ORDER, 1):
        if step.kind == "stack":
            told.append(f"{number:>2}. {_stack(by_unit[step.name], tag)} {step.text}")
        elif step.kind == "images":
            told.append(f"{number:>2}. images, tag {tag}: {step.text}")
            told += [f"      {service:<13} {catalogue.PLATFORMS[service]}" for service in catalogue.SERVICES]
        elif step.kind == "task":
            told.append(f"{number:>2}. one-off task {step.name}: {step.text}")
        else:
            told.append(f"{number:>2}. wait: {step.text}")
    return told


def _stack(stack: Stack, tag: str) -> str:
    way = "inline" if stack.size <= INLINE_LIMIT else "by the bucket of Registry"
    parameter = f", ImageTag={tag}" if "ImageTag" in stack.parameters else ""
    return f"stack {stack.name} ({stack.resources} resources, {stack.size / 1000:.0f} kB {way}{parameter}):"
