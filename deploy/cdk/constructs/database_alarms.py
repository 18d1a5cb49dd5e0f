"""The database's alarms: what scaling and deployments have to know of it."""

from __future__ import annotations

from typing import Final

from constructs import Construct

from deploy.cdk.constructs.metric_alarm import metric_alarm
from deploy.cdk.settings import AwsEnvironment

# Percent of the maximum ACUs: there is no more to come.
AT_MAXIMUM: Final = 95
# Milliseconds. Readers of Aurora are usually less than 100 behind (Aurora user guide, "Aurora Replicas").
LAG: Final = 2_000
# Percent of max_connections; what autoscaling may add is asserted to stay below 100.
CONNECTIONS: Final = 85


class DatabaseAlarms(Construct):
    """Capacity at its maximum, readers that fall behind, connections near their limit."""

    def __init__(
        self, scope: Construct, construct_id: str, env: AwsEnvironment, *, cluster: str, topic_arn: str
    ) -> None:
        super().__init__(scope, construct_id)
        of_cluster = {"DBClusterIdentifier": cluster}
        metric_alarm(
            self,
            "Capacity",
            env,
            unit="database-at-maximum",
            description="The database is as large as it may get: raise database.max_acu, or find the statement that "
            "needs it.",
            namespace="AWS/RDS",
            metric="ACUUtilization",
            dimensions=of_cluster,
            threshold=AT_MAXIMUM,
            minutes=10,
            topic_arn=topic_arn,
        )
        if env.database.readers:
            metric_alarm(
                self,
                "Lag",
                env,
                unit="database-replica-lag",
                description="A reader falls behind the writer: a failover would have to wait for it.",
                namespace="AWS/RDS",
                metric="AuroraReplicaLagMaximum",
                dimensions=of_cluster,
                threshold=LAG,
                minutes=5,
                topic_arn=topic_arn,
            )
        metric_alarm(
            self,
            "Connections",
            env,
            unit="database-connections",
            description="New connections will soon be refused: who holds so many, and do roll-outs end?",
            namespace="AWS/RDS",
            metric="DatabaseConnections",
            dimensions={**of_cluster, "Role": "WRITER"},
            threshold=env.database.max_connections * CONNECTIONS // 100,
            minutes=3,
            topic_arn=topic_arn,
        )
