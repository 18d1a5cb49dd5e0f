"""Scaling of one service: what it follows, how far it goes, and when its minimum changes by the calendar."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from aws_cdk import aws_applicationautoscaling as scaling
from constructs import Construct

from deploy.capacity.plan import Action, ServicePlan
from deploy.cdk import names
from deploy.cdk.constructs.service import FargateService
from deploy.cdk.settings import AwsEnvironment

# Seconds between two steps. Out: a new task takes a minute to start and one to show in the metric. In: slowly, because
# taking a task away too early costs more than keeping it.
OUT_COOLDOWN: Final = 120
IN_COOLDOWN: Final = 300


class Autoscaling(Construct):
    """A scalable target with its minimum and maximum, and its scheduled actions where there is a plan.

    The minimum is the plan's `initial`, never its `floor`: a deployment registers the target anew, and must not
    take capacity away in the middle of a peak.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        env: AwsEnvironment,
        *,
        service: FargateService,
        plan: ServicePlan | None,
    ) -> None:
        super().__init__(scope, construct_id)
        self._env = env
        self._service = service
        tasks = service.settings
        self.target = scaling.CfnScalableTarget(
            self,
            "Target",
            service_namespace="ecs",
            scalable_dimension="ecs:service:DesiredCount",
            resource_id=service.arn_suffix,
            min_capacity=tasks.min_tasks if plan is None else max(tasks.min_tasks, int(plan.initial)),
            max_capacity=tasks.max_tasks,
            scheduled_actions=None
            if plan is None
            else [_action(action, tasks.min_tasks, tasks.max_tasks) for action in plan.actions],
        )
        self.target.add_resource_dependency(service.resource)

    def follow_cpu(self, percent: int) -> None:
        """Keeps the average CPU use of the tasks, in percent."""
        self._policy(
            "Cpu",
            percent,
            {"predefinedMetricSpecification": {"predefinedMetricType": "ECSServiceAverageCPUUtilization"}},
        )

    def follow_requests(self, per_task: int, *, balancer: str) -> None:
        """Keeps requests a minute and task. Of the whole load balancer: traffic moves between two target groups, and
        AWS's own metric of requests per target knows one. A load balancer without requests reports none, and a policy
        without data would keep the other one from scaling in. `balancer` is its full name.
        """
        self._per_task(
            "Requests",
            per_task,
            {
                "namespace": "AWS/ApplicationELB",
                "metricName": "RequestCount",
                "dimensions": [{"name": "LoadBalancer", "value": balancer}],
            },
            "Sum",
            load="FILL(m1, 0)",
        )

    def follow_backlog(self, per_task: int, *, queue: str) -> None:
        """Keeps messages waiting per task."""
        self._per_task(
            "Backlog",
            per_task,
            {
                "namespace": "AWS/SQS",
                "metricName": "ApproximateNumberOfMessagesVisible",
                "dimensions": [{"name": "QueueName", "value": queue}],
            },
            "Average",
        )

    def _per_task(
        self, construct_id: str, target: int, metric: dict[str, Any], statistic: str, load: str = "m1"
    ) -> None:
        """A metric divided by the tasks that run (Container Insights). `load` is m1, or made of it."""
        running = {
            "namespace": "ECS/ContainerInsights",
            "metricName": "RunningTaskCount",
            "dimensions": [
                {"name": "ClusterName", "value": self._service.cluster},
                {"name": "ServiceName", "value": self._service.name},
            ],
        }
        queries: list[dict[str, Any]] = [
            {"id": "m1", "label": "load", "metricStat": {"metric": metric, "stat": statistic}, "returnData": False},
            {"id": "m2", "label": "tasks", "metricStat": {"metric": running, "stat": "Average"}, "returnData": False},
            {"id": "e1", "label": f"{construct_id} per task", "expression": f"{load} / m2", "returnData": True},
        ]
        self._policy(construct_id, target, {"customizedMetricSpecification": {"metrics": queries}})

    def _policy(self, construct_id: str, target: int, metric: dict[str, Any]) -> None:
        scaling.CfnScalingPolicy(
            self,
            construct_id,
            policy_name=names.resource(self._env, f"{self._service.name}-{construct_id.lower()}"),
            policy_type="TargetTrackingScaling",
            scaling_target_id=self.target.ref,
            target_tracking_scaling_policy_configuration={
                "targetValue": target,
                "scaleOutCooldown": OUT_COOLDOWN,
                "scaleInCooldown": IN_COOLDOWN,
                **metric,
            },
        )


def _action(action: Action, least: int, most: int) -> dict[str, Any]:
    made: dict[str, Any] = {
        "scheduledActionName": action.name,
        "schedule": action.schedule,
        "timezone": action.time_zone,
        "scalableTargetAction": {"minCapacity": max(least, int(action.minimum)), "maxCapacity": most},
    }
    if action.start is not None:
        made["startTime"] = action.start
    return made


def service_plan(plans: Sequence[ServicePlan], service: str) -> ServicePlan | None:
    """One service's plan, None where there are no plans."""
    return next((plan for plan in plans if plan.service == service), None)
