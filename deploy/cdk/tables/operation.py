"""`[load_balancer]`, `[rollout]`, `[capacity]`, `[tasks]`: how services are reached, replaced, scaled and tended."""

from __future__ import annotations

from datetime import datetime
from typing import Final, Literal, Self

from pydantic import Field, model_validator

from deploy.cdk.tables.base import Table, wrong

# Minutes that the alarms of a roll-out take at most to go off: three of data, and what these take to arrive.
LEAST_BAKE: Final = 5


class LoadBalancer(Table):
    """The internal load balancer in front of the gateway."""

    certificate_arn: str = Field(
        pattern=r"^(arn:aws:acm:[a-z0-9-]+:\d{12}:certificate/[0-9a-f-]+)?$",
        description="ARN of an ACM certificate of the same account and region, whose name is load_balancer.domain; "
        "empty for plain HTTP inside the VPC, in dev alone",
        examples=["arn:aws:acm:ap-northeast-2:123456789012:certificate/0b1c2d3e-0000-4000-8000-000000000000"],
    )
    domain: str = Field(
        pattern=r"^([a-z0-9-]+(\.[a-z0-9-]+)+)?$",
        description="the name on the certificate, which whoever calls the load balancer checks; it needs no DNS entry; "
        "empty without a certificate",
        examples=["gateway.internal.example.com"],
    )
    deletion_protection: bool = Field(
        description="true or false: whether the load balancer refuses to be deleted; true in prod", examples=["true"]
    )
    access_log_days: int = Field(
        ge=0,
        le=3_650,
        description="days, 0 to 3650, that the load balancer's access log is kept; 0 for none, in dev alone: API "
        "Gateway and the gateway log the same requests",
        examples=["30"],
    )

    @model_validator(mode="after")
    def _together(self) -> Self:
        if bool(self.certificate_arn) != bool(self.domain):
            raise wrong("domain", "a certificate and its domain are set together, or neither is")
        return self


class Rollout(Table):
    """How a new version takes over."""

    bake_minutes: int = Field(
        ge=1,
        le=60,
        description="minutes, 1 to 60, for which the old version stays ready after the traffic has moved: an alarm in "
        "this time brings it back within seconds; 5 or more in staging and prod, so that one can go off; a roll-out "
        "bakes twice, the gateway after those behind it, and waits for three hours in all",
        examples=["10"],
    )
    image_scan: Literal["basic", "enhanced"] = Field(
        description="basic (free, on push) or enhanced (Amazon Inspector, on push and whenever a new finding is known; "
        "it sets the registry of the whole account and region)",
        examples=["basic"],
    )
    image_signing: Literal["own", "shared"] = Field(
        description="own (this stage sets the registry's rule that every image is signed as it is pushed) or shared "
        "(another stage of the same account and region does: a registry has one set of rules)",
        examples=["own"],
    )
    images_kept: int = Field(
        ge=2, le=1_000, description="images, 2 to 1000, that a repository keeps, the newest", examples=["30"]
    )
    log_days: Literal[1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731] = Field(
        description="days that the services' logs are kept: 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545 "
        "or 731",
        examples=["30"],
    )
    container_insights: Literal["enabled", "enhanced"] = Field(
        description="enabled (what scaling by backlog needs) or enhanced (metrics of every task and container, at "
        "several times the price)",
        examples=["enhanced"],
    )


class Capacity(Table):
    """Scheduled scaling ahead of month-end, from deploy/capacity."""

    month_end: bool = Field(
        description="true or false: whether the capacity plan sets the minimums; true in prod", examples=["true"]
    )
    plan_as_of: datetime = Field(
        description="moment of the deployment, with its offset; AWS refuses dated actions that lie in the past, so a "
        "roll-out sets the present minute here",
        examples=["2026-12-01T09:00+09:00"],
    )

    @model_validator(mode="after")
    def _somewhere(self) -> Self:
        if self.plan_as_of.tzinfo is None:
            raise wrong("plan_as_of", "it needs an offset, e.g. +09:00")
        return self


class ScheduledTasks(Table):
    """The tasks that run by the clock."""

    reconcile_hour: int = Field(
        ge=0,
        le=23,
        description="hour, 0 to 23, Seoul time, of the daily comparison of database and buckets",
        examples=["3"],
    )
    prune_hour: int = Field(
        ge=0, le=23, description="hour, 0 to 23, Seoul time, of the daily pruning of old rows", examples=["4"]
    )
