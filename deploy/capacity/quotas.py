"""Which AWS quota is met at which volume: the paper plan in figures. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import inf

from deploy.capacity.forecast import month_rates
from deploy.capacity.inputs import Inputs, Quota
from deploy.capacity.plan import Plan
from deploy.capacity.planner import Month
from deploy.capacity.sizing import API_SERVICES, targets
from image_svc.settings import Settings

IN_HAND = 1 + Settings.model_fields["prefetch"].default  # messages that a worker process of one vCPU holds
POOL = 16  # connections of one metadata_svc task: both pools of prod's settings
START_SPREAD_SECONDS = 20.0  # tasks launched together come up over about this time
PARAMETER_READS_A_START = 2.0  # the shared folder and the service's own
CONTROL_KB = 20.0  # queue, log and RPC bytes of an image through interface endpoints
IMAGES_A_KEY = 10_000.0  # images a month of an average API key; assumption
LAYERS = 6.0  # of a container image
# Web ACL capacity units of our four rules: AWS's three managed groups (25, 200, 700) and a rate rule (2).
FIREWALL_UNITS = 927.0
LARGEST_VOLUME = 10_000_000_000  # beyond this many images a month a quota counts as never met


@dataclass(frozen=True)
class Peak:
    """The busiest minute of a month of `images`, margin included."""

    inputs: Inputs
    images: float
    rate: float  # images/s
    tasks: dict[str, int]  # planned minimum by service
    scheduled_actions: int

    @property
    def factor(self) -> float:
        """Autoscaling's maximum against the planned peak: quotas must let it get there."""
        return self.inputs.policy.sizing.max_over_peak

    @property
    def all_tasks(self) -> float:
        """Tasks of all services, all at their maximum."""
        return sum(self.tasks.values()) * self.factor


def _on_demand_workers(peak: Peak) -> float:
    spot, workers = peak.inputs.policy.spot, peak.tasks["image_svc"] * peak.factor
    return spot.on_demand_base + (workers - spot.on_demand_base) * spot.on_demand_share


def _on_demand_vcpus(peak: Peak) -> float:
    policy = peak.inputs.policy
    api = sum(peak.tasks[name] * float(getattr(policy, name).vcpu) for name in API_SERVICES)
    return api * peak.factor + _on_demand_workers(peak) * policy.image_svc.vcpu


def _spot_vcpus(peak: Peak) -> float:
    policy = peak.inputs.policy
    return (peak.tasks["image_svc"] * peak.factor - _on_demand_workers(peak)) * policy.image_svc.vcpu


def _acus(peak: Peak) -> float:
    aurora = peak.inputs.policy.aurora
    return peak.rate * aurora.statements_per_image / (aurora.statements_per_second_per_acu * aurora.target_utilisation)


def _interfaces(peak: Peak) -> float:
    fixed = peak.inputs.usage.fixed
    return peak.all_tasks + fixed.interface_endpoints * fixed.zones + 2 * fixed.zones


def _gbits(peak: Peak, megabytes: float) -> float:
    return peak.rate * megabytes * 8 / 1000


DEMANDS: dict[str, Callable[[Peak], float]] = {
    "on_demand_vcpus": _on_demand_vcpus,
    "spot_vcpus": _spot_vcpus,
    "largest_step": lambda peak: peak.tasks["image_svc"] - peak.inputs.policy.image_svc.minimum,
    "worker_tasks": lambda peak: peak.tasks["image_svc"] * peak.factor,
    "gateway_tasks": lambda peak: peak.tasks["gateway"] * peak.factor,
    "scheduled_actions": lambda peak: peak.scheduled_actions,
    "api_rps": lambda peak: peak.rate * peak.inputs.usage.image.api_calls,
    "incoming_puts": lambda peak: peak.rate,
    "media_puts": lambda peak: peak.rate * (peak.inputs.usage.image.s3_puts - 1),
    "in_flight": lambda peak: peak.tasks["image_svc"] * peak.factor * peak.inputs.policy.image_svc.vcpu * IN_HAND,
    "sns_publishes": lambda peak: peak.rate * peak.inputs.usage.image.sns_publishes,
    "acus": _acus,
    "connections": lambda peak: 2 * peak.tasks["metadata_svc"] * peak.factor * POOL,  # a rollout doubles the tasks
    "interfaces": _interfaces,
    "s3_gbits": lambda peak: _gbits(peak, peak.inputs.usage.image.original_mb + peak.inputs.usage.image.variants_mb),
    "control_gbits": lambda peak: _gbits(peak, CONTROL_KB / 1000) / peak.inputs.usage.fixed.zones,
    "kms_operations": lambda peak: peak.rate * (peak.inputs.usage.image.s3_puts + peak.inputs.usage.image.s3_gets),
    "parameter_reads": lambda peak: DEMANDS["largest_step"](peak) * PARAMETER_READS_A_START / START_SPREAD_SECONDS,
    "secret_reads": lambda peak: peak.tasks["metadata_svc"] * peak.factor / START_SPREAD_SECONDS,
    "log_puts": lambda peak: peak.all_tasks,
    "metric_puts": lambda peak: peak.all_tasks / 60,
    "mesh_tasks": lambda peak: 2 * max(peak.tasks.values()) * peak.factor,
    "api_keys": lambda peak: peak.images / IMAGES_A_KEY,
    "firewall_units": lambda _: FIREWALL_UNITS,
    "media_gets": lambda peak: peak.rate * (peak.inputs.usage.image.s3_gets - 1),
    "volume_tib": lambda peak: 12 * peak.images * peak.inputs.usage.image.database_kb / 2**30,
    "layer_pulls": lambda peak: DEMANDS["largest_step"](peak) * LAYERS / START_SPREAD_SECONDS,
    "schedules": lambda peak: peak.scheduled_actions,
}


@dataclass(frozen=True)
class Met:
    """A quota with what we ask of it at two volumes, and the volume from which on it is too small."""

    quota: Quota
    now: float
    then: float
    met_at: float  # images a month; inf when not met within LARGEST_VOLUME


def peak_at(inputs: Inputs, month: Month, images: float, plan: Plan) -> Peak:
    """The peak of a month of `images`, with the forecast's shape."""
    busiest = float(month_rates(inputs.calendar, inputs.forecast, *month).max())
    rate = busiest / inputs.forecast.images_per_month * images
    tasks = {target.name: target.need(rate) for target in targets(inputs) if target.unit == "tasks"}
    actions = max(len(service.actions) for service in plan.services)
    return Peak(inputs, images, rate * inputs.policy.sizing.forecast_margin, tasks, actions)


def table(inputs: Inputs, month: Month, plan: Plan, then: float) -> list[Met]:
    """Every quota, the first to be met first. Raises KeyError for a quota with an unknown demand."""
    rows = []
    for quota in inputs.quotas.quotas:
        demand = DEMANDS[quota.demand]

        def need(images: float, demand: Callable[[Peak], float] = demand) -> float:
            return demand(peak_at(inputs, month, images, plan))

        now = need(inputs.forecast.images_per_month)
        rows.append(Met(quota, now, need(then), _met_at(need, quota.limit)))
    return sorted(rows, key=lambda row: row.met_at)


def _met_at(need: Callable[[float], float], limit: float) -> float:
    """The smallest volume, to 0.1 %, whose need exceeds the limit; needs grow with the volume."""
    low, high = 0.0, float(LARGEST_VOLUME)
    if need(high) <= limit:
        return inf
    if need(1.0) > limit:
        return 0.0
    while high - low > high / 1000:
        middle = (low + high) / 2
        if need(middle) > limit:
            high = middle
        else:
            low = middle
    return high
