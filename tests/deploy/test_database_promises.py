"""What the database promises, each promise a test over the synthesised template."""

from __future__ import annotations

import json

import pytest

from deploy.cdk import parameters, settings
from deploy.cdk.tables.database import Database
from deploy.gates.gate import environment
from metadata_svc.settings import Settings as Metadata
from tests.support.environments import OWNERS
from tests.support.templates import Template, of_construct, only, resources, roles

Templates = dict[str, Template]


def cluster(made: Templates) -> Template:
    return only(made["Database"], "AWS::RDS::DBCluster")


def instances(made: Templates) -> list[Template]:
    return list(resources(made["Database"], "AWS::RDS::DBInstance").values())


def cluster_parameters(made: Templates) -> dict[str, str]:
    found: dict[str, str] = only(made["Database"], "AWS::RDS::DBClusterParameterGroup")["Parameters"]
    return found


def rotations(made: Templates) -> dict[str, Template]:
    """Rotation schedules by the role whose secret they rotate."""
    found = resources(made["Database"], "AWS::SecretsManager::RotationSchedule").values()
    return {item["SecretId"]["Ref"].removesuffix("Attachment").lower(): item for item in found}


def test_the_database_is_aurora_postgresql_16_on_serverless_v2(prod: Templates) -> None:
    made = cluster(prod)
    assert (made["Engine"], made["EngineVersion"].split(".")[0]) == ("aurora-postgresql", "16")
    assert made["ServerlessV2ScalingConfiguration"] == {"MinCapacity": 1, "MaxCapacity": 32}
    assert {item["DBInstanceClass"] for item in instances(prod)} == {"db.serverless"}


def test_writer_and_reader_are_in_different_zones(prod: Templates, staging: Templates) -> None:
    for made in (prod, staging):
        zones = [item["AvailabilityZone"] for item in instances(made)]
        assert len(zones) == len(set(zones)) == 2


def test_the_reader_is_in_a_promotion_tier_that_grows_with_the_writer(prod: Templates) -> None:
    assert [item["PromotionTier"] for item in instances(prod)] == [0, 1]


def test_the_first_instance_is_there_before_the_second_so_that_it_is_the_writer(prod: Templates) -> None:
    found = {
        name: item for name, item in prod["Database"]["Resources"].items() if item["Type"] == "AWS::RDS::DBInstance"
    }
    first, second = sorted(found)
    assert first in found[second]["DependsOn"]


def test_the_database_lies_in_the_isolated_subnets_and_is_not_public(prod: Templates) -> None:
    group = only(prod["Database"], "AWS::RDS::DBSubnetGroup")
    assert len(group["SubnetIds"]) == 3
    assert all("VpcdatabaseSubnet" in subnet["Fn::ImportValue"] for subnet in group["SubnetIds"])
    assert all(item["PubliclyAccessible"] is False for item in instances(prod))


def test_rows_are_encrypted_and_with_our_own_key_where_there_is_one(prod: Templates, with_kms: Templates) -> None:
    assert cluster(prod)["StorageEncrypted"] is cluster(with_kms)["StorageEncrypted"] is True
    assert "KmsKeyId" not in cluster(prod)
    (key,) = resources(with_kms["Core"], "AWS::KMS::Key")
    for name in ("KmsKeyId", "PerformanceInsightsKmsKeyId"):
        assert key in cluster(with_kms)[name]["Fn::ImportValue"]


def test_backups_reach_as_far_back_as_the_setting_and_outlive_a_mistake(prod: Templates) -> None:
    made = cluster(prod)
    assert made["BackupRetentionPeriod"] == 14
    assert made["DeletionProtection"] is made["CopyTagsToSnapshot"] is True
    (resource,) = [item for item in prod["Database"]["Resources"].values() if item["Type"] == "AWS::RDS::DBCluster"]
    assert resource["DeletionPolicy"] == resource["UpdateReplacePolicy"] == "Snapshot"


def test_nobody_connects_without_tls_or_with_an_old_password_hash(prod: Templates) -> None:
    made = cluster_parameters(prod)
    assert made["rds.force_ssl"] == "1"
    assert made["ssl_min_protocol_version"] == "TLSv1.2"
    assert made["password_encryption"] == "scram-sha-256"
    assert made["rds.accepted_password_auth_method"] == "scram"


