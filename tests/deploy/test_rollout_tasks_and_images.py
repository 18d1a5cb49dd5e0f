"""One-off tasks on ECS and images in ECR, as the roll-out sees them.

The emulator has neither ECS nor ECR, so botocore's Stubber answers: it checks every call and every answer against the
service's own model (names, types, required members), and that nothing else is called.
"""

from __future__ import annotations

import base64
import contextlib
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import botocore.session
import pytest
from botocore.stub import ANY, Stubber

from deploy.cdk import settings
from deploy.cdk.settings import Environment
from deploy.images import build, catalogue
from deploy.images.tools import Build, Tool
from deploy.rollout.errors import RolloutError
from deploy.rollout.registry import Registry
from deploy.rollout.tasks import Tasks
from tests.support.environments import OWNERS

CLUSTER = "darkroom-dev"
DEFINITION = "arn:aws:ecs:ap-northeast-2:123456789012:task-definition/darkroom-dev-migrate-pre:7"
TASK = "arn:aws:ecs:ap-northeast-2:123456789012:task/darkroom-dev/0123456789abcdef"
OUTPUTS = {
    "ClusterName": CLUSTER,
    "MigratePreTaskDefinition": DEFINITION,
    "TaskSubnets": "subnet-a,subnet-b",
    "MigrationSecurityGroup": "sg-1",
}


def stubbed(service: str) -> tuple[Any, Stubber]:
    client = botocore.session.Session().create_client(
        service, region_name="ap-northeast-2", aws_access_key_id="test", aws_secret_access_key="test"
    )
    return client, Stubber(client)


class Place:
    """The stubbed services, and what was said."""

    def __init__(self) -> None:
        self.ecs, self.ecs_answers = stubbed("ecs")
        self.logs, self.logs_answers = stubbed("logs")
        self.ecr, self.ecr_answers = stubbed("ecr")
        self.said: list[str] = []
        self.slept = 0

    def _sleep(self, _seconds: float) -> None:
        self.slept += 1

    @property
    def tasks(self) -> Tasks:
        return Tasks(self.ecs, self.logs, OUTPUTS, self.said.append, sleep=self._sleep)

    def registry(self, env: Environment) -> Registry:
        return Registry(self.ecr, env, self.said.append, sleep=self._sleep)

    def nothing_runs(self) -> None:
        family = {"cluster": CLUSTER, "family": "darkroom-dev-migrate-pre", "desiredStatus": "RUNNING"}
        self.ecs_answers.add_response("list_tasks", {"taskArns": []}, family)

    def starts(self) -> None:
        network = {"subnets": ["subnet-a", "subnet-b"], "securityGroups": ["sg-1"], "assignPublicIp": "DISABLED"}
        expected = {
            "cluster": CLUSTER,
            "taskDefinition": DEFINITION,
            "count": 1,
            "launchType": "FARGATE",
            "startedBy": "darkroom-rollout",
            "networkConfiguration": {"awsvpcConfiguration": network},
        }
        self.ecs_answers.add_response("run_task", {"tasks": [{"taskArn": TASK}], "failures": []}, expected)

    def is_(self, state: str, **container: Any) -> None:
        answer = {
            "tasks": [{"taskArn": TASK, "lastStatus": state, "containers": [{"name": "metadata_svc", **container}]}]
        }
        self.ecs_answers.add_response("describe_tasks", answer, {"cluster": CLUSTER, "tasks": [TASK]})

    def wrote(self, *lines: str) -> None:
        options = {"awslogs-group": "/darkroom/dev/migrate", "awslogs-stream-prefix": "pre"}
        container = {"name": "metadata_svc", "logConfiguration": {"logDriver": "awslogs", "options": options}}
        definition = {"taskDefinition": {"containerDefinitions": [container]}}
        self.ecs_answers.add_response("describe_task_definition", definition, {"taskDefinition": DEFINITION})
        where = {
            "logGroupName": "/darkroom/dev/migrate",
            "logStreamName": "pre/metadata_svc/0123456789abcdef",
            "limit": ANY,
        }
        events = [{"timestamp": 1, "ingestionTime": 1, "message": line} for line in lines]
        self.logs_answers.add_response("get_log_events", {"events": events}, where)


@pytest.fixture
def place() -> Iterator[Place]:
    place = Place()
    with contextlib.ExitStack() as stack:
        answers = (place.ecs_answers, place.logs_answers, place.ecr_answers)
        for stubber in answers:
            stack.enter_context(stubber)
        yield place
        for stubber in answers:
            stubber.assert_no_pending_responses()


# ---- tasks -----------------------------------------------------------------------------------------------------------


