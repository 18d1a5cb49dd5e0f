"""The API's alarm, which tells the alarm topic that callers get answers that are our fault."""

from __future__ import annotations

from typing import Final

from constructs import Construct

from deploy.cdk.constructs.metric_alarm import metric_alarm
from deploy.cdk.settings import AwsEnvironment

# Share of all answers: 2 % for three minutes in a row. One failure in a quiet minute is not three in a row.
FAILURES: Final = 0.02


class ApiAlarms(Construct):
    """Answers 5xx, of the gateway or of API Gateway itself."""

    def __init__(
        self, scope: Construct, construct_id: str, env: AwsEnvironment, *, api: str, stage: str, topic_arn: str
    ) -> None:
        super().__init__(scope, construct_id)
        metric_alarm(
            self,
            "Failures",
            env,
            unit="api-failures",
            description="Callers get 5xx: is a deployment under way, and what does the access log say refused them?",
            namespace="AWS/ApiGateway",
            metric="5XXError",
            dimensions={"ApiName": api, "Stage": stage},
            statistic="Average",  # of 0 and 1: the share
            threshold=FAILURES,
            minutes=3,
            topic_arn=topic_arn,
        )
