"""The ECS cluster and the namespace in which services find each other."""

from __future__ import annotations

from aws_cdk import aws_ecs, aws_servicediscovery
from constructs import Construct

from deploy.cdk import names
from deploy.cdk.settings import AwsEnvironment


class EcsCluster(Construct):
    """Fargate and Fargate Spot, with the metrics that scaling rests on (`RunningTaskCount`)."""

    def __init__(self, scope: Construct, construct_id: str, env: AwsEnvironment) -> None:
        super().__init__(scope, construct_id)
        self.name = names.resource(env, "services")
        self.namespace = aws_servicediscovery.CfnHttpNamespace(
            self,
            "Namespace",
            name=names.resource(env, "services"),
            description="Where Service Connect keeps who is who",
        )
        self.resource = aws_ecs.CfnCluster(
            self,
            "Cluster",
            cluster_name=self.name,
            cluster_settings=[{"name": "containerInsights", "value": env.rollout.container_insights}],
            configuration={"executeCommandConfiguration": {"logging": "DEFAULT"}},
            service_connect_defaults={"namespace": self.namespace.attr_arn},
        )
        self.providers = aws_ecs.CfnClusterCapacityProviderAssociations(
            self,
            "CapacityProviders",
            cluster=self.resource.ref,
            capacity_providers=["FARGATE", "FARGATE_SPOT"],
            default_capacity_provider_strategy=[{"capacityProvider": "FARGATE", "weight": 1}],
        )