def test_a_task_runs_privately_to_its_end_and_its_words_are_shown(place: Place) -> None:
    place.nothing_runs()
    place.starts()
    place.is_("PENDING")
    place.is_("RUNNING")
    place.is_("STOPPED", exitCode=0)
    place.wrote("2 migration(s) applied")
    place.tasks.run("MigratePreTaskDefinition")
    assert place.said == ["      2 migration(s) applied", "    darkroom-dev-migrate-pre:7 ended with status 0"]
    assert place.slept == 2


def test_a_task_that_fails_stops_the_roll_out_with_its_status_and_its_words(place: Place) -> None:
    place.nothing_runs()
    place.starts()
    place.is_("STOPPED", exitCode=1)
    place.wrote("migrate: 0003_pre_x.sql: lock timeout")
    with pytest.raises(RolloutError, match=r"(?s)darkroom-dev-migrate-pre:7 ended with status 1.*lock timeout"):
        place.tasks.run("MigratePreTaskDefinition")


def test_a_container_that_never_started_is_a_failure_with_its_reason(place: Place) -> None:
    place.nothing_runs()
    place.starts()
    place.is_("STOPPED", reason="CannotPullContainerError: not found")
    place.wrote()
    with pytest.raises(RolloutError, match=r"status none \(CannotPullContainerError"):
        place.tasks.run("MigratePreTaskDefinition")


def test_a_task_that_gets_no_place_is_a_failure_with_its_reason(place: Place) -> None:
    place.nothing_runs()
    place.ecs_answers.add_response("run_task", {"tasks": [], "failures": [{"reason": "RESOURCE:CPU"}]})
    with pytest.raises(RolloutError, match="does not start: RESOURCE:CPU"):
        place.tasks.run("MigratePreTaskDefinition")


def test_a_task_that_a_stopped_roll_out_left_is_waited_for_before_the_next(place: Place) -> None:
    place.ecs_answers.add_response("list_tasks", {"taskArns": [TASK]})
    place.is_("STOPPED", exitCode=0)
    place.wrote("1 migration(s) applied")
    place.starts()
    place.is_("STOPPED", exitCode=0)
    place.wrote("0 migration(s) applied")
    place.tasks.run("MigratePreTaskDefinition")
    assert place.said[0] == "    an earlier darkroom-dev-migrate-pre:7 still runs: waiting for it"


def services(place: Place, *states: tuple[str, ...]) -> None:
    """A service for each tuple; the states are those of its latest deployment, look after look."""
    arns = [f"arn:aws:ecs:ap-northeast-2:123456789012:service/darkroom-dev/s{n}" for n in range(len(states))]
    place.ecs_answers.add_response("list_services", {"serviceArns": arns}, {"cluster": CLUSTER})
    for arn, looks in zip(arns, states, strict=True):
        for state in looks:
            expected = {"cluster": CLUSTER, "service": arn}
            older = {"status": "STOPPED", "createdAt": datetime(2026, 1, 1, tzinfo=UTC)}
            answer = {"serviceDeployments": [older, {"status": state, "createdAt": datetime(2026, 1, 2, tzinfo=UTC)}]}
            place.ecs_answers.add_response("list_service_deployments", answer, expected)


def test_services_have_settled_when_the_latest_deployment_of_each_has_succeeded(place: Place) -> None:
    services(place, ("IN_PROGRESS", "SUCCESSFUL"), ("SUCCESSFUL",))
    place.tasks.settled()
    assert place.said == ["    s0 has settled", "    s1 has settled"]


@pytest.mark.parametrize("state", ["ROLLBACK_SUCCESSFUL", "ROLLBACK_FAILED", "STOPPED"])
def test_after_a_rolled_back_deployment_no_contracting_migration_may_run(place: Place, state: str) -> None:
    services(place, (state,))
    with pytest.raises(RolloutError, match=f"s0: its deployment is {state}.*post were not run"):
        place.tasks.settled()


# ---- images ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def env() -> Environment:
    return settings.load("dev", OWNERS)


class Builder:
    """Stands for the program that builds; keeps what it was asked for."""

    name = "buildah"

    def __init__(self) -> None:
        self.done: list[tuple[str, ...]] = []

    def exists(self, image: str) -> bool:
        return False

    def login(self, registry: str, user: str, password: str) -> None:
        self.done.append(("login", registry, user, password))

    def push(self, image: str, target: str) -> None:
        self.done.append(("push", image, target))


def there(place: Place, *services: str) -> None:
    for service in catalogue.SERVICES:
        expected = {"repositoryName": f"darkroom-dev/{service}", "imageIds": [{"imageTag": "v1"}]}
        if service in services:
            place.ecr_answers.add_response("describe_images", {"imageDetails": [{}]}, expected)
        else:
            place.ecr_answers.add_client_error(
                "describe_images", "ImageNotFoundException", http_status_code=400, expected_params=expected
            )


