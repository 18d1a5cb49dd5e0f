"""What a rollout is promised: no gap, a way back, and nothing that runs unwatched. Each promise a test."""

from __future__ import annotations

from typing import Any, Final

import pytest

from gateway.adapters.health import TEST_HEADER
from tests.support.template import only, resources

Templates = dict[str, dict[str, Any]]
BLUE_GREEN: Final = ("gateway", "presign_svc", "metadata_svc")


def deployment(templates: Templates, service: str) -> dict[str, Any]:
    found = only(templates["Services"], "AWS::ECS::Service", ServiceName=service)
    return dict(found["DeploymentConfiguration"])


@pytest.mark.parametrize("service", BLUE_GREEN)
def test_services_that_answer_are_replaced_blue_green_with_bake_time(prod: Templates, service: str) -> None:
    made = deployment(prod, service)
    assert made["Strategy"] == "BLUE_GREEN"
    assert made["BakeTimeInMinutes"] == 10


@pytest.mark.parametrize("service", BLUE_GREEN)
def test_a_new_version_is_tested_before_it_gets_traffic(prod: Templates, service: str) -> None:
    (hook,) = deployment(prod, service)["LifecycleHooks"]
    assert hook["LifecycleStages"] == ["POST_TEST_TRAFFIC_SHIFT"]
    function = prod["Services"]["Resources"][hook["HookTargetArn"]["Fn::GetAtt"][0]]
    assert function["Type"] == "AWS::Lambda::Function"
    assert "/readyz" in function["Properties"]["Code"]["ZipFile"]
    role = prod["Services"]["Resources"][hook["RoleArn"]["Fn::GetAtt"][0]]["Properties"]
    (statement,) = role["Policies"][0]["PolicyDocument"]["Statement"]
    assert statement["Action"] == ["lambda:InvokeFunction"]
    assert statement["Resource"] == [
        f"arn:aws:lambda:ap-northeast-2:123456789012:function:{function['Properties']['FunctionName']}"
    ]


@pytest.mark.parametrize("service", BLUE_GREEN)
def test_an_alarm_on_errors_or_sick_targets_rolls_back(prod: Templates, service: str) -> None:
    alarms = deployment(prod, service)["Alarms"]
    assert alarms["Enable"] is alarms["Rollback"] is True
    there = {item["AlarmName"]: item for item in resources(prod["Services"], "AWS::CloudWatch::Alarm").values()}
    watched = [there[name] for name in alarms["AlarmNames"]]
    assert {item["MetricName"] for item in watched} == {"HTTPCode_Target_5XX_Count", "UnHealthyHostCount"}
    groups = {str(item["Dimensions"]) for item in watched if item["MetricName"] == "UnHealthyHostCount"}
    assert len(groups) == 2, "of both target groups: either may be the new one"


@pytest.mark.parametrize("service", BLUE_GREEN)
def test_the_alarms_are_there_before_the_deployment_that_watches_them(prod: Templates, service: str) -> None:
    template = prod["Services"]["Resources"]
    (item,) = [item for item in template.values() if item["Properties"].get("ServiceName") == service]
    before = {template[name]["Properties"].get("AlarmName") for name in item["DependsOn"]}
    assert set(deployment(prod, service)["Alarms"]["AlarmNames"]) <= before


def test_the_worker_is_replaced_rolling_with_circuit_breaker_and_rollback(prod: Templates) -> None:
    made = deployment(prod, "image_svc")
    assert made["Strategy"] == "ROLLING"
    assert made["DeploymentCircuitBreaker"] == {"Enable": True, "Rollback": True}


@pytest.mark.parametrize("service", [*BLUE_GREEN, "image_svc"])
def test_never_fewer_healthy_tasks_than_wanted(prod: Templates, dev: Templates, service: str) -> None:
    for templates in (prod, dev):
        assert deployment(templates, service)["MinimumHealthyPercent"] == 100
        assert deployment(templates, service)["MaximumPercent"] == 200


def test_the_gateways_traffic_moves_between_two_groups_by_two_rules(prod: Templates) -> None:
    service = only(prod["Services"], "AWS::ECS::Service", ServiceName="gateway")
    (balanced,) = service["LoadBalancers"]
    advanced = balanced["AdvancedConfiguration"]
    blue, green = balanced["TargetGroupArn"]["Ref"], advanced["AlternateTargetGroupArn"]["Ref"]
    rules = resources(prod["Services"], "AWS::ElasticLoadBalancingV2::ListenerRule")
    listeners = resources(prod["Services"], "AWS::ElasticLoadBalancingV2::Listener")
    ports = []
    for field in ("ProductionListenerRule", "TestListenerRule"):
        rule = rules[advanced[field]["Ref"]]
        (action,) = rule["Actions"]
        weights = {item["TargetGroupArn"]["Ref"]: item["Weight"] for item in action["ForwardConfig"]["TargetGroups"]}
        assert weights == {blue: 100, green: 0}
        ports.append(listeners[rule["ListenerArn"]["Ref"]]["Port"])
    assert ports == [443, 8443]


def test_calls_with_the_test_header_go_to_the_new_version_of_the_service_that_it_names(prod: Templates) -> None:
    for service in ("presign_svc", "metadata_svc"):
        found = only(prod["Services"], "AWS::ECS::Service", ServiceName=service)
        (entry,) = found["ServiceConnectConfiguration"]["Services"]
        (alias,) = entry["ClientAliases"]
        assert alias["TestTrafficRules"]["Header"] == {"Name": TEST_HEADER, "Value": {"Exact": service}}
    worker = only(prod["Services"], "AWS::ECS::Service", ServiceName="image_svc")
    assert "TestTrafficRules" not in worker["ServiceConnectConfiguration"]["Services"][0]["ClientAliases"][0]


