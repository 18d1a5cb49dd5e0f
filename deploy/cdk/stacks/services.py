"""`Services`: the four services, how they are reached, replaced and scaled, and what runs by the clock. AWS only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from aws_cdk import CfnOutput
from constructs import Construct

from deploy.capacity.plan import Plan, ServicePlan
from deploy.capacity.sizing import AURORA
from deploy.cdk import names
from deploy.cdk.capacity import plan_of
from deploy.cdk.constructs.autoscaling import Autoscaling, service_plan
from deploy.cdk.constructs.database_minimum import DatabaseMinimum
from deploy.cdk.constructs.gateway import Gateway
from deploy.cdk.constructs.image_svc import ImageSvc
from deploy.cdk.constructs.load_balancer import COLOURS, LoadBalancer
from deploy.cdk.constructs.maintenance import Maintenance
from deploy.cdk.constructs.metadata_svc import MetadataSvc
from deploy.cdk.constructs.presign_svc import PresignSvc
from deploy.cdk.constructs.rollout_probe import RolloutProbe
from deploy.cdk.constructs.schedules import Schedules
from deploy.cdk.constructs.security_group import allow
from deploy.cdk.constructs.service import FargateService, Place
from deploy.cdk.constructs.service_alarms import Alarms
from deploy.cdk.settings import AwsEnvironment
from deploy.cdk.stacks.base import DarkroomStack
from deploy.cdk.stacks.cluster import Cluster, image_tag
from deploy.cdk.stacks.core import Core
from deploy.cdk.stacks.database import Database
from deploy.cdk.stacks.network import TASKS, Network


class Services(DarkroomStack):
    """Load balancer, services with their roles and scaling, rollout hook, schedules, alarms."""

    def __init__(
        self,
        scope: Construct,
        env: AwsEnvironment,
        *,
        core: Core,
        network: Network,
        database: Database,
        cluster: Cluster,
    ) -> None:
        super().__init__(scope, env)
        # What is found by its name makes no dependency of itself: queues, topics, parameters, secrets.
        self.add_stack_dependency(core)
        self._env = env
        self._database = database
        subnets = list(network.vpc.select_subnets(subnet_group_name=TASKS).subnet_ids)
        place = Place(network.vpc, subnets, cluster.cluster, core.key, image_tag(self))
        self.load_balancer = LoadBalancer(
            self,
            "Balancer",
            env,
            vpc=network.vpc,
            subnets=subnets,
            callers=network.link_security_group.attr_group_id,
        )
        self.listener = self.load_balancer.listener
        self._alarms = Alarms(self, "Alarms", env)
        self.services = self._services(env, place)
        self._edges()
        plan = plan_of(env)
        schedules = Schedules(self, "Schedules", env, key=core.key)
        self._scale(() if plan is None else plan.services)
        if plan is not None:
            self._by_the_calendar(plan, schedules, core)
        maintenance = Maintenance(
            self,
            "Maintenance",
            env,
            place,
            schedules=schedules,
            metadata=self.services["metadata_svc"],
            database_tasks=cluster.database_tasks,
        )
        self._alarms.failed_deployments()
        self._alarms.impaired_services()
        self._alarms.failed_tasks([*cluster.families, *maintenance.families])
        self._alarms.dead_schedules(schedules.dead_name)
        for name, value in {
            "LoadBalancerArn": self.load_balancer.resource.ref,
            "LoadBalancerHost": self.load_balancer.resource.attr_dns_name,
            **{f"{''.join(p.capitalize() for p in s.split('_'))}Service": s for s in self.services},
        }.items():
            CfnOutput(self, name, value=value)

    def _services(self, env: AwsEnvironment, place: Place) -> dict[str, FargateService]:
        balancer = self.load_balancer
        probe = RolloutProbe(
            self, "RolloutProbe", env, vpc=place.vpc, subnets=list(place.subnets), balancer=balancer, key=place.key
        )
        watched = [
            alarm
            for colour in COLOURS
            for alarm in self._alarms.target_group(
                colour,
                group=balancer.groups[colour].attr_target_group_full_name,
                balancer=balancer.resource.attr_load_balancer_full_name,
            )
        ]
        # The errors that a tenant sees judge every service behind the gateway, too: gRPC's own travel in trailers,
        # where no metric of the proxy counts them.
        deployment: dict[str, Any] = {
            "strategy": "BLUE_GREEN",
            "bakeTimeInMinutes": env.rollout.bake_minutes,
            "lifecycleHooks": probe.hooks(),
            "alarms": {"alarmNames": [alarm.alarm_name for alarm in watched], "enable": True, "rollback": True},
        }
        made: list[FargateService] = [
            PresignSvc(self, env, place, deployment=deployment),
            MetadataSvc(self, env, place, deployment=deployment),
            ImageSvc(self, env, place),
            Gateway(self, env, place, balancers=balancer.targets("gateway"), deployment=deployment),
        ]
        services: dict[str, FargateService] = {service.name: service for service in made}
        balancer.admit(services["gateway"].security_group.id)
        for alarm in watched:  # which a deployment knows by their names alone
            for service in made:
                if not isinstance(service, ImageSvc):
                    service.resource.add_resource_dependency(alarm)
        # A client's proxy knows the services that were there when its task started.
        for service in made:
            for called in service.calls:
                service.resource.add_resource_dependency(services[called].resource)
        return services

    def _edges(self) -> None:
        """Who may call whom, and nobody else."""
        for service in self.services.values():
            for called in service.calls:
                callee = self.services[called]
                allow(
                    self,
                    f"{_words(service.name)}To{_words(called)}",
                    source=service.security_group.id,
                    target=callee.security_group.id,
                    port=callee.port,
                )
        allow(
            self,
            "MetadataSvcToDatabase",
            source=self.services["metadata_svc"].security_group.id,
            target=self._database.security_group.attr_group_id,
            port=self._database.port,
        )

    def _scale(self, plans: Sequence[ServicePlan]) -> None:
        env = self._env
        for name, service in self.services.items():
            scaling = Autoscaling(self, f"{_words(name)}Scaling", env, service=service, plan=service_plan(plans, name))
            match name:
                case "image_svc":
                    scaling.follow_backlog(env.image_svc.backlog_per_task, queue=names.resource(env, "images"))
                case "gateway":
                    scaling.follow_cpu(env.gateway.cpu_percent)
                    scaling.follow_requests(
                        env.gateway.requests_per_task,
                        balancer=self.load_balancer.resource.attr_load_balancer_full_name,
                    )
                case _:
                    scaling.follow_cpu(getattr(env, name).cpu_percent)
            self._alarms.at_maximum(name, cluster=service.cluster, maximum=service.settings.max_tasks)

    def _by_the_calendar(self, plan: Plan, schedules: Schedules, core: Core) -> None:
        env = self._env
        DatabaseMinimum(
            self,
            "DatabaseMinimum",
            env,
            cluster=names.resource(env, "database"),
            plan=plan.service(AURORA),
            least=env.database.min_acu,
            most=env.database.max_acu,
            schedules=schedules,
            key=core.key,
        )
        metadata = self.services["metadata_svc"]
        self._alarms.horizon(plan.horizon, cluster=metadata.cluster, service=metadata.name)


def _words(name: str) -> str:
    return "".join(word.capitalize() for word in name.split("_"))
