"""Least privilege: each role has the actions and ARNs of its service and no more. Each promise a test."""

from __future__ import annotations

from typing import Any, Final

import pytest

from deploy.cdk import parameters
from deploy.cdk.constructs.repositories import SERVICES
from tests.support.template import actions, grants, may, resources, roles

Templates = dict[str, dict[str, Any]]
ACCOUNT: Final = "123456789012"
HERE: Final = f"ap-northeast-2:{ACCOUNT}"
INCOMING: Final = f"arn:aws:s3:::darkroom-prod-incoming-{ACCOUNT}-ap-northeast-2"
MEDIA: Final = f"arn:aws:s3:::darkroom-prod-media-{ACCOUNT}-ap-northeast-2"
QUEUE: Final = f"arn:aws:sqs:{HERE}:darkroom-prod-images"
DLQ: Final = f"arn:aws:sqs:{HERE}:darkroom-prod-images-dlq"
TOPIC: Final = f"arn:aws:sns:{HERE}:darkroom-prod-events"
TASKS: Final = ("Cluster", "Services")
# What reads settings; metadata_svc's one-off tasks read its own.
READING: Final = {
    **{f"{service}-task": service for service in SERVICES},
    "reconcile-task": "image_svc",
    "prune-task": "metadata_svc",
    "admin-task": "metadata_svc",
}
# The only actions on everything, with the reason: AWS knows no resource for them (service authorization reference).
UNSCOPED: Final = {
    "ecr:GetAuthorizationToken": "a token is the registry's",
    "ec2:CreateNetworkInterface": "Lambda checks for it on all resources, for a function in a VPC",
    "ec2:DescribeNetworkInterfaces": "the same",
    "ec2:DescribeSubnets": "the same",
    "ec2:DeleteNetworkInterface": "the same",
    "ec2:AssignPrivateIpAddresses": "the same",
    "ec2:UnassignPrivateIpAddresses": "the same",
    "elasticloadbalancing:DescribeListeners": "describing knows no resource",
    "elasticloadbalancing:DescribeRules": "describing knows no resource",
    "elasticloadbalancing:DescribeTargetGroups": "describing knows no resource",
    "elasticloadbalancing:DescribeTargetHealth": "describing knows no resource",
    "ecs:ListTasks": "limited to the cluster by its condition",
}
# What every task that is a service or reads its settings has besides its own.
SETTINGS: Final = {"ssm:GetParametersByPath"}


def role(templates: Templates, unit: str) -> dict[str, Any]:
    return roles(*(templates[stack] for stack in TASKS))[f"darkroom-prod-{unit}"]


def own(templates: Templates, unit: str) -> set[tuple[str, str]]:
    """Actions and resources of a role, without the reading of settings."""
    return {(grant.action, grant.resource) for grant in grants(role(templates, unit)) if grant.action not in SETTINGS}


def test_the_gateway_may_read_its_settings_and_nothing_else(prod: Templates) -> None:
    assert own(prod, "gateway-task") == set()


def test_presign_svc_may_put_to_incoming_get_from_both_buckets_and_end_or_list_an_upload(prod: Templates) -> None:
    assert own(prod, "presign_svc-task") == {
        ("s3:PutObject", f"{INCOMING}/incoming/*"),
        ("s3:AbortMultipartUpload", f"{INCOMING}/incoming/*"),
        ("s3:ListMultipartUploadParts", f"{INCOMING}/incoming/*"),
        ("s3:GetObject", f"{INCOMING}/*"),
        ("s3:GetObject", f"{MEDIA}/*"),
    }


def test_image_svc_may_get_delete_and_list_both_buckets_put_to_media_and_handle_its_queue(prod: Templates) -> None:
    both = [(action, bucket) for action in ("GetObject", "DeleteObject", "DeleteObjectVersion", "AbortMultipartUpload")
            for bucket in (INCOMING, MEDIA)]  # fmt: skip
    lists = [(action, bucket) for action in ("ListBucket", "ListBucketVersions", "ListBucketMultipartUploads")
             for bucket in (INCOMING, MEDIA)]  # fmt: skip
    handles = ("ReceiveMessage", "DeleteMessage", "ChangeMessageVisibility", "SendMessage", "GetQueueAttributes")
    looks = ("ReceiveMessage", "ChangeMessageVisibility", "GetQueueAttributes")
    protects = f"arn:aws:ecs:{HERE}:task/darkroom-prod-services/*"
    assert own(prod, "image_svc-task") == {
        *((f"s3:{action}", f"{bucket}/*") for action, bucket in both),
        *((f"s3:{action}", bucket) for action, bucket in lists),
        ("s3:PutObject", f"{MEDIA}/*"),
        *((f"sqs:{action}", QUEUE) for action in handles),
        *((f"sqs:{action}", DLQ) for action in looks),
        ("ecs:GetTaskProtection", protects),
        ("ecs:UpdateTaskProtection", protects),
    }