def test_a_deployment_or_a_task_that_fails_and_tasks_that_do_not_start_raise_an_alarm(prod: Templates) -> None:
    rules = {item["Name"]: item for item in resources(prod["Services"], "AWS::Events::Rule").values()}
    assert rules.keys() == {
        f"darkroom-prod-{unit}" for unit in ("deployment-failed", "service-impaired", "task-failed")
    }
    failed = rules["darkroom-prod-deployment-failed"]["EventPattern"]
    assert failed["detail"] == {"eventName": ["SERVICE_DEPLOYMENT_FAILED"]}
    impaired = rules["darkroom-prod-service-impaired"]["EventPattern"]
    assert impaired["detail-type"] == ["ECS Service Action"]
    assert impaired["detail"] == {
        "clusterArn": ["arn:aws:ecs:ap-northeast-2:123456789012:cluster/darkroom-prod-services"],
        "$or": [{"eventType": ["ERROR"]}, {"eventName": ["SERVICE_TASK_START_IMPAIRED"]}],
    }
    ended = rules["darkroom-prod-task-failed"]["EventPattern"]["detail"]
    families = {
        f"family:{item['Family']}"
        for stack in ("Cluster", "Services")
        for item in resources(prod[stack], "AWS::ECS::TaskDefinition").values()
        if item["ContainerDefinitions"][0].get("Command")
    }
    assert set(ended["group"]) == families
    for rule in rules.values():
        (target,) = rule["Targets"]
        assert target["Arn"] == "arn:aws:sns:ap-northeast-2:123456789012:darkroom-prod-alarms"
        assert "RoleArn" not in target  # with one, EventBridge may fail to deliver
    policy = next(
        item["PolicyDocument"]["Statement"]
        for item in resources(prod["Core"], "AWS::SNS::TopicPolicy").values()
        if any("Service" in statement["Principal"] for statement in item["PolicyDocument"]["Statement"])
    )
    (heard,) = [statement for statement in policy if statement["Principal"] == {"Service": "events.amazonaws.com"}]
    assert heard["Action"] == "sns:Publish"
    assert "Condition" not in heard  # EventBridge fills none in: the statement would never hold


def test_every_alarm_is_heard(prod: Templates) -> None:
    for item in resources(prod["Services"], "AWS::CloudWatch::Alarm").values():
        heard = ["arn:aws:sns:ap-northeast-2:123456789012:darkroom-prod-alarms"]
        assert item["AlarmActions"] == item["OKActions"] == heard


def test_migrations_run_as_one_off_tasks_of_the_new_image_before_and_after(prod: Templates) -> None:
    for phase in ("pre", "post"):
        task = only(prod["Cluster"], "AWS::ECS::TaskDefinition", Family=f"darkroom-prod-migrate-{phase}")
        (made,) = task["ContainerDefinitions"]
        assert made["EntryPoint"] == ["/usr/bin/python3"]
        assert made["Command"][:4] == ["-m", "metadata_svc.migrate", "--phase", phase]
        assert made["Command"][4:6] == ["--owner", "darkroom/prod/database/owner"]
        assert {"Name": "PGSSLMODE", "Value": "verify-full"} in made["Environment"]
        assert "Secrets" not in made, "it reads them itself"
        assert made["ReadonlyRootFilesystem"] is True
    outputs = prod["Cluster"]["Outputs"]
    assert {"ClusterName", "MigratePreTaskDefinition", "MigratePostTaskDefinition", "MigrationSecurityGroup"} <= set(
        outputs
    )
    assert "TaskSubnets" in prod["Network"]["Outputs"]


def test_nothing_of_the_services_has_to_change_for_a_migration_to_run(prod: Templates) -> None:
    assert not resources(prod["Cluster"], "AWS::ECS::Service")
    assert not resources(prod["Services"], "AWS::ECS::Cluster")


@pytest.mark.parametrize(
    ("unit", "module", "expression"),
    [("reconcile", "image_svc.reconcile", "cron(0 3 * * ? *)"), ("prune", "metadata_svc.prune", "cron(30 4 * * ? *)")],
)
def test_upkeep_runs_by_the_clock_and_what_cannot_start_is_kept_and_told(
    prod: Templates, unit: str, module: str, expression: str
) -> None:
    schedule = only(prod["Services"], "AWS::Scheduler::Schedule", Name=f"darkroom-prod-{unit}")
    assert schedule["ScheduleExpression"] == expression
    assert schedule["ScheduleExpressionTimezone"] == "Asia/Seoul"
    target = schedule["Target"]
    assert target["RetryPolicy"]["MaximumRetryAttempts"] > 0
    dead = only(prod["Services"], "AWS::SQS::Queue")
    (logical,) = resources(prod["Services"], "AWS::SQS::Queue")
    assert target["DeadLetterConfig"] == {"Arn": {"Fn::GetAtt": [logical, "Arn"]}}
    only(
        prod["Services"],
        "AWS::CloudWatch::Alarm",
        Dimensions=[{"Name": "QueueName", "Value": dead["QueueName"]}],
        MetricName="ApproximateNumberOfMessagesVisible",
    )
    task = only(prod["Services"], "AWS::ECS::TaskDefinition", Family=f"darkroom-prod-{unit}")
    assert task["ContainerDefinitions"][0]["Command"] == ["-m", module]


def test_a_task_that_ends_finds_metadata_svc_without_service_connect(prod: Templates) -> None:
    task = only(prod["Services"], "AWS::ECS::TaskDefinition", Family="darkroom-prod-reconcile")
    variables = {item["Name"]: item["Value"] for item in task["ContainerDefinitions"][0]["Environment"]}
    assert variables["IMAGE_SVC_METADATA_TARGET"] == "ecs:darkroom-prod-services/metadata_svc:9090"