def test_metadata_svc_checks_the_name_and_the_authority_of_the_database(prod: Templates) -> None:
    (value,) = [
        item["Value"]
        for item in resources(prod["Database"], "AWS::SSM::Parameter").values()
        if item["Name"] == "/darkroom/prod/metadata_svc/database_ssl"
    ]
    assert value == "verify-full"
    assert {item["CACertificateIdentifier"] for item in instances(prod)} == {"rds-ca-rsa2048-g1"}


def test_operators_may_log_in_by_their_aws_identity(prod: Templates) -> None:
    assert cluster(prod)["EnableIAMDatabaseAuthentication"] is True


def test_an_idle_transaction_and_a_dead_client_give_their_locks_back(prod: Templates) -> None:
    made = cluster_parameters(prod)
    assert made["idle_in_transaction_session_timeout"] == "30000"
    seconds = int(made["tcp_keepalives_idle"]) + int(made["tcp_keepalives_interval"]) * int(
        made["tcp_keepalives_count"]
    )
    assert seconds <= 120


def test_slow_statements_waits_for_locks_and_changes_of_structure_are_logged(prod: Templates) -> None:
    made = cluster_parameters(prod)
    assert made["log_min_duration_statement"] == "500"
    assert made["log_lock_waits"] == "1"
    assert set(made["pgaudit.log"].split(",")) == {"ddl", "role"}
    assert "pgaudit" in made["shared_preload_libraries"].split(",")
    assert cluster(prod)["EnableCloudwatchLogsExports"] == ["postgresql"]


def test_no_value_of_a_statement_and_no_password_is_logged(prod: Templates) -> None:
    made = cluster_parameters(prod)
    assert made["log_parameter_max_length"] == made["log_parameter_max_length_on_error"] == "0"
    assert made["log_statement"] == "none"  # `ddl` would log ALTER ROLE ... PASSWORD; pgaudit leaves passwords out


def test_the_log_is_ours_before_rds_would_make_one_that_is_kept_for_ever(prod: Templates) -> None:
    log = of_construct(prod["Database"], "AWS::Logs::LogGroup", "AuroraLog")
    assert log["LogGroupName"] == f"/aws/rds/cluster/{cluster(prod)['DBClusterIdentifier']}/postgresql"
    assert log["RetentionInDays"] == 90
    (resource,) = [item for item in prod["Database"]["Resources"].values() if item["Type"] == "AWS::RDS::DBCluster"]
    (waited,) = resource["DependsOn"]
    assert prod["Database"]["Resources"][waited]["Type"] == "AWS::Logs::LogGroup"


def test_the_rotation_functions_logs_end_and_are_ours_before_lambda_would_make_them(
    prod: Templates, with_kms: Templates
) -> None:
    for made in (prod, with_kms):
        groups = resources(made["Database"], "AWS::Logs::LogGroup")
        for name, schedule in resources(made["Database"], "AWS::SecretsManager::RotationSchedule").items():
            function = schedule["HostedRotationLambda"]["RotationLambdaName"]
            (group,) = [key for key, item in groups.items() if item["LogGroupName"] == f"/aws/lambda/{function}"]
            assert group in made["Database"]["Resources"][name]["DependsOn"]
            assert groups[group]["RetentionInDays"] == 90
            assert ("KmsKeyId" in groups[group]) == (made is with_kms)


def test_insights_are_a_setting(prod: Templates, dev: Templates) -> None:
    assert cluster(prod)["DatabaseInsightsMode"] == "standard"
    assert (cluster(prod)["PerformanceInsightsEnabled"], cluster(prod)["PerformanceInsightsRetentionPeriod"]) == (
        True,
        7,
    )
    assert cluster(dev)["PerformanceInsightsEnabled"] is False


def test_the_operating_system_is_sampled_by_a_role_that_writes_there_alone(prod: Templates) -> None:
    assert {item["MonitoringInterval"] for item in instances(prod)} == {60}
    group = "arn:aws:logs:ap-northeast-2:123456789012:log-group:RDSOSMetrics"
    assert [statement["Resource"] for _, statement in roles(prod["Database"])] == [[group, f"{group}:*"]]


