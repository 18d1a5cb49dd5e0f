"""What scaling is promised: what is followed, how far, and what the calendar does ahead. Each promise a test."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any, Final

import pytest

from deploy.capacity import inputs, planner
from deploy.capacity.plan import Plan
from deploy.capacity.sizing import AURORA
from deploy.cdk import settings
from deploy.cdk.capacity import plan_of
from deploy.cdk.constructs import autoscaling
from deploy.cdk.constructs.repositories import SERVICES
from tests.support.environments import OWNERS
from tests.support.template import only, resources

Templates = dict[str, dict[str, Any]]
TARGET: Final = "AWS::ApplicationAutoScaling::ScalableTarget"
POLICY: Final = "AWS::ApplicationAutoScaling::ScalingPolicy"


@pytest.fixture(scope="module")
def env() -> settings.AwsEnvironment:
    return settings.load("prod", OWNERS)


@pytest.fixture(scope="module")
def plan(env: settings.AwsEnvironment) -> Plan:
    return planner.build(inputs.load(), env.capacity.plan_as_of)


def target(templates: Templates, service: str) -> tuple[str, dict[str, Any]]:
    ((logical, found),) = [
        (key, item)
        for key, item in resources(templates["Services"], TARGET).items()
        if item["ResourceId"].endswith(f"/{service}")
    ]
    return logical, found


def followed(templates: Templates, service: str) -> list[dict[str, Any]]:
    logical, _ = target(templates, service)
    return [
        item["TargetTrackingScalingPolicyConfiguration"]
        for item in resources(templates["Services"], POLICY).values()
        if item["ScalingTargetId"] == {"Ref": logical} and item["PolicyType"] == "TargetTrackingScaling"
    ]


@pytest.mark.parametrize("service", SERVICES)
def test_each_service_scales_by_itself_between_its_own_bounds(
    prod: Templates, env: settings.AwsEnvironment, service: str
) -> None:
    _, found = target(prod, service)
    assert found["ResourceId"] == f"service/darkroom-prod-services/{service}"
    assert found["ScalableDimension"] == "ecs:service:DesiredCount"
    assert found["MinCapacity"] == getattr(env, service).min_tasks >= 2
    assert found["MaxCapacity"] == getattr(env, service).max_tasks
    assert "DesiredCount" not in only(prod["Services"], "AWS::ECS::Service", ServiceName=service)


@pytest.mark.parametrize("service", ["gateway", "presign_svc", "metadata_svc"])
def test_services_that_answer_follow_their_cpu(prod: Templates, env: settings.AwsEnvironment, service: str) -> None:
    cpu = [item for item in followed(prod, service) if "PredefinedMetricSpecification" in item]
    assert [item["TargetValue"] for item in cpu] == [getattr(env, service).cpu_percent]
    assert cpu[0]["PredefinedMetricSpecification"]["PredefinedMetricType"] == "ECSServiceAverageCPUUtilization"


def test_the_gateway_follows_requests_too_and_of_both_target_groups_together(prod: Templates) -> None:
    (found,) = [item for item in followed(prod, "gateway") if "CustomizedMetricSpecification" in item]
    metrics = {item["Id"]: item for item in found["CustomizedMetricSpecification"]["Metrics"]}
    # No request is no data point: as a gap it would keep the service from ever scaling in.
    assert metrics["e1"]["Expression"] == "FILL(m1, 0) / m2"
    assert metrics["m1"]["MetricStat"]["Metric"]["MetricName"] == "RequestCount"
    assert [item["Name"] for item in metrics["m1"]["MetricStat"]["Metric"]["Dimensions"]] == ["LoadBalancer"]


def test_the_worker_follows_the_backlog_per_task_by_metric_math(prod: Templates) -> None:
    (found,) = followed(prod, "image_svc")
    metrics = {item["Id"]: item for item in found["CustomizedMetricSpecification"]["Metrics"]}
    backlog, tasks = (metrics[name]["MetricStat"]["Metric"] for name in ("m1", "m2"))
    assert (backlog["Namespace"], backlog["MetricName"]) == ("AWS/SQS", "ApproximateNumberOfMessagesVisible")
    assert backlog["Dimensions"] == [{"Name": "QueueName", "Value": "darkroom-prod-images"}]
    assert (tasks["Namespace"], tasks["MetricName"]) == ("ECS/ContainerInsights", "RunningTaskCount")
    assert {item["Name"]: item["Value"] for item in tasks["Dimensions"]} == {
        "ClusterName": "darkroom-prod-services",
        "ServiceName": "image_svc",
    }
    assert metrics["e1"]["Expression"] == "m1 / m2"
    assert [item["Id"] for item in metrics.values() if item["ReturnData"]] == ["e1"]


@pytest.mark.parametrize("stage", ["staging", "prod"])
def test_what_is_deployed_is_what_the_planner_simulates(stage: str) -> None:
    env, policy = settings.load(stage, OWNERS), inputs.load().policy
    assert isinstance(env, settings.AwsEnvironment)
    for service in SERVICES:
        tasks, size = getattr(env, service), getattr(policy, service)
        assert (tasks.cpu, tasks.memory) == (size.vcpu * 1_024, size.memory_gb * 1_024)
        assert tasks.min_tasks == size.minimum
        if service != "image_svc":
            assert tasks.cpu_percent == size.target_utilisation * 100
    worker = env.image_svc
    assert worker.backlog_per_task == policy.tracking.target_backlog_per_task
    assert worker.on_demand_base == policy.spot.on_demand_base
    share = worker.on_demand_weight / (worker.on_demand_weight + worker.spot_weight)
    assert share == policy.spot.on_demand_share
    assert policy.tracking.out_cooldown_seconds == autoscaling.OUT_COOLDOWN
    assert policy.tracking.in_cooldown_seconds == autoscaling.IN_COOLDOWN


@pytest.mark.parametrize("service", SERVICES)
def test_scheduled_actions_are_the_plans_with_its_time_zone_and_its_fallback(
    prod: Templates, plan: Plan, service: str
) -> None:
    _, found = target(prod, service)
    planned = plan.service(service)
    made = found["ScheduledActions"]
    assert [item["ScheduledActionName"] for item in made] == [action.name for action in planned.actions]
    assert [item["Schedule"] for item in made] == [action.schedule for action in planned.actions]
    assert {item["Timezone"] for item in made} == {"Asia/Seoul"}
    for item, action in zip(made, planned.actions, strict=True):
        assert item["ScalableTargetAction"] == {
            "MinCapacity": max(2, action.minimum),
            "MaxCapacity": found["MaxCapacity"],
        }
    recurring = [item for item in made if item["Schedule"].startswith("cron(")]
    assert len(recurring) == 3
    assert all("StartTime" in item for item in recurring), "they sleep while the calendar still knows"


def test_the_worker_has_dated_steps_ahead_of_every_month_end_that_the_calendar_knows(
    prod: Templates, plan: Plan
) -> None:
    _, found = target(prod, "image_svc")
    dated = [item["Schedule"] for item in found["ScheduledActions"] if item["Schedule"].startswith("at(")]
    months = {schedule[3:10] for schedule in dated}
    assert {f"{day:%Y-%m}" for day in plan.peak_days} <= months
    assert max(item["ScalableTargetAction"]["MinCapacity"] for item in found["ScheduledActions"]) == 12
    assert len(found["ScheduledActions"]) <= 200, "AWS takes no more for a target"


def test_a_deployment_in_a_peak_takes_no_capacity_away() -> None:
    moment = datetime(2026, 12, 30, 2, 0, tzinfo=UTC)  # 11:00 in Seoul, on the last working day but one
    planned = planner.build(inputs.load(), moment).service("image_svc")
    assert planned.initial > planned.floor, "or this moment shows nothing"
    from deploy.cdk.app import build  # takes seconds to import, and starts node

    deployed = build(settings.load("prod", {**OWNERS, "DARKROOM_DEPLOY_CAPACITY__PLAN_AS_OF": moment.isoformat()}))
    template = deployed.synth().get_stack_by_name("darkroom-prod-services").template
    _, found = target({"Services": template}, "image_svc")
    assert found["MinCapacity"] == planned.initial


def test_the_plan_fits_below_what_a_service_may_grow_to(plan: Plan, env: settings.AwsEnvironment) -> None:
    for service in SERVICES:
        assert plan.service(service).maximum <= getattr(env, service).max_tasks
    assert plan.service(AURORA).maximum <= env.database.max_acu


@pytest.mark.parametrize(
    ("name", "value", "peak"), [("image_svc.max_tasks", "11", "12 tasks"), ("database.max_acu", "1", "1.5 ACU")]
)
def test_a_maximum_below_the_plan_stops_the_synth_with_the_settings_name(name: str, value: str, peak: str) -> None:
    variable = f"DARKROOM_DEPLOY_{name.upper().replace('.', '__')}"
    few = {"DARKROOM_DEPLOY_METADATA_SVC__MAX_TASKS": "2", "DARKROOM_DEPLOY_DATABASE__INSIGHTS": "off"}
    low = settings.load("prod", {**OWNERS, **few, "DARKROOM_DEPLOY_DATABASE__MIN_ACU": "0.5", variable: value})
    with pytest.raises(settings.EnvironmentError, match=rf"{name}: {value} is below .* {peak}; .* {variable}="):
        plan_of(low)


def test_a_plan_that_cannot_be_made_stops_the_synth_and_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> Plan:
        raise planner.PlanError("image_svc: 300 actions, AWS allows 200")

    monkeypatch.setattr(planner, "build", broken)
    with pytest.raises(settings.EnvironmentError, match="AWS allows 200"):
        plan_of(settings.load("prod", OWNERS))


def test_auroras_minimum_follows_the_plan_by_the_schedulers_own_call(prod: Templates, plan: Plan) -> None:
    schedules = {
        item["Name"].removeprefix("darkroom-prod-"): item
        for item in resources(prod["Services"], "AWS::Scheduler::Schedule").values()
        if item["Target"]["Arn"].startswith("arn:aws:scheduler:::aws-sdk:")
    }
    planned = plan.service(AURORA)
    assert schedules.keys() == {action.name for action in planned.actions}
    for action in planned.actions:
        made = schedules[action.name]
        assert made["Target"]["Arn"] == "arn:aws:scheduler:::aws-sdk:rds:modifyDBCluster"
        assert made["ScheduleExpression"] == action.schedule
        assert made["ScheduleExpressionTimezone"] == "Asia/Seoul"
        called = json.loads(made["Target"]["Input"])
        assert called["DbClusterIdentifier"] == "darkroom-prod-database"
        assert called["ServerlessV2ScalingConfiguration"]["MinCapacity"] >= action.minimum
        assert ("StartDate" in made) == (action.start is not None)


def test_auroras_minimum_never_leaves_the_bounds_of_its_settings(prod: Templates, env: settings.AwsEnvironment) -> None:
    for item in resources(prod["Services"], "AWS::Scheduler::Schedule").values():
        if "Input" in item["Target"]:
            scaling = json.loads(item["Target"]["Input"])["ServerlessV2ScalingConfiguration"]
            assert env.database.min_acu <= scaling["MinCapacity"] <= scaling["MaxCapacity"] == env.database.max_acu


def test_the_calendars_end_raises_an_alarm_sixty_days_ahead_without_code_of_ours(prod: Templates, plan: Plan) -> None:
    alarm = only(prod["Services"], "AWS::CloudWatch::Alarm", AlarmName="darkroom-prod-capacity-horizon")
    days, steady = (item for item in sorted(alarm["Metrics"], key=lambda item: str(item["Id"])))
    assert days["Expression"] == plan.horizon.expression
    assert (alarm["ComparisonOperator"], alarm["Threshold"]) == ("LessThanThreshold", 60)
    assert steady["MetricStat"]["Metric"]["MetricName"] == "RunningTaskCount"
    service = {item["Name"]: item["Value"] for item in steady["MetricStat"]["Metric"]["Dimensions"]}["ServiceName"]
    _, found = target(prod, service)
    assert found["MinCapacity"] >= 1, "the metric is always there"
    assert alarm["AlarmActions"] == ["arn:aws:sns:ap-northeast-2:123456789012:darkroom-prod-alarms"]


def test_the_alarms_expression_crosses_sixty_on_the_day_that_the_plan_calls_near(plan: Plan) -> None:
    begins = int(plan.horizon.expression.split(" - ")[0].removeprefix("("))
    at_alarm = begins - 60 * 86_400
    assert datetime.fromtimestamp(begins, UTC).astimezone(plan.as_of.tzinfo).date() == plan.horizon.fallback_from
    for moment, due in ((at_alarm - 3_600, False), (at_alarm + 3_600, True)):
        assert ((begins - moment) / 86_400 < 60) is due


def test_a_service_that_can_grow_no_further_raises_an_alarm(prod: Templates, env: settings.AwsEnvironment) -> None:
    for service in SERVICES:
        alarm = only(prod["Services"], "AWS::CloudWatch::Alarm", AlarmName=f"darkroom-prod-{service}-at-maximum")
        assert alarm["Threshold"] == getattr(env, service).max_tasks
        assert alarm["MetricName"] == "DesiredTaskCount"


def test_where_there_is_no_month_end_nothing_is_scheduled_but_the_upkeep(dev: Templates) -> None:
    for item in resources(dev["Services"], TARGET).values():
        assert "ScheduledActions" not in item
    schedules = resources(dev["Services"], "AWS::Scheduler::Schedule").values()
    assert {item["Name"] for item in schedules} == {"darkroom-dev-reconcile", "darkroom-dev-prune"}


def test_the_plan_of_a_synth_is_as_of_its_setting_and_not_of_today(prod: Templates) -> None:
    first = target(prod, "image_svc")[1]["ScheduledActions"][0]["Schedule"]
    assert first.startswith("at(2026-12-")
