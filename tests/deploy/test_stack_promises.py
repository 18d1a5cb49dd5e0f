"""What the stacks promise, each promise a test over the synthesised template."""

from __future__ import annotations

import json

import pytest

from deploy.cdk import api_document, settings, templates
from tests.support import openapi
from tests.support.environments import OWNERS
from tests.support.templates import Template, listed, resources, roles, statements


@pytest.mark.parametrize("stack", templates.STACKS)
def test_the_committed_local_template_is_what_the_code_makes(local: dict[str, Template], stack: str) -> None:
    committed = templates.path(stack).read_text()
    assert committed == templates.render(local[stack]), "run `make templates` and commit what it writes"


def test_two_synths_make_the_same_text(local: dict[str, Template]) -> None:
    again = templates.synthesise(settings.load("local", {}))
    assert {name: templates.render(item) for name, item in again.items()} == {
        name: templates.render(item) for name, item in local.items()
    }


def test_templates_keep_cloudformations_limits_and_those_before_the_templates_bucket_go_inline(
    prod: dict[str, Template], with_kms: dict[str, Template]
) -> None:
    for made in (prod, with_kms):
        for stack, template in made.items():
            size = len(json.dumps(template, separators=(",", ":")))
            assert size < (51_200 if stack in {"Core", "Registry"} else 1_000_000)  # bytes of TemplateBody; by S3
            assert len(template["Resources"]) <= 500


def test_no_stack_needs_an_asset_a_custom_resource_or_a_bootstrap(local: dict[str, Template]) -> None:
    for template in local.values():
        kinds = {item["Type"] for item in template["Resources"].values()}
        assert not {kind for kind in kinds if kind.startswith(("Custom::", "AWS::Lambda::"))}
        assert "BootstrapVersion" not in template.get("Parameters", {})


def test_buckets_are_private_encrypted_and_without_acls(prod: dict[str, Template]) -> None:
    buckets = resources(prod["Core"], "AWS::S3::Bucket")
    assert len(buckets) == 2
    for bucket in buckets.values():
        assert set(bucket["PublicAccessBlockConfiguration"].values()) == {True}
        assert bucket["OwnershipControls"]["Rules"] == [{"ObjectOwnership": "BucketOwnerEnforced"}]
        (rule,) = bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"]
        assert rule["ServerSideEncryptionByDefault"] == {"SSEAlgorithm": "AES256"}