def signed(place: Place, service: str, *states: str, reason: str = "") -> None:
    expected = {"repositoryName": f"darkroom-dev/{service}", "imageId": {"imageTag": "v1"}}
    for state in states:
        status = {
            "signingProfileArn": "arn:aws:signer:ap-northeast-2:123456789012:/signing-profiles/p",
            "status": state,
        }
        answer = {"signingStatuses": [status | ({"failureReason": reason} if reason else {})]}
        place.ecr_answers.add_response("describe_image_signing_status", answer, expected)


def scanned(place: Place, service: str, status: str = "COMPLETE", **counts: int) -> None:
    expected = {"repositoryName": f"darkroom-dev/{service}", "imageId": {"imageTag": "v1"}, "maxResults": 1}
    findings = {"imageScanStatus": {"status": status}, "imageScanFindings": {"findingSeverityCounts": counts}}
    place.ecr_answers.add_response("describe_image_scan_findings", findings, expected)


def checked(place: Place, env: Environment) -> None:
    """All images are there; what follows looks at the first."""
    place.registry(env).ensure(lambda: Tool("none"), "v1", "base", catalogue.Revision("c", 0, clean=True))


def test_images_that_are_there_are_neither_built_nor_pushed(place: Place, env: Environment) -> None:
    there(place, *catalogue.SERVICES)
    for service in catalogue.SERVICES:
        signed(place, service, "COMPLETE")
        scanned(place, service, LOW=2)

    def no_builder() -> Tool:
        raise AssertionError("nobody asks for a builder")

    place.registry(env).ensure(no_builder, "v1", "base", catalogue.Revision("c", 0, clean=True))
    assert place.said[0] == "    all images of v1 are there"
    assert "    gateway: scanned, 2 low" in place.said


def test_what_is_missing_is_built_for_its_processor_and_pushed_and_the_password_is_never_shown(
    place: Place, env: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    builder = Builder()
    built: list[tuple[str, str]] = []

    def keep(_tool: Tool, names: list[str], options: Build) -> None:
        built.append((names[0], options.platform))

    monkeypatch.setattr(build, "build", keep)
    there(place, "gateway", "metadata_svc")
    token = base64.b64encode(b"AWS:very-secret").decode()
    place.ecr_answers.add_response("get_authorization_token", {"authorizationData": [{"authorizationToken": token}]})
    for service in catalogue.SERVICES:
        signed(place, service, "IN_PROGRESS", "COMPLETE")
        scanned(place, service)
    place.registry(env).ensure(lambda: builder, "v1", "base", catalogue.Revision("c", 0, clean=True))  # type: ignore[arg-type,return-value]  # it has what is used of a Tool
    host = "123456789012.dkr.ecr.ap-northeast-2.amazonaws.com"
    assert built == [("presign_svc", "linux/arm64"), ("image_svc", "linux/amd64")]
    assert builder.done == [
        ("login", host, "AWS", "very-secret"),
        ("push", "darkroom/presign_svc:v1", f"{host}/darkroom-dev/presign_svc:v1"),
        ("push", "darkroom/image_svc:v1", f"{host}/darkroom-dev/image_svc:v1"),
    ]
    assert "very-secret" not in "\n".join(place.said)


def test_an_image_that_ecr_could_not_sign_is_not_deployed(place: Place, env: Environment) -> None:
    there(place, *catalogue.SERVICES)
    signed(place, "gateway", "FAILED", reason="no permission to sign")
    with pytest.raises(RolloutError, match="darkroom-dev/gateway:v1 is not signed: no permission to sign"):
        checked(place, env)


def test_an_image_with_a_critical_finding_is_not_deployed(place: Place, env: Environment) -> None:
    there(place, *catalogue.SERVICES)
    signed(place, "gateway", "COMPLETE")
    scanned(place, "gateway", CRITICAL=1, LOW=4)
    with pytest.raises(RolloutError, match="darkroom-dev/gateway:v1 has 1 findings of severity CRITICAL"):
        checked(place, env)


def test_an_image_that_cannot_be_scanned_is_not_deployed(place: Place, env: Environment) -> None:
    there(place, *catalogue.SERVICES)
    signed(place, "gateway", "COMPLETE")
    scanned(place, "gateway", status="UNSUPPORTED_IMAGE")
    with pytest.raises(RolloutError, match="darkroom-dev/gateway:v1 is not scanned: UNSUPPORTED_IMAGE"):
        checked(place, env)