def test_image_svc_may_not_write_to_incoming_nor_delete_dead_letters(prod: Templates) -> None:
    worker = role(prod, "image_svc-task")
    assert not may(worker, "s3:PutObject", f"{INCOMING}/incoming/t/i")
    assert not may(worker, "sqs:DeleteMessage", DLQ)


def test_metadata_svc_may_read_its_secrets_publish_to_the_topic_send_to_the_queue_and_has_no_s3(
    prod: Templates,
) -> None:
    secret = f"arn:aws:secretsmanager:{HERE}:secret:darkroom/prod/database"
    assert own(prod, "metadata_svc-task") == {
        ("secretsmanager:GetSecretValue", f"{secret}/app-??????"),
        ("secretsmanager:GetSecretValue", f"{secret}/maintenance-??????"),
        ("sns:Publish", TOPIC),
        ("sqs:SendMessage", QUEUE),
    }


def test_the_worker_may_protect_its_task_in_its_own_cluster_alone(prod: Templates) -> None:
    protecting = [grant for grant in grants(role(prod, "image_svc-task")) if grant.action == "ecs:UpdateTaskProtection"]
    assert [grant.condition for grant in protecting] == [
        str({"ArnEquals": {"ecs:cluster": f"arn:aws:ecs:{HERE}:cluster/darkroom-prod-services"}})
    ]


@pytest.mark.parametrize(("unit", "service"), READING.items())
def test_settings_are_read_from_the_shared_folder_and_the_services_own(
    prod: Templates, unit: str, service: str
) -> None:
    reading = {grant.resource for grant in grants(role(prod, unit)) if grant.action in SETTINGS}
    folder = f"arn:aws:ssm:{HERE}:parameter/darkroom/prod"
    assert reading == {f"{folder}/{part}{rest}" for part in ("shared", service) for rest in ("", "/*")}


def test_a_parameter_can_be_read_by_each_of_its_readers_and_by_no_other_service_but_the_shared_ones(
    prod: Templates,
) -> None:
    listed = (*parameters.CORE, *parameters.CORE_AWS, *parameters.DATABASE)
    for entry in listed:
        arn = f"arn:aws:ssm:{HERE}:parameter/darkroom/prod/{entry.folder}/{entry.name}"
        readers = {name for name in SERVICES if may(role(prod, f"{name}-task"), "ssm:GetParametersByPath", arn)}
        # The shared folder is read as a whole by everybody (runtime.settings): it holds names, no secrets.
        assert readers == (set(SERVICES) if entry.folder == "shared" else set(entry.readers)), entry.name


def test_a_secret_can_be_read_by_its_readers_and_the_one_off_tasks_that_need_it(prod: Templates) -> None:
    one_off = {
        "owner": {"migrate-pre", "migrate-post"},
        "app": {"migrate-pre", "migrate-post"},
        "maintenance": {"migrate-pre", "migrate-post", "prune", "admin"},
    }
    every = roles(*prod.values())
    for secret in parameters.SECRETS:
        arn = f"arn:aws:secretsmanager:{HERE}:secret:darkroom/prod/database/{secret.unit}-AbCdEf"
        readers = {name for name, item in every.items() if may(item, "secretsmanager:GetSecretValue", arn)}
        assert readers == {f"darkroom-prod-{unit}-task" for unit in (*secret.readers, *one_off[secret.unit])}


def test_only_migrations_may_read_the_owners_secret(prod: Templates) -> None:
    arn = f"arn:aws:secretsmanager:{HERE}:secret:darkroom/prod/database/owner-AbCdEf"
    every = roles(*prod.values()).items()
    assert {name for name, item in every if may(item, "secretsmanager:GetSecretValue", arn)} == {
        "darkroom-prod-migrate-pre-task",
        "darkroom-prod-migrate-post-task",
    }


def test_an_image_can_be_pulled_by_the_execution_roles_of_its_own_service_alone(prod: Templates) -> None:
    one_off = {"metadata_svc": {"migrate-pre", "migrate-post", "admin", "prune"}, "image_svc": {"reconcile"}}
    every = roles(*prod.values())
    for name in SERVICES:
        arn = f"arn:aws:ecr:{HERE}:repository/darkroom-prod/{name}"
        pulling = {unit for unit, item in every.items() if may(item, "ecr:GetDownloadUrlForLayer", arn)}
        assert pulling == {f"darkroom-prod-{unit}-execution" for unit in {name, *one_off.get(name, ())}}


def test_an_execution_role_pulls_and_logs_and_reads_no_secret(prod: Templates) -> None:
    for name, item in roles(*(prod[stack] for stack in TASKS)).items():
        if name.endswith("-execution"):
            assert actions(item) == {
                "ecr:GetAuthorizationToken",
                "ecr:BatchCheckLayerAvailability",
                "ecr:BatchGetImage",
                "ecr:GetDownloadUrlForLayer",
                "logs:CreateLogStream",
                "logs:PutLogEvents",
            }


