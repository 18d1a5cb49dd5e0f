"""Alarms that deployments and scaling need. Those that watch the promises to tenants come with Observability."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from aws_cdk import aws_cloudwatch, aws_events
from constructs import Construct

from deploy.capacity.plan import Horizon
from deploy.cdk import names
from deploy.cdk.constructs.metric_alarm import metric_alarm
from deploy.cdk.settings import AwsEnvironment

# Answers of 500 and above in a minute. A few come with any failover; shed load is a 503 with Retry-After and counts.
ERRORS_A_MINUTE: Final = 10


class Alarms(Construct):
    """Alarms and event rules that tell the alarm topic."""

    def __init__(self, scope: Construct, construct_id: str, env: AwsEnvironment) -> None:
        super().__init__(scope, construct_id)
        self._env = env

    def target_group(self, colour: str, *, group: str, balancer: str) -> list[aws_cloudwatch.CfnAlarm]:
        """Errors and sick targets of a target group: the alarms that a deployment watches.

        `group` and `balancer` are full names.
        """
        dimensions = {"TargetGroup": group, "LoadBalancer": balancer}
        return [
            self._metric(
                f"{colour.capitalize()}Errors",
                f"gateway-{colour}-5xx",
                f"The gateway's {colour} tasks answer with errors of ours. In a rollout: it is rolled back by itself.",
                namespace="AWS/ApplicationELB",
                metric="HTTPCode_Target_5XX_Count",
                dimensions=dimensions,
                statistic="Sum",
                threshold=ERRORS_A_MINUTE,
                minutes=2,
            ),
            self._metric(
                f"{colour.capitalize()}Unhealthy",
                f"gateway-{colour}-unhealthy",
                f"{colour.capitalize()} tasks of the gateway fail their health check. In a rollout: it is rolled back.",
                namespace="AWS/ApplicationELB",
                metric="UnHealthyHostCount",
                dimensions=dimensions,
                statistic="Maximum",
                threshold=1,
                minutes=3,
            ),
        ]

    def at_maximum(self, service: str, *, cluster: str, maximum: int) -> None:
        """A service that can grow no further."""
        self._metric(
            f"{''.join(part.capitalize() for part in service.split('_'))}AtMaximum",
            f"{service}-at-maximum",
            f"{service} runs as many tasks as it may. More load makes it slower: raise {service}.max_tasks?",
            namespace="ECS/ContainerInsights",
            metric="DesiredTaskCount",  # what runs is twice as much in a blue/green rollout
            dimensions={"ClusterName": cluster, "ServiceName": service},
            statistic="Minimum",
            threshold=maximum,
            minutes=10,
        )

    def dead_schedules(self, queue: str) -> None:
        """Something that the clock should have started."""
        self._metric(
            "DeadSchedules",
            "schedules-dead-letters",
            "A schedule could not start its task or change the database's minimum; the message in the queue says why.",
            namespace="AWS/SQS",
            metric="ApproximateNumberOfMessagesVisible",
            dimensions={"QueueName": queue},
            statistic="Maximum",
            threshold=1,
            minutes=1,
        )

    def horizon(self, horizon: Horizon, *, cluster: str, service: str) -> None:
        """The business calendar runs out. Metric math over the time stamps of a metric that is always there (tasks of
        a service that never has none): no code of ours has to run for it.
        """
        alarm = aws_cloudwatch.CfnAlarm(
            self,
            "Horizon",
            alarm_name=names.resource(self._env, "capacity-horizon"),
            alarm_description=f"In under {horizon.alarm_days} days only the recurring scaling actions will serve: "
            "renew deploy/capacity/data/calendar.toml, run make plan, deploy.",
            metrics=[
                {
                    "id": "m1",
                    "metricStat": {
                        "metric": {
                            "namespace": "ECS/ContainerInsights",
                            "metricName": "RunningTaskCount",
                            "dimensions": [
                                {"name": "ClusterName", "value": cluster},
                                {"name": "ServiceName", "value": service},
                            ],
                        },
                        "stat": "Average",
                        "period": 3_600,
                    },
                    "returnData": False,
                },
                {"id": "days", "label": "days left", "expression": horizon.expression, "returnData": True},
            ],
            comparison_operator="LessThanThreshold",
            threshold=horizon.alarm_days,
            evaluation_periods=1,
            treat_missing_data="ignore",
            alarm_actions=[names.alarm_topic(self._env)],
            ok_actions=[names.alarm_topic(self._env)],
        )
        alarm.override_logical_id("CapacityHorizonAlarm")

    def failed_deployments(self) -> None:
        """A rollout that ECS gave up, or took back."""
        self._event(
            "FailedDeployments",
            "deployment-failed",
            "A service's rollout failed; the version before it serves",
            source="aws.ecs",
            kind="ECS Deployment State Change",
            detail={"eventName": ["SERVICE_DEPLOYMENT_FAILED"]},
            resources=[
                {"prefix": names.arn(self._env, "ecs", f"service/{names.resource(self._env, 'services')}/")},
            ],
        )

    def impaired_services(self) -> None:
        """A service whose tasks do not start, or are refused: a quota, no capacity, a version that ends at once. No
        metric tells, and blue/green goes on trying.
        """
        self._event(
            "ImpairedServices",
            "service-impaired",
            "A service cannot start the tasks that it should: its events say why",
            source="aws.ecs",
            kind="ECS Service Action",
            detail={
                "clusterArn": [names.cluster_arn(self._env)],
                "$or": [{"eventType": ["ERROR"]}, {"eventName": ["SERVICE_TASK_START_IMPAIRED"]}],
            },
        )

    def failed_tasks(self, families: Sequence[str]) -> None:
        """A one-off or scheduled task that ended with anything but 0, or never began."""
        self._event(
            "FailedTasks",
            "task-failed",
            "A migration, the reconciler or the pruning failed; its log says why",
            source="aws.ecs",
            kind="ECS Task State Change",
            detail={
                "clusterArn": [names.cluster_arn(self._env)],
                "lastStatus": ["STOPPED"],
                "group": [f"family:{family}" for family in families],
                "$or": [
                    {"containers": {"exitCode": [{"anything-but": [0]}]}},
                    {"stopCode": ["TaskFailedToStart"]},
                ],
            },
        )

    def _event(
        self,
        construct_id: str,
        unit: str,
        description: str,
        *,
        source: str,
        kind: str,
        detail: Mapping[str, Any],
        resources: list[dict[str, str]] | None = None,
    ) -> None:
        pattern: dict[str, Any] = {"source": [source], "detail-type": [kind], "detail": dict(detail)}
        if resources is not None:
            pattern["resources"] = resources
        aws_events.CfnRule(
            self,
            construct_id,
            name=names.resource(self._env, unit),
            description=description,
            event_pattern=pattern,
            state="ENABLED",
            targets=[
                # The topic's own policy lets EventBridge in (deploy.cdk.constructs.topics).
                {"id": "alarms", "arn": names.alarm_topic(self._env)}
            ],
        )

    def _metric(
        self,
        construct_id: str,
        unit: str,
        description: str,
        *,
        namespace: str,
        metric: str,
        dimensions: Mapping[str, str],
        statistic: str,
        threshold: float,
        minutes: int,
    ) -> aws_cloudwatch.CfnAlarm:
        return metric_alarm(
            self,
            construct_id,
            self._env,
            unit=unit,
            description=description,
            namespace=namespace,
            metric=metric,
            dimensions=dimensions,
            statistic=statistic,
            threshold=threshold,
            minutes=minutes,
            topic_arn=names.alarm_topic(self._env),
        )
