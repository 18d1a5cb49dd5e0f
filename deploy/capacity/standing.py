"""What an environment costs a month, from its synthesised templates and the price table. Pure.

Everything in the templates is either priced here or in `FREE`: a kind of resource that is in neither raises, so that
nothing new stands there unpriced.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from deploy.capacity.business_calendar import month_days
from deploy.capacity.inputs import Inputs, TaskSize
from deploy.capacity.money import MONTH_HOURS, level_hours, task_hour, volume_lines
from deploy.capacity.planner import Month
from deploy.capacity.quotas import CONTROL_KB
from deploy.capacity.sizing import AURORA, targets

Templates = Mapping[str, Mapping[str, Any]]
Properties = Mapping[str, Any]

PRICED: Final = frozenset(
    f"AWS::{kind}"
    for kind in (
        "ApplicationAutoScaling::ScalableTarget",
        "CloudWatch::Alarm",
        "EC2::EIP",
        "EC2::NatGateway",
        "EC2::VPCEndpoint",
        "ECR::Repository",
        "ECS::Cluster",
        "ECS::Service",
        "ECS::TaskDefinition",
        "ElasticLoadBalancingV2::LoadBalancer",
        "KMS::Key",
        "Logs::LogGroup",
        "RDS::DBCluster",
        "RDS::DBInstance",
        "SecretsManager::Secret",
        "WAFv2::WebACL",
    )
)
# Costs nothing by standing there: what is used of it is a line of the volume, or under a dollar a month.
FREE: Final = frozenset(
    f"AWS::{kind}"
    for kind in (
        "ApiGateway::Account",
        "ApiGateway::BasePathMapping",
        "ApiGateway::Deployment",
        "ApiGateway::DomainName",
        "ApiGateway::RestApi",
        "ApiGateway::Stage",
        "ApiGateway::UsagePlan",
        "ApiGatewayV2::VpcLink",
        "ApplicationAutoScaling::ScalingPolicy",
        "EC2::FlowLog",
        "EC2::InternetGateway",
        "EC2::Route",
        "EC2::RouteTable",
        "EC2::SecurityGroup",
        "EC2::SecurityGroupEgress",
        "EC2::SecurityGroupIngress",
        "EC2::Subnet",
        "EC2::SubnetRouteTableAssociation",
        "EC2::VPC",
        "EC2::VPCGatewayAttachment",
        "ECR::RegistryScanningConfiguration",
        "ECR::SigningConfiguration",
        "ECS::ClusterCapacityProviderAssociations",
        "ElasticLoadBalancingV2::Listener",
        "ElasticLoadBalancingV2::ListenerRule",
        "ElasticLoadBalancingV2::TargetGroup",
        "Events::Rule",
        "IAM::ManagedPolicy",
        "IAM::Policy",
        "IAM::Role",
        "KMS::Alias",
        "Lambda::Function",
        "Lambda::Permission",
        "RDS::DBClusterParameterGroup",
        "RDS::DBParameterGroup",
        "RDS::DBSubnetGroup",
        "S3::Bucket",
        "S3::BucketPolicy",
        "SNS::Topic",
        "SNS::TopicPolicy",
        "SQS::Queue",
        "SQS::QueuePolicy",
        "SSM::Association",
        "SSM::Parameter",
        "Scheduler::Schedule",
        "Scheduler::ScheduleGroup",
        "SecretsManager::ResourcePolicy",
        "SecretsManager::RotationSchedule",
        "SecretsManager::SecretTargetAttachment",
        "ServiceDiscovery::HttpNamespace",
        "ServiceDiscovery::PrivateDnsNamespace",
        "Signer::SigningProfile",
        "WAFv2::LoggingConfiguration",
        "WAFv2::WebACLAssociation",
    )
)


class UnpricedError(Exception):
    """A template has a kind of resource that nobody has said a price of."""


@dataclass(frozen=True)
class Item:
    """One line of an environment's bill: what is there, and USD a month."""

    component: str
    quantity: str
    usd: float


def standing(inputs: Inputs, templates: Templates) -> list[Item]:
    """A month in which nothing comes in. Raises `UnpricedError`."""
    return _items(inputs, templates, lambda _, least: least * MONTH_HOURS)


def busy(inputs: Inputs, templates: Templates, month: Month, images: int) -> list[Item]:
    """A month of `images` in the forecast's shape; capacity is the planner's where the environment has its schedule."""
    scaled = inputs.model_copy(
        update={"forecast": inputs.forecast.model_copy(update={"images_per_month": max(images, 1)})}
    )
    hours = len(month_days(*month)) * 24
    by_name = {target.name: target for target in targets(scaled)}
    planned = any(item["Type"] == "AWS::Scheduler::Schedule" and "Aurora" in name for name, item in _all(templates))

    def capacity(name: str, least: float) -> float:
        return max(least * hours, level_hours(scaled, by_name[name], month)) if planned else least * hours

    lines = [Item(line.component, "", line.usd) for line in volume_lines(scaled, month, images)]
    millions, prices = images / 1e6, inputs.prices
    if any(item["Type"] == "AWS::WAFv2::WebACL" for _, item in _all(templates)):
        lines.append(Item("WAF requests", "", millions * inputs.usage.image.api_calls * prices.waf_million))
    lines.append(Item("Control traffic of endpoints or NAT", "", images * CONTROL_KB / 1e6 * prices.nat_gb))
    return _items(scaled, templates, capacity) + lines


def _all(templates: Templates) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for template in templates.values():
        yield from template["Resources"].items()