def test_the_reconciler_may_look_at_and_remove_objects_but_write_none(prod: Templates) -> None:
    item = role(prod, "reconcile-task")
    assert actions(item, "s3") == {
        "s3:ListBucket",
        "s3:ListBucketVersions",
        "s3:ListBucketMultipartUploads",
        "s3:GetObject",
        "s3:DeleteObject",
        "s3:DeleteObjectVersion",
        "s3:AbortMultipartUpload",
    }
    assert actions(item, "sqs") == {"sqs:GetQueueAttributes"}
    assert actions(item, "secretsmanager") == set()


def test_a_schedule_may_start_its_own_task_and_pass_that_tasks_roles_alone(prod: Templates) -> None:
    for unit in ("reconcile", "prune"):
        starts = {
            (grant.action, grant.resource)
            for grant in grants(role(prod, f"{unit}-schedule"))
            if grant.action in {"ecs:RunTask", "iam:PassRole"}
        }
        assert starts == {
            ("ecs:RunTask", f"arn:aws:ecs:{HERE}:task-definition/darkroom-prod-{unit}:*"),
            ("iam:PassRole", f"arn:aws:iam::{ACCOUNT}:role/darkroom-prod-{unit}-task"),
            ("iam:PassRole", f"arn:aws:iam::{ACCOUNT}:role/darkroom-prod-{unit}-execution"),
        }


def test_the_calendar_may_modify_just_our_database_cluster(prod: Templates) -> None:
    item = role(prod, "database-minimum")
    changing = [(grant.action, grant.resource) for grant in grants(item) if not grant.action.startswith("sqs:")]
    assert changing == [("rds:ModifyDBCluster", f"arn:aws:rds:{HERE}:cluster:darkroom-prod-database")]


def test_no_role_of_ours_has_a_wildcard_among_its_actions(prod: Templates, with_kms: Templates) -> None:
    for made in (prod, with_kms):
        for name, item in roles(*made.values()).items():
            assert not [action for action in actions(item) if "*" in action], name


def test_no_role_of_ours_acts_on_everything_but_for_the_actions_listed_here(
    prod: Templates, with_kms: Templates
) -> None:
    found = {
        grant.action
        for made in (prod, with_kms)
        for item in roles(*(made[stack] for stack in TASKS)).values()
        for grant in grants(item)
        if grant.resource == "*"
    }
    assert found == UNSCOPED.keys()


def test_every_resource_of_a_role_is_of_this_environment(prod: Templates) -> None:
    for name, item in roles(*(prod[stack] for stack in TASKS)).items():
        for grant in grants(item):
            scoped = "darkroom-prod" in grant.resource or "darkroom/prod" in grant.resource
            keys = grant.action in {"apigateway:POST", "apigateway:DELETE"}  # ids of API Gateway's own making
            assert scoped or keys or grant.action in UNSCOPED, (name, grant)


def test_every_role_is_assumed_by_one_service_and_none_by_a_person(prod: Templates) -> None:
    for name, item in roles(*(prod[stack] for stack in TASKS)).items():
        (statement,) = item["AssumeRolePolicyDocument"]["Statement"]
        assert statement["Principal"].keys() == {"Service"}
        assert isinstance(statement["Principal"]["Service"], str)
        if name.endswith(("-task", "-execution", "-schedule")):
            assert statement["Condition"] == {"StringEquals": {"aws:SourceAccount": ACCOUNT}}


def test_no_role_has_a_policy_that_somebody_else_writes(prod: Templates) -> None:
    for stack in TASKS:
        for item in resources(prod[stack], "AWS::IAM::Role").values():
            assert "ManagedPolicyArns" not in item
        assert not resources(prod[stack], "AWS::IAM::ManagedPolicy")
        assert not resources(prod[stack], "AWS::IAM::Policy")


def test_with_a_key_of_our_own_signing_and_reading_have_the_grants_that_s3_asks_of_them(with_kms: Templates) -> None:
    for unit, wanted in {
        "presign_svc-task": {"kms:GenerateDataKey", "kms:Decrypt"},
        "image_svc-task": {"kms:GenerateDataKey", "kms:Decrypt"},
        "metadata_svc-task": {"kms:GenerateDataKey", "kms:Decrypt"},
        "gateway-task": set(),
        "reconcile-task": {"kms:Decrypt"},
        "prune-task": {"kms:Decrypt"},
        "migrate-pre-task": {"kms:Decrypt"},
    }.items():
        every = roles(*(with_kms[stack] for stack in TASKS))[f"darkroom-prod-{unit}"]
        using = [
            statement
            for policy in every.get("Policies", ())
            for statement in policy["PolicyDocument"]["Statement"]
            if any(action.startswith("kms:") for action in statement["Action"])
        ]
        assert {action for statement in using for action in statement["Action"]} == wanted
        assert all("Fn::ImportValue" in resource for statement in using for resource in statement["Resource"])


def test_without_one_no_role_speaks_of_keys(prod: Templates) -> None:
    for item in roles(*(prod[stack] for stack in TASKS)).values():
        assert actions(item, "kms") == set()