def test_a_key_of_our_own_encrypts_all_that_is_stored_and_lets_events_and_alarms_through(
    with_kms: dict[str, Template],
) -> None:
    core = with_kms["Core"]
    ((name, key),) = resources(core, "AWS::KMS::Key").items()
    arn = {"Fn::GetAtt": [name, "Arn"]}
    assert key["EnableKeyRotation"] is True
    for bucket in resources(core, "AWS::S3::Bucket").values():
        (rule,) = bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"]
        assert rule["ServerSideEncryptionByDefault"] == {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": arn}
        assert rule["BucketKeyEnabled"] is True
    for kind, setting, count in (
        ("AWS::SQS::Queue", "KmsMasterKeyId", 2),
        ("AWS::SNS::Topic", "KmsMasterKeyId", 2),
        ("AWS::SecretsManager::Secret", "KmsKeyId", 3),
    ):
        assert [item[setting] for item in resources(core, kind).values()] == [arn] * count
    services, events, logs = [item for item in key["KeyPolicy"]["Statement"] if "Service" in item["Principal"]]
    assert set(services["Principal"]["Service"]) == {"s3.amazonaws.com", "cloudwatch.amazonaws.com"}
    assert set(services["Action"]) == {"kms:GenerateDataKey", "kms:Decrypt"}
    assert services["Condition"] == {"StringEquals": {"aws:SourceAccount": "123456789012"}}
    assert events["Principal"] == {"Service": "events.amazonaws.com"}
    assert set(events["Action"]) == {"kms:GenerateDataKey", "kms:Decrypt"}
    alarms = "arn:aws:sns:ap-northeast-2:123456789012:darkroom-prod-alarms"
    assert events["Condition"] == {"StringEquals": {"kms:EncryptionContext:aws:sns:topicArn": alarms}}
    assert logs["Principal"] == {"Service": "logs.ap-northeast-2.amazonaws.com"}
    for group in logs["Condition"]["ArnLike"]["kms:EncryptionContext:aws:logs:arn"]:
        assert "darkroom" in group.split(":log-group:")[1]
    assert core["Resources"][name]["DeletionPolicy"] == "RetainExceptOnCreate"


def test_whoever_signs_or_moves_objects_may_use_our_own_key_because_s3_acts_for_the_signer(
    with_kms: dict[str, Template],
) -> None:
    granted = {
        role: set(statement["Action"])
        for role, statement in roles(with_kms["Services"])
        if any(action.startswith("kms:") for action in listed(statement["Action"]))
    }
    for service in ("presign", "image", "metadata"):  # PUT, GET and multipart; objects; queue, topic and secrets
        (actions,) = [given for role, given in granted.items() if role.startswith(f"{service}svcTaskRole")]
        assert actions == {"kms:GenerateDataKey", "kms:Decrypt"}
    assert not [role for role in granted if role.startswith("gatewayTaskRole")]


def test_buckets_queues_and_topics_speak_tls_only(prod: dict[str, Template]) -> None:
    for kind, count in (("AWS::S3::BucketPolicy", 2), ("AWS::SQS::QueuePolicy", 2), ("AWS::SNS::TopicPolicy", 2)):
        denied = [
            statement
            for statement in statements(prod["Core"], kind)
            if statement["Effect"] == "Deny" and statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
        ]
        assert len(denied) == count


def test_incoming_is_create_only_and_spares_the_parts_of_a_multipart_upload(prod: dict[str, Template]) -> None:
    (rule,) = [item for item in statements(prod["Core"], "AWS::S3::BucketPolicy") if item["Sid"] == "CreateOnly"]
    assert rule["Effect"] == "Deny"
    assert rule["Action"] == "s3:PutObject"
    assert rule["Resource"].endswith("/incoming/*")
    assert rule["Condition"] == {
        "Null": {"s3:if-none-match": "true"},
        "Bool": {"s3:ObjectCreationOperation": "true"},
    }


@pytest.mark.parametrize(
    ("unit", "setting"), [("incoming", "longest_ticket_seconds"), ("media", "longest_download_seconds")]
)
def test_no_signature_older_than_the_longest_that_we_give_opens_a_bucket(
    prod: dict[str, Template], unit: str, setting: str
) -> None:
    (rule,) = [
        item
        for item in statements(prod["Core"], "AWS::S3::BucketPolicy")
        if item["Sid"] == "NoOldSignatures" and unit.capitalize() in str(item["Resource"])
    ]
    assert (rule["Effect"], rule["Action"], rule["Principal"]) == ("Deny", "s3:*", "*")
    seconds = getattr(settings.load("prod", OWNERS), setting)
    assert rule["Condition"] == {"NumericGreaterThan": {"s3:signatureAge": seconds * 1000}}


def test_browsers_may_send_what_a_ticket_seals_and_read_the_etag(prod: dict[str, Template]) -> None:
    cors = [
        bucket["CorsConfiguration"]["CorsRules"][0] for bucket in resources(prod["Core"], "AWS::S3::Bucket").values()
    ]
    assert {"content-type", "if-none-match", "x-amz-checksum-sha256"} in [set(rule["AllowedHeaders"]) for rule in cors]
    assert all(rule["ExposedHeaders"] == ["ETag"] for rule in cors)
    assert all(rule["AllowedOrigins"] == ["https://photos.example.com"] for rule in cors)


def test_dangling_multipart_uploads_end(prod: dict[str, Template]) -> None:
    for bucket in resources(prod["Core"], "AWS::S3::Bucket").values():
        rules = bucket["LifecycleConfiguration"]["Rules"]
        assert any("AbortIncompleteMultipartUpload" in rule for rule in rules)


def test_uploads_announce_themselves_on_the_queue_and_nobody_else_may(prod: dict[str, Template]) -> None:
    announced = [
        bucket["NotificationConfiguration"]["QueueConfigurations"]
        for bucket in resources(prod["Core"], "AWS::S3::Bucket").values()
        if "NotificationConfiguration" in bucket
    ]
    ((configuration,),) = announced
    assert configuration["Event"] == "s3:ObjectCreated:*"
    assert {"Name": "prefix", "Value": "incoming/"} in configuration["Filter"]["S3Key"]["Rules"]
    allowed = [item for item in statements(prod["Core"], "AWS::SQS::QueuePolicy") if item["Effect"] == "Allow"]
    assert [item["Principal"] for item in allowed] == [{"Service": "s3.amazonaws.com"}]
    assert allowed[0]["Condition"]["StringEquals"] == {"aws:SourceAccount": "123456789012"}


def test_dead_letters_outlive_the_queue_they_come_from(prod: dict[str, Template]) -> None:
    queues = resources(prod["Core"], "AWS::SQS::Queue")
    (source,) = [queue for queue in queues.values() if "RedrivePolicy" in queue]
    (dead,) = [queue for queue in queues.values() if "RedrivePolicy" not in queue]
    assert source["RedrivePolicy"]["maxReceiveCount"] == 20
    assert dead["MessageRetentionPeriod"] == 14 * 86_400 > source["MessageRetentionPeriod"] == 4 * 86_400
    assert all(queue["SqsManagedSseEnabled"] for queue in queues.values())


def test_messages_are_encrypted_by_sqs_and_by_our_own_key_where_there_is_one(
    prod: dict[str, Template], with_kms: dict[str, Template]
) -> None:
    assert all(queue["SqsManagedSseEnabled"] for queue in resources(prod["Core"], "AWS::SQS::Queue").values())
    for queue in resources(with_kms["Core"], "AWS::SQS::Queue").values():
        assert "KmsMasterKeyId" in queue
        assert "SqsManagedSseEnabled" not in queue


def test_the_dead_letter_queue_takes_letters_of_this_queue_alone(prod: dict[str, Template]) -> None:
    (dead,) = [item for item in resources(prod["Core"], "AWS::SQS::Queue").values() if "RedriveAllowPolicy" in item]
    (source,) = [item for item in resources(prod["Core"], "AWS::SQS::Queue").values() if "RedrivePolicy" in item]
    assert dead["RedriveAllowPolicy"] == {
        "redrivePermission": "byQueue",
        "sourceQueueArns": [f"arn:aws:sqs:ap-northeast-2:123456789012:{source['QueueName']}"],
    }


def test_dead_letters_an_old_backlog_and_a_full_flight_raise_an_alarm_that_somebody_hears(
    prod: dict[str, Template],
) -> None:
    alarms = resources(prod["Core"], "AWS::CloudWatch::Alarm").values()
    assert {alarm["MetricName"] for alarm in alarms} == {
        "ApproximateNumberOfMessagesVisible",
        "ApproximateAgeOfOldestMessage",
        "ApproximateNumberOfMessagesNotVisible",
    }
    (listener,) = [
        name
        for name, topic in resources(prod["Core"], "AWS::SNS::Topic").items()
        if topic["TopicName"] == "darkroom-prod-alarms"
    ]
    assert all(alarm["AlarmActions"] == alarm["OKActions"] == [{"Ref": listener}] for alarm in alarms)
    allowed = [item for item in statements(prod["Core"], "AWS::SNS::TopicPolicy") if item["Effect"] == "Allow"]
    assert [(item["Principal"], item["Resource"]) for item in allowed] == [
        ({"Service": "cloudwatch.amazonaws.com"}, {"Ref": listener}),
        ({"Service": "events.amazonaws.com"}, {"Ref": listener}),
    ]


def test_nothing_waits_for_the_queue_policy_but_the_bucket_that_announces(prod: dict[str, Template]) -> None:
    waiting = {
        item["Properties"]["BucketName"].split("-")[2]: item.get("DependsOn", [])
        for item in prod["Core"]["Resources"].values()
        if item["Type"] == "AWS::S3::Bucket"
    }
    (policy,) = waiting["incoming"]
    assert prod["Core"]["Resources"][policy]["Type"] == "AWS::SQS::QueuePolicy"
    assert waiting["media"] == []


def test_no_secret_value_stands_in_a_template(prod: dict[str, Template]) -> None:
    for secret in resources(prod["Core"], "AWS::SecretsManager::Secret").values():
        assert "SecretString" not in secret
        assert secret["GenerateSecretString"]["PasswordLength"] >= 32


def test_what_production_holds_outlives_its_stack_but_not_a_creation_that_failed(prod: dict[str, Template]) -> None:
    """What a rolled back creation left behind would hold the names that the next attempt needs."""
    for template in prod.values():
        for item in template["Resources"].values():
            if item["Type"] in {"AWS::S3::Bucket", "AWS::SecretsManager::Secret", "AWS::Logs::LogGroup"}:
                policies = (item["DeletionPolicy"], item["UpdateReplacePolicy"])
                assert policies in {("RetainExceptOnCreate", "Retain"), ("Delete", "Delete")}
                assert item["Type"] == "AWS::Logs::LogGroup" or policies[1] == "Retain"


def test_the_api_has_every_call_of_the_document_and_asks_for_a_key_on_v1_only(local: dict[str, Template]) -> None:
    (api,) = resources(local["Edge"], "AWS::ApiGateway::RestApi").values()
    derived = {
        (method, path.replace("+}", "}")): operation
        for path, item in api["Body"]["paths"].items()
        for method, operation in item.items()
    }
    ours = {
        (method, path)
        for path, item in openapi.DOCUMENT["paths"].items()
        for method in item
        if method in api_document.METHODS
    }
    assert {call for call in derived if call[0] not in {"options", "head"}} == ours
    assert {path for method, path in derived if method == "head"} == {path for method, path in ours if method == "get"}
    for (method, path), operation in derived.items():
        assert ("security" in operation) == (path.startswith("/v1/") and method != "options")
        assert operation["x-amazon-apigateway-integration"]["type"] == "http_proxy"


def test_the_stage_throttles_and_so_does_each_key(prod: dict[str, Template]) -> None:
    (stage,) = resources(prod["Edge"], "AWS::ApiGateway::Stage").values()
    assert stage["MethodSettings"][0]["ThrottlingRateLimit"] > 0
    assert stage["MethodSettings"][0]["DataTraceEnabled"] is False
    (plan,) = resources(prod["Edge"], "AWS::ApiGateway::UsagePlan").values()
    assert plan["Throttle"]["RateLimit"] <= stage["MethodSettings"][0]["ThrottlingRateLimit"]