def test_nobody_gets_in_but_whom_a_rule_of_its_own_names(prod: Templates) -> None:
    group = of_construct(prod["Database"], "AWS::EC2::SecurityGroup", "SecurityGroup")
    assert "SecurityGroupIngress" not in group
    rules = {
        (stack, name): item
        for stack, template in prod.items()
        for name, item in resources(template, "AWS::EC2::SecurityGroupIngress").items()
        if item["FromPort"] == 5432
    }
    assert {stack for stack, _ in rules} == {"Database", "Cluster", "Services"}
    assert all("SourceSecurityGroupId" in item for item in rules.values())


def test_the_master_users_password_stands_in_secrets_manager_alone(prod: Templates) -> None:
    made = cluster(prod)
    assert made["MasterUsername"] == "darkroom_owner"
    assert made["MasterUserPassword"] == "{{resolve:secretsmanager:darkroom/prod/database/owner:SecretString:password}}"


def test_every_secret_learns_where_the_database_is(prod: Templates) -> None:
    (database,) = resources(prod["Database"], "AWS::RDS::DBCluster")
    attached = resources(prod["Database"], "AWS::SecretsManager::SecretTargetAttachment")
    assert set(attached) == {f"{secret.unit.capitalize()}Attachment" for secret in parameters.SECRETS}
    for item in attached.values():
        assert (item["TargetId"], item["TargetType"]) == ({"Ref": database}, "AWS::RDS::DBCluster")


def test_every_secret_is_rotated_and_what_serves_requests_by_alternating_users(prod: Templates) -> None:
    assert {role: item["HostedRotationLambda"]["RotationType"] for role, item in rotations(prod).items()} == {
        "owner": "PostgreSQLSingleUser",
        "app": "PostgreSQLMultiUser",
        "maintenance": "PostgreSQLMultiUser",
    }
    assert {item["RotationRules"]["AutomaticallyAfterDays"] for item in rotations(prod).values()} == {30}
    assert prod["Database"]["Transform"] == "AWS::SecretsManager-2024-09-16"


def test_alternating_users_are_made_as_the_owner_whom_each_secret_names(prod: Templates) -> None:
    for role in ("app", "maintenance"):
        function = rotations(prod)[role]["HostedRotationLambda"]
        assert function["SuperuserSecretArn"] == {"Ref": "OwnerAttachment"}
        secret = of_construct(prod["Core"], "AWS::SecretsManager::Secret", f"DatabaseSecrets{role.capitalize()}")
        text = secret["GenerateSecretString"]["SecretStringTemplate"]
        (owner,) = [name for name in resources(prod["Core"], "AWS::SecretsManager::Secret") if "Owner" in name]
        assert {"Ref": owner} in text["Fn::Join"][1]
        whole = "".join(part if isinstance(part, str) else "arn" for part in text["Fn::Join"][1])
        assert json.loads(whole) == {"username": f"darkroom_{role}", "dbname": "darkroom", "masterarn": "arn"}


def test_no_rotation_begins_before_the_first_migration_has_made_the_users(prod: Templates) -> None:
    assert all(item["RotateImmediatelyOnUpdate"] is False for item in rotations(prod).values())


def test_rotated_passwords_may_stand_in_an_url(prod: Templates) -> None:
    for item in rotations(prod).values():
        assert set(":/?#[]@!$&'()*+,;=% \"\\") <= set(item["HostedRotationLambda"]["ExcludeCharacters"])


def test_the_rotation_functions_reach_the_database_and_secrets_manager_and_nothing_else(
    prod: Templates, dev: Templates
) -> None:
    group = of_construct(prod["Database"], "AWS::EC2::SecurityGroup", "RotationSecurityGroup")
    assert "SecurityGroupIngress" not in group
    ways = {rule["FromPort"]: rule for rule in group["SecurityGroupEgress"]}
    assert set(ways) == {443, 5432}
    assert "DestinationSecurityGroupId" in ways[5432]
    assert ways[443]["CidrIp"] == "10.40.0.0/16"
    through_nat = of_construct(dev["Database"], "AWS::EC2::SecurityGroup", "RotationSecurityGroup")
    assert {rule.get("CidrIp") for rule in through_nat["SecurityGroupEgress"]} == {None, "0.0.0.0/0"}


