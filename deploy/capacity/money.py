"""What a month costs. Pure: hours and counts in, USD out."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from itertools import pairwise
from typing import Literal

from deploy.capacity.business_calendar import month_days, next_month
from deploy.capacity.inputs import Inputs, Prices, TaskSize
from deploy.capacity.planner import Month, course, floor_level
from deploy.capacity.simulation import Outcome
from deploy.capacity.sizing import API_SERVICES, AURORA, Target, targets
from deploy.capacity.steps import Change, level_at

MONTH_HOURS = 730.0  # for prices quoted a month
LCU_NEW_CONNECTIONS = 25.0  # of an ALB: connections a second that one capacity unit covers
LCU_GB_HOUR = 1.0


@dataclass(frozen=True)
class FleetCost:
    """The workers' Fargate compute in a month, USD; `all_on_demand` is the same hours without Spot."""

    on_demand: float
    spot: float
    all_on_demand: float

    @property
    def total(self) -> float:
        """With the mix of the policy."""
        return self.on_demand + self.spot


@dataclass(frozen=True)
class Line:
    """One line of the bill."""

    component: str
    usd: float
    kind: Literal["workers", "volume", "fixed"]


def task_hour(size: TaskSize, prices: Prices) -> float:
    """On-demand price of one task for an hour."""
    if size.architecture == "arm64":
        return size.vcpu * prices.fargate_arm_vcpu_hour + size.memory_gb * prices.fargate_arm_gb_hour
    return size.vcpu * prices.fargate_x86_vcpu_hour + size.memory_gb * prices.fargate_x86_gb_hour


def fleet_cost(inputs: Inputs, outcome: Outcome) -> FleetCost:
    """The price of the task hours of a simulated month."""
    hour = task_hour(inputs.policy.image_svc, inputs.prices)
    return FleetCost(
        on_demand=outcome.on_demand_hours * hour,
        spot=outcome.spot_hours * hour * inputs.prices.fargate_spot_share,
        all_on_demand=outcome.task_hours * hour,
    )


def level_hours(inputs: Inputs, target: Target, month: Month) -> float:
    """The planned minimum of a target over a month, in its unit and hours: task hours, ACU hours of one instance."""
    months = [_previous(month), month]
    floor = floor_level(inputs, target, months)
    whole = course(inputs, target, months, floor)
    begin, end = (datetime.combine(date(*m, 1), time()) for m in (month, next_month(*month)))
    inside = [change for change in whole if begin < change.at < end]
    edges = [Change(begin, level_at(whole, floor, begin)), *inside, Change(end, floor)]
    hours = sum(one.level * ((two.at - one.at) / timedelta(hours=1)) for one, two in pairwise(edges))
    return hours * target.size_of_level


def _previous(month: Month) -> Month:
    return (month[0] - 1, 12) if month[1] == 1 else (month[0], month[1] - 1)


def bill(inputs: Inputs, month: Month, outcome: Outcome) -> list[Line]:
    """The month's bill by component. Not in it: bytes to the internet (they depend on who looks), WAF, support, tax."""
    prices, fixed = inputs.prices, inputs.usage.fixed
    hours = len(month_days(*month)) * 24
    by_name = {target.name: target for target in targets(inputs)}
    fleet = fleet_cost(inputs, outcome)
    api = sum(
        level_hours(inputs, by_name[name], month) * task_hour(getattr(inputs.policy, name), prices)
        for name in API_SERVICES
    )
    acu_hours = level_hours(inputs, by_name[AURORA], month) * inputs.policy.aurora.instances
    return [
        Line("Fargate image_svc", fleet.total, "workers"),
        *volume_lines(inputs, month, len(outcome.ready)),
        Line("Fargate gateway, presign_svc, metadata_svc", api, "fixed"),
        Line("Aurora minimum ACUs", acu_hours * prices.aurora_acu_hour, "fixed"),
        Line("ALB", fixed.albs * hours * prices.alb_hour, "fixed"),
        Line("Interface endpoints", fixed.interface_endpoints * fixed.zones * hours * prices.endpoint_hour, "fixed"),
        Line("NAT gateways", fixed.nat_gateways * hours * prices.nat_hour, "fixed"),
        Line(
            "Alarms, secrets, keys, ECR",
            fixed.alarms * prices.alarm_month
            + fixed.secrets * prices.secret_month
            + fixed.kms_keys * prices.kms_key_month
            + fixed.ecr_gb * prices.ecr_gb_month,
            "fixed",
        ),
    ]


def volume_lines(inputs: Inputs, month: Month, images: float) -> list[Line]:
    """What grows with the images alone."""
    prices, image = inputs.prices, inputs.usage.image
    millions, hours = images / 1e6, len(month_days(*month)) * 24
    gb_stored = images * (image.original_mb + image.variants_mb) / 1000 * image.stored_months
    connections = images * image.api_calls / hours / 3600
    return [
        Line("S3 storage", gb_stored * prices.s3_gb_month, "volume"),
        Line(
            "S3 requests",
            images * (image.s3_puts * prices.s3_put_thousand / 1e3 + image.s3_gets * prices.s3_get_ten_thousand / 1e4),
            "volume",
        ),
        Line("API Gateway", millions * image.api_calls * prices.api_gateway_million, "volume"),
        Line("SQS", millions * image.sqs_requests * prices.sqs_million, "volume"),
        Line("SNS", millions * image.sns_publishes * prices.sns_million, "volume"),
        Line(
            "Aurora I/O and storage",
            millions * image.aurora_ios * prices.aurora_io_million
            + images * image.database_kb / 1e6 * prices.aurora_storage_gb_month,
            "volume",
        ),
        Line("Logs", images * image.log_kb / 1e6 * prices.logs_gb, "volume"),
        Line("ALB capacity units", connections / LCU_NEW_CONNECTIONS * hours * prices.alb_lcu_hour, "volume"),
    ]
