"""`[gateway]`, `[presign_svc]`, `[metadata_svc]`, `[image_svc]`: how large a task is and how many there may be."""

from __future__ import annotations

from typing import Final, Self

from pydantic import Field, model_validator

from deploy.cdk.tables.base import Table, wrong

# MiB that Fargate has for so many CPU units: least, most, step (ECS developer guide, "Task size").
_SIZES: Final = {
    256: (512, 2_048, 512),  # and no 1,536, see below
    512: (1_024, 4_096, 1_024),
    1_024: (2_048, 8_192, 1_024),
    2_048: (4_096, 16_384, 1_024),
    4_096: (8_192, 30_720, 1_024),
}
_PROXY_CPU: Final = 256  # CPU units that Service Connect's proxy is to be given (ECS developer guide)


class Tasks(Table):
    """The tasks of one service."""

    cpu: int = Field(
        description="CPU units of a task, 1024 a vCPU: 256, 512, 1024, 2048 or 4096; 256 of them are for Service "
        "Connect's proxy",
        examples=["512"],
    )
    memory: int = Field(
        description="MiB of a task, as Fargate has them for its CPU: 1024 to 4096 with 512, 2048 to 8192 with 1024",
        examples=["1024"],
    )
    min_tasks: int = Field(
        ge=1,
        le=1_000,
        description="tasks, 1 to 1000, that always run, whatever the plan says; 2 or more in staging and prod, so that "
        "one task's death is not an outage",
        examples=["2"],
    )
    max_tasks: int = Field(
        ge=1,
        le=5_000,
        description="tasks, 1 to 5000, that autoscaling never exceeds; not below the highest minimum of the capacity "
        "plan (`make plan`)",
        examples=["8"],
    )

    @model_validator(mode="after")
    def _as_fargate_has_it(self) -> Self:
        if self.cpu not in _SIZES:
            raise wrong("cpu", f"Fargate has no task of {self.cpu} CPU units")
        least, most, step = _SIZES[self.cpu]
        if not least <= self.memory <= most or self.memory % step or (self.cpu, self.memory) == (256, 1_536):
            raise wrong("memory", f"Fargate has no {self.memory} MiB for {self.cpu} CPU units")
        if self.min_tasks > self.max_tasks:
            raise wrong("max_tasks", f"{self.max_tasks} is below min_tasks, {self.min_tasks}")
        return self


class ApiTasks(Tasks):
    """The tasks of gateway, presign_svc or metadata_svc: one process each, so at most one vCPU beside the proxy's."""

    cpu_percent: int = Field(
        ge=10,
        le=90,
        description="percent, 10 to 90: the CPU use that target tracking keeps; low enough to carry a surge for the "
        "four minutes that a scale-out takes",
        examples=["50"],
    )

    @model_validator(mode="after")
    def _one_process(self) -> Self:
        if not _PROXY_CPU < self.cpu <= 1_024:
            raise wrong("cpu", "512 or 1024: a task has one process, which uses one vCPU at most, and the proxy")
        return self


class GatewayTasks(ApiTasks):
    """The tasks of the gateway."""

    requests_per_task: int = Field(
        ge=60,
        le=1_000_000,
        description="requests a minute and task, 60 to 1000000, that a second target tracking keeps: the load balancer "
        "sees a rise a minute before the CPU's average does",
        examples=["6000"],
    )


class WorkerTasks(Tasks):
    """The tasks of image_svc: a developing slot for each vCPU."""

    backlog_per_task: int = Field(
        ge=1,
        le=10_000,
        description="messages a task, 1 to 10000, that target tracking keeps waiting: ten seconds of a task's work",
        examples=["30"],
    )
    on_demand_base: int = Field(ge=1, le=100, description="tasks, 1 to 100, that are never Spot", examples=["1"])
    on_demand_weight: int = Field(
        ge=0, le=100, description="share of on-demand tasks above the base, against spot_weight", examples=["1"]
    )
    spot_weight: int = Field(
        ge=0, le=100, description="share of Spot tasks above the base, against on_demand_weight", examples=["1"]
    )

    @model_validator(mode="after")
    def _whole_vcpus(self) -> Self:
        if self.cpu % 1_024:
            raise wrong("cpu", "1024, 2048 or 4096: developing takes whole vCPUs, a slot each")
        if self.on_demand_weight + self.spot_weight == 0:
            raise wrong("spot_weight", "one of the two weights must be above 0")
        return self