def test_the_rotation_functions_may_use_our_own_key_where_there_is_one(with_kms: Templates) -> None:
    for role, item in rotations(with_kms).items():
        function = item["HostedRotationLambda"]
        assert "KmsKeyArn" in function
        assert ("SuperuserSecretKmsKeyArn" in function) == (role != "owner")


def test_the_pools_that_the_sum_counts_are_those_that_metadata_svc_reads(prod: Templates) -> None:
    held = {item["Name"]: item["Value"] for item in resources(prod["Database"], "AWS::SSM::Parameter").values()}
    database = settings.load("prod", OWNERS).database
    for name in ("app_pool_size", "maintenance_pool_size"):
        assert held[f"/darkroom/prod/metadata_svc/{name}"] == str(getattr(database, name))
        assert name in Metadata.model_fields


@pytest.mark.parametrize("entry", parameters.DATABASE, ids=lambda entry: entry.name)
def test_what_the_stack_sets_is_a_value_that_metadata_svc_takes(entry: parameters.Parameter, prod: Templates) -> None:
    assert entry.readers == ("metadata_svc",)
    (value,) = [
        item["Value"]
        for item in resources(prod["Database"], "AWS::SSM::Parameter").values()
        if item["Name"].endswith(f"/{entry.name}")
    ]
    base = {"queue_url": "q", "topic_arn": "t", "app_database_secret": "a", "maintenance_database_secret": "m"}
    assert str(getattr(Metadata.model_validate(base | {entry.name: value}), entry.name)) == value


@pytest.mark.parametrize("stage", ["dev", "staging", "prod"])
def test_all_tasks_of_two_versions_have_fewer_connections_than_the_database_admits(stage: str) -> None:
    env = environment(stage)
    assert isinstance(env, settings.AwsEnvironment)
    pools = env.database.app_pool_size + env.database.maintenance_pool_size
    assert 2 * env.metadata_svc.max_tasks * pools + env.database.reserved_connections <= env.database.max_connections


def test_more_tasks_than_connections_stop_the_synth_and_name_what_to_change() -> None:
    with pytest.raises(settings.EnvironmentError, match=r"database\.max_acu: .*max_tasks.*2000.* there") as error:
        settings.load(
            "prod",
            OWNERS | {"DARKROOM_DEPLOY_METADATA_SVC__MAX_TASKS": "100", "DARKROOM_DEPLOY_DATABASE__MIN_ACU": "0.5"},
        )
    assert "DARKROOM_DEPLOY_DATABASE__MAX_ACU=" in str(error.value)


@pytest.mark.parametrize(
    ("least", "most", "admitted"),
    # Aurora user guide, "Maximum connections for Aurora Serverless v2"; between two entries the lower one.
    [
        (0.5, 1, 189),
        (0.5, 4, 823),
        (1, 6, 823),
        (1, 8, 1669),
        (0.5, 16, 2000),
        (1, 16, 3360),
        (1, 32, 5000),
        (1, 128, 5000),
    ],
)
def test_connections_follow_from_the_maximum_acus_as_aurora_derives_them(
    least: float, most: float, admitted: int
) -> None:
    base = settings.load("prod", OWNERS).database.model_dump()
    assert Database.model_validate(base | {"min_acu": least, "max_acu": most}).max_connections == admitted


def test_alarms_go_off_at_maximum_capacity_at_a_lagging_reader_and_near_the_last_connection(prod: Templates) -> None:
    alarms = {item["MetricName"]: item for item in resources(prod["Database"], "AWS::CloudWatch::Alarm").values()}
    assert set(alarms) == {"ACUUtilization", "AuroraReplicaLagMaximum", "DatabaseConnections"}
    assert alarms["DatabaseConnections"]["Threshold"] == 5000 * 85 // 100
    for alarm in alarms.values():
        assert {"Name": "DBClusterIdentifier", "Value": "darkroom-prod-database"} in alarm["Dimensions"]
        (topic,) = alarm["AlarmActions"]
        assert "Alarms" in topic["Fn::ImportValue"]


def test_a_database_without_a_reader_has_no_alarm_on_its_lag(dev: Templates) -> None:
    assert "AuroraReplicaLagMaximum" not in {
        item["MetricName"] for item in resources(dev["Database"], "AWS::CloudWatch::Alarm").values()
    }
