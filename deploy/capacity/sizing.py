"""How much capacity a rate of images needs, service by service. Pure.

A level is a whole number: tasks for a service on Fargate, half ACUs for Aurora.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil
from typing import Literal

from deploy.capacity.inputs import ApiSize, Inputs, Sizing

SERVICES = ("gateway", "presign_svc", "metadata_svc", "image_svc")
AURORA = "aurora"
API_SERVICES = ("gateway", "presign_svc", "metadata_svc")
HALF_ACU = 0.5

_EPSILON = 1e-9  # so that 3.0000000000000004 tasks are three


@dataclass(frozen=True)
class Target:
    """A thing whose minimum capacity is planned."""

    name: str
    unit: Literal["tasks", "acu"]
    size_of_level: float
    lead_minutes: int
    need: Callable[[float], int]
    ceiling: int | None  # a level that is never exceeded, whatever the forecast


def tasks_for(load: float, task_capacity: float, target_utilisation: float, minimum: int, sizing: Sizing) -> int:
    """Tasks for a load, both in the same unit (vCPUs).

    Enough for the load with its margin at the target utilisation; enough for the plain load when one task is lost;
    never under the minimum.
    """
    planned = ceil(load * sizing.forecast_margin / (task_capacity * target_utilisation) - _EPSILON)
    less_one = ceil(load / (task_capacity * sizing.max_utilisation_less_one) - _EPSILON) + 1
    return max(minimum, planned, less_one)


def cpu_per_image(inputs: Inputs, service: str) -> float:
    """CPU seconds (on one vCPU) that one image costs an API service, over all its calls."""
    return sum(call.per_image * float(getattr(call, f"{service}_us")) for call in inputs.policy.calls) / 1e6


def targets(inputs: Inputs) -> tuple[Target, ...]:
    """Everything the plan sets a minimum for, in a fixed order."""
    policy = inputs.policy
    worker = policy.image_svc

    def api(service: str, size: ApiSize) -> Target:
        cpu = cpu_per_image(inputs, service)

        def need(rate: float) -> int:
            return tasks_for(rate * cpu, size.usable_vcpu, size.target_utilisation, size.minimum, policy.sizing)

        return Target(service, "tasks", 1.0, policy.sizing.lead_minutes, need, None)

    def workers(rate: float) -> int:
        load = rate * inputs.measured.seconds_per_image
        return tasks_for(load, worker.vcpu, policy.sizing.max_utilisation, worker.minimum, policy.sizing)

    aurora = policy.aurora
    highest = round(aurora.maximum_acu / HALF_ACU)

    def half_acus(rate: float) -> int:
        acus = rate * aurora.statements_per_image * policy.sizing.forecast_margin
        acus /= aurora.statements_per_second_per_acu * aurora.target_utilisation
        return min(highest, max(round(aurora.minimum_acu / HALF_ACU), ceil(acus / HALF_ACU - _EPSILON)))

    return (
        api("gateway", policy.gateway),
        api("presign_svc", policy.presign_svc),
        api("metadata_svc", policy.metadata_svc),
        Target("image_svc", "tasks", 1.0, policy.sizing.lead_minutes, workers, None),
        Target(AURORA, "acu", HALF_ACU, aurora.lead_minutes, half_acus, highest),
    )
