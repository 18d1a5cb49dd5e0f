"""The internal load balancer in front of the gateway: two target groups, a listener for all and one for tests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from aws_cdk import aws_ec2, aws_elasticloadbalancingv2, region_info
from constructs import Construct

from deploy.cdk import names
from deploy.cdk.acknowledge import acknowledge
from deploy.cdk.constructs.api import STAGE_NAME
from deploy.cdk.constructs.gateway import PORT as GATEWAY_PORT
from deploy.cdk.constructs.private_bucket import PrivateBucket
from deploy.cdk.constructs.roles import Role, Statement
from deploy.cdk.constructs.security_group import SecurityGroup, allow, way_in
from deploy.cdk.settings import AwsEnvironment

COLOURS: Final = ("blue", "green")
# The same numbers with and without TLS would hide which of the two it is.
PORTS: Final = {"http": (80, 8080), "https": (443, 8443)}  # for all, for tests
TLS_POLICY: Final = "ELBSecurityPolicy-TLS13-1-2-Res-2021-06"  # TLS 1.2 and 1.3, forward secrecy, no CBC
IDLE_SECONDS: Final = 60  # the gateway keeps idle connections for 75: the load balancer is the one to close them
# A target that leaves finishes what it has: above a gateway's longest request, 28 s. Longer streams are resumed.
DEREGISTRATION_SECONDS: Final = 30
REFUSAL: Final = '{"type":"urn:darkroom:problem:unavailable","title":"Service unavailable","status":503}'


class LoadBalancer(Construct):
    """Private, TLS where there is a certificate, no malformed headers.

    Targets are checked by `/healthz`, not `/readyz`: a target that fails is replaced by ECS, and while the database
    fails over no gateway is ready. Replacing them all would make an outage of a pause; a gateway that cannot reach what
    is behind it answers 503 with Retry-After by itself. Readiness is asked of new versions (`RolloutProbe`).
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        env: AwsEnvironment,
        *,
        vpc: aws_ec2.IVpc,
        subnets: Sequence[str],
        callers: str,
    ) -> None:
        """`callers` is the security group that may send requests: API Gateway's VPC link."""
        super().__init__(scope, construct_id)
        settings = env.load_balancer
        self.scheme = "https" if settings.certificate_arn else "http"
        self.port, self.test_port = PORTS[self.scheme]
        self.domain = settings.domain
        self.security_group = SecurityGroup(self, "SecurityGroup", env, unit="balancer", vpc=vpc, https=False)
        # The VPC link has its way out already.
        way_in(self, "VpcLinkToBalancer", source=callers, target=self.security_group.id, port=self.port)
        logs = self._log_bucket(env) if settings.access_log_days else None
        attributes = {
            "deletion_protection.enabled": str(settings.deletion_protection).lower(),
            "routing.http.drop_invalid_header_fields.enabled": "true",
            "routing.http.desync_mitigation_mode": "strictest",
            "idle_timeout.timeout_seconds": str(IDLE_SECONDS),
            "access_logs.s3.enabled": str(logs is not None).lower(),
        }
        if logs is not None:
            attributes["access_logs.s3.bucket"] = logs.name
        self.resource = aws_elasticloadbalancingv2.CfnLoadBalancer(
            self,
            "Resource",
            name=names.resource(env, "gateway"),
            type="application",
            scheme="internal",
            ip_address_type="ipv4",
            subnets=list(subnets),
            security_groups=[self.security_group.id],
            load_balancer_attributes=_attributes(attributes),
        )
        if logs is not None:
            self.resource.add_resource_dependency(logs.policy)
        else:
            acknowledge(
                self.resource,
                "AwsSolutions-ELB2",
                "CKV_AWS_91",
                reason="In dev only: API Gateway and the gateway log the same requests, and nothing else may call it.",
            )
        self.groups = {colour: self._target_group(env, vpc, colour) for colour in COLOURS}
        self.listener, self.rule = self._listener(env, "Listener", self.port)
        self.test_listener, self.test_rule = self._listener(env, "TestListener", self.test_port)
        self.role = self._traffic_role(env)

    def admit(self, gateway: str) -> None:
        """Lets the load balancer call the gateway's group, at its port."""
        allow(self, "BalancerToGateway", source=self.security_group.id, target=gateway, port=GATEWAY_PORT)

    def targets(self, container: str) -> list[dict[str, Any]]:
        """The service's load balancers: blue, and green with the rules that ECS shifts."""
        return [
            {
                "containerName": container,
                "containerPort": GATEWAY_PORT,
                "targetGroupArn": self.groups["blue"].ref,
                "advancedConfiguration": {
                    "alternateTargetGroupArn": self.groups["green"].ref,
                    "productionListenerRule": self.rule.ref,
                    "testListenerRule": self.test_rule.ref,
                    "roleArn": self.role.resource.attr_arn,
                },
            }
        ]

    def _target_group(
        self, env: AwsEnvironment, vpc: aws_ec2.IVpc, colour: str
    ) -> aws_elasticloadbalancingv2.CfnTargetGroup:
        return aws_elasticloadbalancingv2.CfnTargetGroup(
            self,
            colour.capitalize(),
            name=names.resource(env, f"gateway-{colour}"),
            vpc_id=vpc.vpc_id,
            target_type="ip",
            protocol="HTTP",
            port=GATEWAY_PORT,
            health_check_enabled=True,
            health_check_path="/healthz",
            health_check_interval_seconds=10,
            health_check_timeout_seconds=5,
            healthy_threshold_count=2,
            unhealthy_threshold_count=3,
            matcher={"httpCode": "200"},
            target_group_attributes=_attributes(
                {
                    "deregistration_delay.timeout_seconds": str(DEREGISTRATION_SECONDS),
                    # Some requests wait for seconds: the one with the fewest open takes the next.
                    "load_balancing.algorithm.type": "least_outstanding_requests",
                    "stickiness.enabled": "false",
                }
            ),
        )

    def _listener(
        self, env: AwsEnvironment, construct_id: str, port: int
    ) -> tuple[aws_elasticloadbalancingv2.CfnListener, aws_elasticloadbalancingv2.CfnListenerRule]:
        """A listener that refuses by itself, with the one rule whose weights ECS moves from now on.

        Changing the rule here would set the weights back: it never changes together with anything else.
        """
        secure = self.scheme == "https"
        listener = aws_elasticloadbalancingv2.CfnListener(
            self,
            construct_id,
            load_balancer_arn=self.resource.ref,
            port=port,
            protocol=self.scheme.upper(),
            certificates=[{"certificateArn": env.load_balancer.certificate_arn}] if secure else None,
            ssl_policy=TLS_POLICY if secure else None,
            default_actions=[
                {
                    "type": "fixed-response",
                    "fixedResponseConfig": {
                        "statusCode": "503",
                        "contentType": "application/json",
                        "messageBody": REFUSAL,
                    },
                }
            ],
        )
        if not secure:
            acknowledge(
                listener,
                "CKV_AWS_2",
                "CKV_AWS_103",
                reason="In dev only, where no certificate is asked for: the listener is inside the VPC and takes calls "
                "from API Gateway's VPC link alone; staging and prod refuse to synthesise without TLS.",
            )
        # A private integration of API Gateway puts the stage in front of the path ("Private integrations for REST
        # APIs", considerations). A path without it passes as it is: the rollout probe's.
        unstaged = {"regex": f"^/{STAGE_NAME}/?(.*)$", "replace": "/$1"}
        rule = aws_elasticloadbalancingv2.CfnListenerRule(
            self,
            f"{construct_id}Rule",
            listener_arn=listener.ref,
            priority=1,
            conditions=[{"field": "path-pattern", "pathPatternConfig": {"values": ["/*"]}}],
            transforms=[{"type": "url-rewrite", "urlRewriteConfig": {"rewrites": [unstaged]}}],
            actions=[
                {
                    "type": "forward",
                    "forwardConfig": {
                        "targetGroups": [
                            {"targetGroupArn": self.groups["blue"].ref, "weight": 100},
                            {"targetGroupArn": self.groups["green"].ref, "weight": 0},
                        ]
                    },
                }
            ],
        )
        return listener, rule

    def _traffic_role(self, env: AwsEnvironment) -> Role:
        balancer = f"app/{names.resource(env, 'gateway')}/*"
        elb = f"arn:aws:elasticloadbalancing:{env.region}:{env.account}:"
        groups = tuple(f"{elb}targetgroup/{names.resource(env, f'gateway-{colour}')}/*" for colour in COLOURS)
        listeners = (f"{elb}listener/{balancer}", f"{elb}listener-rule/{balancer}")
        described = "Describing load balancers cannot be limited to one of them (service authorization reference)."
        ids = "The name is this load balancer's own; the ids behind it are made up by AWS."
        return Role(
            self,
            "TrafficRole",
            env,
            unit="traffic-shift",
            assumer="ecs",
            description="ECS shifts the gateway's traffic from blue to green",
            statements=[
                Statement(
                    actions=(
                        "elasticloadbalancing:DescribeListeners",
                        "elasticloadbalancing:DescribeRules",
                        "elasticloadbalancing:DescribeTargetGroups",
                        "elasticloadbalancing:DescribeTargetHealth",
                    ),
                    resources=("*",),
                    why=described,
                ),
                Statement(
                    actions=("elasticloadbalancing:RegisterTargets", "elasticloadbalancing:DeregisterTargets"),
                    resources=groups,
                    why=ids,
                ),
                Statement(
                    actions=("elasticloadbalancing:ModifyListener", "elasticloadbalancing:ModifyRule"),
                    resources=listeners,
                    why=ids,
                ),
            ],
        )

    def _log_bucket(self, env: AwsEnvironment) -> PrivateBucket:
        target = f"{names.bucket_arn(env, 'balancer-logs')}/AWSLogs/{env.account}/*"
        # Who writes the logs: an account of AWS's in the older regions, a service in the newer ones; both are let in.
        account = region_info.RegionInfo.get(env.region).elbv2_account
        writers: list[dict[str, str]] = [{"Service": "logdelivery.elasticloadbalancing.amazonaws.com"}]
        if account is not None:
            writers.append({"AWS": f"arn:aws:iam::{account}:root"})
        return PrivateBucket(
            self,
            "AccessLogs",
            env,
            unit="balancer-logs",
            days=env.load_balancer.access_log_days,
            unlogged="It is the place of an access log itself; a log of the log would have no end.",
            more=[
                {
                    "Sid": f"LoadBalancersWrite{number}",
                    "Effect": "Allow",
                    "Principal": writer,
                    "Action": "s3:PutObject",
                    "Resource": target,
                }
                for number, writer in enumerate(writers)
            ],
        )


def _attributes(values: dict[str, str]) -> list[dict[str, str]]:
    return [{"key": key, "value": value} for key, value in values.items()]
