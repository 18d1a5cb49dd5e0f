"""Aurora PostgreSQL Serverless v2: cluster, writer, readers, parameters, log group."""

from __future__ import annotations

from typing import Final

from aws_cdk import CfnDeletionPolicy, aws_iam, aws_rds
from constructs import Construct

from deploy.cdk import names
from deploy.cdk.acknowledge import acknowledge
from deploy.cdk.constructs.log_group import log_group
from deploy.cdk.constructs.secrets import DATABASE
from deploy.cdk.settings import AwsEnvironment
from deploy.cdk.tables.database import INSIGHTS_DAYS

PORT: Final = 5432
FAMILY: Final = "aurora-postgresql16"
ENGINE: Final = "aurora-postgresql"
OWNER: Final = "darkroom_owner"
# Of the authorities that RDS offers; all are in the bundle that the image has (deploy/images/rds-ca.pem).
AUTHORITY: Final = "rds-ca-rsa2048-g1"


class Aurora(Construct):
    """The cluster in the given isolated subnets, reached by whom `security_group_id` lets in.

    The writer is in the first zone, each reader in the next: after a failover they have only changed roles. Readers are
    in promotion tier 1, so that they grow and shrink with the writer and can take its load at once (Aurora user guide,
    "Promotion tier for Aurora Serverless v2").
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        env: AwsEnvironment,
        *,
        subnet_ids: list[str],
        security_group_id: str,
        key_arn: str | None,
    ) -> None:
        super().__init__(scope, construct_id)
        database = env.database
        self.identifier = names.resource(env, "database")
        log = log_group(
            self,
            "Log",
            env,
            name=f"/aws/rds/cluster/{self.identifier}/postgresql",  # RDS's name for it
            days=database.log_days,
            key_arn=key_arn,
        )
        subnets = aws_rds.CfnDBSubnetGroup(
            self,
            "Subnets",
            db_subnet_group_name=self.identifier,
            db_subnet_group_description="Darkroom: isolated subnets of the database",
            subnet_ids=subnet_ids,
        )
        parameters = aws_rds.CfnDBClusterParameterGroup(
            self,
            "Parameters",
            description=f"Darkroom {env.stage}: TLS only, time-outs, what is logged",
            family=FAMILY,
            parameters=_parameters(env),
        )
        watched = database.insights != "off"
        self.cluster = aws_rds.CfnDBCluster(
            self,
            "Cluster",
            db_cluster_identifier=self.identifier,
            engine=ENGINE,
            engine_version=database.engine_version,
            database_name=DATABASE,
            port=PORT,
            master_username=OWNER,
            # Read once, when the cluster is made; after that, rotation is what sets it.
            master_user_password="{{resolve:secretsmanager:" + names.secret(env, "owner") + ":SecretString:password}}",
            serverless_v2_scaling_configuration=aws_rds.CfnDBCluster.ServerlessV2ScalingConfigurationProperty(
                min_capacity=database.min_acu, max_capacity=database.max_acu
            ),
            storage_type=database.storage,
            storage_encrypted=True,
            kms_key_id=key_arn,
            db_subnet_group_name=subnets.ref,
            vpc_security_group_ids=[security_group_id],
            db_cluster_parameter_group_name=parameters.ref,
            enable_iam_database_authentication=True,
            backup_retention_period=database.backup_days,
            preferred_backup_window=database.backup_window,
            preferred_maintenance_window=database.maintenance_window,
            copy_tags_to_snapshot=True,
            deletion_protection=database.deletion_protection,
            enable_cloudwatch_logs_exports=["postgresql"],
            performance_insights_enabled=watched,
            performance_insights_retention_period=INSIGHTS_DAYS[database.insights] if watched else None,
            performance_insights_kms_key_id=key_arn if watched else None,
            database_insights_mode=database.insights if watched else None,
        )
        # The group must be ours before RDS would make one that keeps everything for ever.
        self.cluster.add_resource_dependency(log)
        keep = CfnDeletionPolicy.SNAPSHOT if env.keep_data else CfnDeletionPolicy.DELETE
        self.cluster.cfn_options.deletion_policy = keep
        self.cluster.cfn_options.update_replace_policy = keep
        if not database.deletion_protection:
            acknowledge(
                self.cluster,
                "AwsSolutions-RDS10",
                reason="In dev only: the stack is made to be deleted again, the database with it.",
            )
        role = self._monitoring_role(env)
        self.instances = [
            self._instance(env, index, zone, role.attr_arn)
            for index, zone in enumerate(env.network.zones[: 1 + database.readers])
        ]
        # One after the other: the first one made is the writer.
        for earlier, later in zip(self.instances, self.instances[1:], strict=False):
            later.add_resource_dependency(earlier)

    def _instance(self, env: AwsEnvironment, index: int, zone: str, role_arn: str) -> aws_rds.CfnDBInstance:
        instance = aws_rds.CfnDBInstance(
            self,
            f"Instance{index + 1}",
            db_instance_identifier=f"{self.identifier}-{index + 1}",
            db_cluster_identifier=self.cluster.ref,
            db_instance_class="db.serverless",
            engine=ENGINE,
            availability_zone=zone,
            promotion_tier=min(index, 1),
            publicly_accessible=False,
            ca_certificate_identifier=AUTHORITY,
            auto_minor_version_upgrade=True,
            preferred_maintenance_window=env.database.maintenance_window,
            monitoring_interval=env.database.monitoring_seconds,
            monitoring_role_arn=role_arn,
        )
        acknowledge(
            instance,
            "W3010",
            reason="Writer and reader must be in different zones, which only naming them ensures; zones are a setting.",
        )
        return instance

    def _monitoring_role(self, env: AwsEnvironment) -> aws_iam.CfnRole:
        """What AWS's AmazonRDSEnhancedMonitoringRole allows, for the one log group that it is about."""
        group = names.arn(env, "logs", "log-group:RDSOSMetrics")
        role = aws_iam.CfnRole(
            self,
            "MonitoringRole",
            description="Writes the operating system's metrics of Darkroom's database",
            assume_role_policy_document={
                "Version": "2012-10-17",
                "Statement": [
                    {
                        "Effect": "Allow",
                        "Principal": {"Service": "monitoring.rds.amazonaws.com"},
                        "Action": "sts:AssumeRole",
                        "Condition": {"StringEquals": {"aws:SourceAccount": env.account}},
                    }
                ],
            },
            policies=[
                aws_iam.CfnRole.PolicyProperty(
                    policy_name="write",
                    policy_document={
                        "Version": "2012-10-17",
                        "Statement": [
                            {
                                "Effect": "Allow",
                                "Action": [
                                    "logs:CreateLogGroup",
                                    "logs:PutRetentionPolicy",
                                    "logs:CreateLogStream",
                                    "logs:PutLogEvents",
                                    "logs:DescribeLogStreams",
                                    "logs:GetLogEvents",
                                ],
                                "Resource": [group, f"{group}:*"],
                            }
                        ],
                    },
                )
            ],
        )
        acknowledge(
            role,
            f"AwsSolutions-IAM5[Resource::{group}:*]",
            reason="The last part is the log stream: one an instance, named by RDS when it makes the instance.",
        )
        return role


def _parameters(env: AwsEnvironment) -> dict[str, str]:
    """Parameters of the cluster, as Aurora PostgreSQL 16 names them.

    Statements are logged by how long they take and, where they change structure or roles, by pgaudit: `log_statement`
    would write a rotation's new password into the log, pgaudit leaves passwords out. Values are never logged: they are
    people's file names and tags.
    """
    database = env.database
    return {
        "rds.force_ssl": "1",
        "ssl_min_protocol_version": "TLSv1.2",
        "password_encryption": "scram-sha-256",
        "rds.accepted_password_auth_method": "scram",
        "idle_in_transaction_session_timeout": str(database.idle_in_transaction_seconds * 1000),
        "tcp_keepalives_idle": "60",
        "tcp_keepalives_interval": "10",
        "tcp_keepalives_count": "3",
        "shared_preload_libraries": "pg_stat_statements,pgaudit",
        "pgaudit.log": "ddl,role",
        "log_statement": "none",
        "log_min_duration_statement": str(database.slow_statement_milliseconds),
        "log_parameter_max_length": "0",
        "log_parameter_max_length_on_error": "0",
        "log_lock_waits": "1",
        "log_temp_files": "0",
        "timezone": "UTC",
    }
