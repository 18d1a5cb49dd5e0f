"""The plan's own shape: what the CDK stacks read, in memory or as JSON.

`Services` puts `actions` on each service's scalable target and deploys it with `initial` and `maximum`; `Database`
makes an EventBridge schedule (`rds:modifyDBCluster`) of each of Aurora's. Deploying with `floor` instead of `initial`
would take away capacity in the middle of a peak: CloudFormation registers the whole target anew.
"""

from __future__ import annotations

from datetime import date, datetime
from typing import Literal

from pydantic import Field

from deploy.capacity.inputs import Model


class Action(Model):
    """One scheduled action, in the words of Application Auto Scaling and of EventBridge Scheduler."""

    name: str
    schedule: str = Field(description="at(yyyy-mm-ddThh:mm:ss), or cron(minute hour day month weekday year)")
    time_zone: str
    minimum: float
    maximum: float
    start: datetime | None = Field(None, description="a recurring action does nothing before this moment")


class ServicePlan(Model):
    """Minimum and maximum capacity of one service, and when the minimum changes."""

    service: str
    unit: Literal["tasks", "acu"]
    mechanism: Literal["application-autoscaling", "eventbridge-scheduler"]
    floor: float = Field(description="the minimum outside of peaks")
    initial: float = Field(description="the minimum to deploy with: above the floor inside a peak")
    peak: float = Field(description="the highest minimum")
    maximum: float = Field(description="autoscaling's maximum, always")
    actions: tuple[Action, ...] = Field(description="one-time actions in order of time, then the recurring ones")


class Horizon(Model):
    """When the calendar must be renewed."""

    fallback_from: date = Field(description="first day that only the recurring actions serve")
    days_left: int
    alarm_days: int
    due: bool = Field(description="whether the alarm is on at `as_of`")
    expression: str = Field(
        description="days left as CloudWatch metric math over any steady metric with the id m1, whose time stamps "
        "alone are used: the alarm needs no code of ours to run"
    )


class Plan(Model):
    """Everything the stacks need. `as_of` is an input, not the clock: the same inputs give the same bytes."""

    as_of: datetime
    time_zone: str
    peak_days: tuple[date, ...]
    services: tuple[ServicePlan, ...]
    horizon: Horizon

    def service(self, name: str) -> ServicePlan:
        """One service's plan; StopIteration if there is none of that name."""
        return next(service for service in self.services if service.service == name)
