"""One alarm on one metric, which tells the alarm topic when it goes off and when it is over."""

from __future__ import annotations

from collections.abc import Mapping

from aws_cdk import aws_cloudwatch
from constructs import Construct

from deploy.cdk import names
from deploy.cdk.settings import Environment


def metric_alarm(
    scope: Construct,
    construct_id: str,
    env: Environment,
    *,
    unit: str,
    description: str,
    namespace: str,
    metric: str,
    dimensions: Mapping[str, str],
    threshold: float,
    minutes: int,
    topic_arn: str,
    statistic: str = "Maximum",
    missing: str = "notBreaching",
) -> aws_cloudwatch.CfnAlarm:
    """Goes off when the metric is at or above `threshold` in each of so many minutes.

    `unit` names it within the environment; `missing` says what a minute without data counts as.
    """
    return aws_cloudwatch.CfnAlarm(
        scope,
        construct_id,
        alarm_name=names.resource(env, unit),
        alarm_description=description,
        namespace=namespace,
        metric_name=metric,
        dimensions=[
            aws_cloudwatch.CfnAlarm.DimensionProperty(name=name, value=value) for name, value in dimensions.items()
        ],
        statistic=statistic,
        period=60,
        evaluation_periods=minutes,
        datapoints_to_alarm=minutes,
        threshold=threshold,
        comparison_operator="GreaterThanOrEqualToThreshold",
        treat_missing_data=missing,
        alarm_actions=[topic_arn],
        ok_actions=[topic_arn],
    )
