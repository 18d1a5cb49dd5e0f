"""The lifecycle hook of blue/green deployments: a small function that asks a new version whether it is ready."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from aws_cdk import CfnDeletionPolicy, aws_ec2, aws_lambda, aws_logs
from constructs import Construct

from deploy.cdk import names
from deploy.cdk.acknowledge import acknowledge
from deploy.cdk.constructs.key import Key
from deploy.cdk.constructs.load_balancer import LoadBalancer
from deploy.cdk.constructs.roles import Role, Statement
from deploy.cdk.constructs.security_group import SecurityGroup, allow
from deploy.cdk.settings import AwsEnvironment

CODE: Final = Path(__file__).parents[1] / "functions" / "rollout_probe.py"
RUNTIME: Final = "python3.14"
INLINE_BYTES: Final = 4_096  # of a function that stands in a template
PATIENCE_SECONDS: Final = 60
TIMEOUT_SECONDS: Final = 90  # its patience, one last answer, and a cold start inside the VPC


class RolloutProbe(Construct):
    """Runs after the test traffic has moved and before the real one does; what it refuses is rolled back."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        env: AwsEnvironment,
        *,
        vpc: aws_ec2.IVpc,
        subnets: list[str],
        balancer: LoadBalancer,
        key: Key | None,
    ) -> None:
        super().__init__(scope, construct_id)
        code = CODE.read_text()
        if len(code.encode()) > INLINE_BYTES:
            raise ValueError(f"{CODE} has {len(code.encode())} bytes; {INLINE_BYTES} fit into a template")
        group = SecurityGroup(self, "SecurityGroup", env, unit="rollout-probe", vpc=vpc, https=False)
        allow(self, "ProbeToBalancer", source=group.id, target=balancer.security_group.id, port=balancer.port)
        allow(self, "ProbeToTests", source=group.id, target=balancer.security_group.id, port=balancer.test_port)
        logs = self._logs(env, key)
        role = self._role(env)
        self.function = aws_lambda.CfnFunction(
            self,
            "Function",
            function_name=names.resource(env, "rollout-probe"),
            description="Asks a new version for its readiness before it gets traffic",
            runtime=RUNTIME,
            architectures=["arm64"],
            handler="index.handler",
            code={"zipFile": code},
            role=role.resource.attr_arn,
            timeout=TIMEOUT_SECONDS,
            memory_size=128,
            environment={
                "variables": {
                    "HOST": balancer.resource.attr_dns_name,
                    "PORT": str(balancer.port),
                    "TEST_PORT": str(balancer.test_port),
                    "DOMAIN": balancer.domain,
                    "PATIENCE_SECONDS": str(PATIENCE_SECONDS),
                }
            },
            vpc_config={"subnetIds": subnets, "securityGroupIds": [group.id]},
            logging_config={"logGroup": names.log_group(env, "rollout-probe"), "logFormat": "JSON"},
            tracing_config={"mode": "PassThrough"},
        )
        self.function.add_resource_dependency(logs)
        acknowledge(
            role.resource,
            "CKV_AWS_111",
            reason="The network interfaces of a function in a VPC are made by Lambda with the function's role, on all "
            "resources; AWS knows no narrower form (Lambda developer guide, permissions for VPC access).",
        )
        acknowledge(
            self.function,
            "CKV_AWS_115",
            reason="ECS calls it a few times a deployment; reserved concurrency would take it from the account's pool.",
        )
        acknowledge(
            self.function,
            "CKV_AWS_116",
            reason="ECS waits for its answer and rolls back without one, so there is no event to keep for later.",
        )
        acknowledge(
            self.function,
            "CKV_AWS_173",
            reason="The variables hold the load balancer's address and ports, nothing secret; Lambda encrypts them.",
        )
        self.role = Role(
            self,
            "InvokeRole",
            env,
            unit="rollout-hook",
            assumer="ecs",
            description="ECS asks the rollout probe",
            statements=[Statement(actions=("lambda:InvokeFunction",), resources=(self._arn(env),))],
        )

    def hooks(self) -> list[dict[str, Any]]:
        """The hook for a service's deployment configuration."""
        return [
            {
                "hookTargetArn": self.function.attr_arn,
                "roleArn": self.role.resource.attr_arn,
                "lifecycleStages": ["POST_TEST_TRAFFIC_SHIFT"],
            }
        ]

    @staticmethod
    def _arn(env: AwsEnvironment) -> str:
        return names.arn(env, "lambda", f"function:{names.resource(env, 'rollout-probe')}")

    def _role(self, env: AwsEnvironment) -> Role:
        return Role(
            self,
            "Role",
            env,
            unit="rollout-probe",
            assumer="lambda",
            description="The rollout probe writes its log and has an address in the VPC",
            statements=[
                Statement(
                    actions=("logs:CreateLogStream", "logs:PutLogEvents"),
                    resources=(
                        names.arn(env, "logs", f"log-group:{names.log_group(env, 'rollout-probe')}:log-stream:*"),
                    ),
                    why="The function makes log streams of its own, in this log group alone.",
                ),
                Statement(
                    actions=(
                        "ec2:CreateNetworkInterface",
                        "ec2:DescribeNetworkInterfaces",
                        "ec2:DescribeSubnets",
                        "ec2:DeleteNetworkInterface",
                        "ec2:AssignPrivateIpAddresses",
                        "ec2:UnassignPrivateIpAddresses",
                    ),
                    resources=("*",),
                    why="Lambda makes the function's network interfaces with the function's role and checks for "
                    "exactly these actions on all resources (Lambda developer guide, permissions for VPC access).",
                ),
            ],
        )

    def _logs(self, env: AwsEnvironment, key: Key | None) -> aws_logs.CfnLogGroup:
        group = aws_logs.CfnLogGroup(
            self,
            "Logs",
            log_group_name=names.log_group(env, "rollout-probe"),
            retention_in_days=env.rollout.log_days,
            kms_key_id=None if key is None else key.arn,
        )
        group.cfn_options.deletion_policy = CfnDeletionPolicy.DELETE
        group.cfn_options.update_replace_policy = CfnDeletionPolicy.DELETE
        if key is None:
            acknowledge(
                group,
                "CKV_AWS_158",
                reason="It holds status codes of readiness checks, nothing else; CloudWatch encrypts it by itself.",
            )
        return group