def _items(inputs: Inputs, templates: Templates, capacity: Callable[[str, float], float]) -> list[Item]:
    kinds: dict[str, list[Properties]] = {}
    for _, item in _all(templates):
        kinds.setdefault(item["Type"], []).append(item.get("Properties", {}))
    if unpriced := sorted(kinds.keys() - PRICED - FREE):
        raise UnpricedError(f"say in deploy/capacity/standing.py what these cost: {', '.join(unpriced)}")

    def of(kind: str) -> list[Properties]:
        return kinds.get(f"AWS::{kind}", [])

    prices, fixed = inputs.prices, inputs.usage.fixed
    tasks = list(_tasks(inputs, of, capacity))
    (cluster,) = of("RDS::DBCluster")
    least, instances = float(cluster["ServerlessV2ScalingConfiguration"]["MinCapacity"]), len(of("RDS::DBInstance"))
    interfaces = [item for item in of("EC2::VPCEndpoint") if item.get("VpcEndpointType") == "Interface"]
    zones = sum(len(item["SubnetIds"]) for item in interfaces)
    metrics = sum(_metrics(item) for item in of("CloudWatch::Alarm"))
    rules = sum(len(item["Rules"]) for item in of("WAFv2::WebACL"))
    nats, balancers, addresses = (
        len(of(k)) for k in ("EC2::NatGateway", "ElasticLoadBalancingV2::LoadBalancer", "EC2::EIP")
    )
    stored = len(of("SecretsManager::Secret")) * prices.secret_month + len(of("KMS::Key")) * prices.kms_key_month
    found = [
        *tasks,
        Item(
            "Aurora, minimum capacity",
            f"{instances} x {least:g} ACU",
            capacity(AURORA, least) * instances * prices.aurora_acu_hour,
        ),
        Item("Load balancer", f"{balancers}", balancers * MONTH_HOURS * prices.alb_hour),
        Item(
            "Interface endpoints",
            f"{len(interfaces)} services, {zones} interfaces",
            zones * MONTH_HOURS * prices.endpoint_hour,
        ),
        Item(
            "NAT gateways and their addresses",
            f"{nats}",
            MONTH_HOURS * (nats * prices.nat_hour + addresses * prices.public_address_hour),
        ),
        Item(
            "WAF",
            f"{len(of('WAFv2::WebACL'))} list, {rules} rules",
            len(of("WAFv2::WebACL")) * prices.waf_acl_month + rules * prices.waf_rule_month,
        ),
        _insights(inputs, of),
        Item("Alarms", f"{metrics} metrics", metrics * prices.alarm_month),
        Item("Secrets and keys", f"{len(of('SecretsManager::Secret'))} and {len(of('KMS::Key'))}", stored),
        Item("Images in ECR", f"{fixed.ecr_gb:g} GB", fixed.ecr_gb * prices.ecr_gb_month),
        Item("Logs of an idle month", f"{fixed.idle_log_gb:g} GB", fixed.idle_log_gb * prices.logs_gb),
    ]
    return [item for item in found if item.usd]


def _tasks(
    inputs: Inputs, of: Callable[[str], list[Properties]], capacity: Callable[[str, float], float]
) -> Iterator[Item]:
    definitions = {item["Family"].rsplit("-", 1)[-1]: item for item in of("ECS::TaskDefinition")}
    providers = {item["ServiceName"]: item["CapacityProviderStrategy"] for item in of("ECS::Service")}
    for target in sorted(of("ApplicationAutoScaling::ScalableTarget"), key=lambda item: str(item["ResourceId"])):
        name, least = str(target["ResourceId"]).rsplit("/", 1)[-1], int(target["MinCapacity"])
        definition = definitions[name]
        size = TaskSize(
            architecture="arm64" if definition["RuntimePlatform"]["CpuArchitecture"] == "ARM64" else "x86_64",
            vcpu=int(definition["Cpu"]) / 1024,
            memory_gb=int(definition["Memory"]) / 1024,
            minimum=least,
        )
        hours, spot = capacity(name, least), _spot_share(providers[name], least)
        hour = task_hour(size, inputs.prices)
        usd = hours * hour * (1 - spot + spot * inputs.prices.fargate_spot_share)
        yield Item(f"Fargate {name}", f"{least} x {size.vcpu:g} vCPU, {size.memory_gb:g} GB", usd)


def _spot_share(strategy: list[Mapping[str, Any]], tasks: int) -> float:
    """Share of so many tasks that the capacity provider strategy puts on Spot."""
    base = sum(int(part.get("Base", 0)) for part in strategy)
    weights = {str(part["CapacityProvider"]): int(part["Weight"]) for part in strategy}
    above = max(tasks - base, 0)
    return above * weights.get("FARGATE_SPOT", 0) / sum(weights.values()) / tasks


def _metrics(alarm: Properties) -> int:
    """Metrics that an alarm looks at: each is billed."""
    return sum("MetricStat" in part for part in alarm["Metrics"]) if "Metrics" in alarm else 1


def _insights(inputs: Inputs, of: Callable[[str], list[Properties]]) -> Item:
    prices, fixed = inputs.prices, inputs.usage.fixed
    (cluster,) = of("ECS::Cluster")
    (setting,) = [item["Value"] for item in cluster["ClusterSettings"] if item["Name"] == "containerInsights"]
    services, families = len(of("ECS::Service")), len(of("ECS::TaskDefinition"))
    if setting == "enhanced":
        tasks = sum(int(item["MinCapacity"]) for item in of("ApplicationAutoScaling::ScalableTarget"))
        count, price = fixed.metrics_enhanced * (1 + services + families + 2 * tasks), prices.insights_metric_month
    else:
        count = fixed.metrics_a_cluster + services * fixed.metrics_a_service + families * fixed.metrics_a_family
        price = prices.metric_month if setting == "enabled" else 0.0
    return Item("Container Insights", f"{setting}, {count} metrics", count * price)
