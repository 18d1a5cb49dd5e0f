"""A whole roll-out: in order, stopped by a failure, gone on with, repeated without effect.

The stacks are made by a real LocalStack, small ones in place of AWS's, which it does not know. It has neither ECS nor
ECR: those two are recorded here, and tested against their own models in test_rollout_tasks_and_images.py.
"""

from __future__ import annotations

import http.server
import json
import secrets
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from deploy.cdk import settings
from deploy.cdk.settings import EMULATOR_ACCOUNT
from deploy.cdk.synth import INLINE_LIMIT, Synthesis
from deploy.images import catalogue
from deploy.images.tools import Tool
from deploy.local import localstack as launcher
from deploy.rollout import __main__ as command
from deploy.rollout import assembly, plan
from deploy.rollout.assembly import Stack
from deploy.rollout.errors import RolloutError
from deploy.rollout.rollout import Rollout
from tests.support.environments import OWNERS
from tests.support.localstack import LocalStack

UNITS = [step.name for step in plan.ORDER if step.kind == "stack"]


class Ecr:
    """All images are there, signed and scanned."""

    def __init__(self, done: list[str]) -> None:
        self._done = done

    def describe_images(self, *, repositoryName: str, imageIds: list[dict[str, str]]) -> dict[str, Any]:  # noqa: N803
        self._done.append(f"image {repositoryName}:{imageIds[0]['imageTag']}")
        return {"imageDetails": [{}]}

    def describe_image_signing_status(self, **_: Any) -> dict[str, Any]:
        return {"signingStatuses": [{"status": "COMPLETE"}]}

    def describe_image_scan_findings(self, **_: Any) -> dict[str, Any]:
        return {"imageScanStatus": {"status": "COMPLETE"}}


class Ecs:
    """Every task ends with 0 at once, every service has settled."""

    def __init__(self, done: list[str]) -> None:
        self._done = done

    def list_tasks(self, **_: Any) -> dict[str, Any]:
        return {"taskArns": []}

    def run_task(self, *, taskDefinition: str, **_: Any) -> dict[str, Any]:  # noqa: N803
        self._done.append(f"task {taskDefinition}")
        return {"tasks": [{"taskArn": "task/1"}]}

    def describe_tasks(self, **_: Any) -> dict[str, Any]:
        return {"tasks": [{"lastStatus": "STOPPED", "containers": [{"name": "metadata_svc", "exitCode": 0}]}]}

    def describe_task_definition(self, **_: Any) -> dict[str, Any]:
        return {"taskDefinition": {"containerDefinitions": [{}]}}

    def get_paginator(self, _: str) -> Any:
        class Pages:
            def paginate(self, **_: Any) -> list[dict[str, Any]]:
                return [{"serviceArns": ["service/gateway"]}]

        return Pages()

    def list_service_deployments(self, *, service: str, **_: Any) -> dict[str, Any]:
        self._done.append(f"settled {service}")
        return {"serviceDeployments": [{"status": "SUCCESSFUL", "createdAt": 1}]}


@pytest.fixture
def api() -> Iterator[str]:
    """URL of an API that answers what the roll-out asks at its end."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/v/openapi.json" else 404)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Says nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/v"
        server.shutdown()
        thread.join()


class Place:
    """One environment of small stacks on the emulator; `done` has what happened, in order."""

    def __init__(self, localstack: LocalStack, api: str) -> None:
        self._endpoint = localstack.endpoint_url
        self._api = api
        self.stage = f"o{secrets.token_hex(3)}"
        self.done: list[str] = []
        self.broken = ""

    def rollout(self, tag: str = "v1") -> Rollout:
        env = settings.load("dev", OWNERS).model_copy(update={"account": EMULATOR_ACCOUNT})
        stacks = [self._stack(unit) for unit in UNITS]
        return Rollout(env, stacks, tag, "base", self.client, self._say, find=_no_builder, pause=0.05)

    def client(self, service: str) -> Any:
        recorded: dict[str, Callable[[], Any]] = {"ecr": lambda: Ecr(self.done), "ecs": lambda: Ecs(self.done)}
        if service in recorded:
            return recorded[service]()
        return launcher.client(service, self._endpoint)

    def clean(self) -> None:
        for unit in UNITS:
            self.client("cloudformation").delete_stack(StackName=f"darkroom-{self.stage}-{unit.lower()}")

    def parameter(self, unit: str) -> str:
        value: str = self.client("ssm").get_parameter(Name=f"/{self.stage}/{unit}")["Parameter"]["Value"]
        return value

    def _say(self, line: str) -> None:
        if line.endswith("change(s)"):
            self.done.append(line.strip())

    def _stack(self, unit: str) -> Stack:
        tagged = unit in {"Cluster", "Services"}
        outputs = {
            "Cluster": {
                "ClusterName": "c",
                "MigrationSecurityGroup": "sg",
                "MigratePreTaskDefinition": "pre",
                "MigratePostTaskDefinition": "post",
            },
            "Registry": {"TemplatesBucket": "none"},
            "Network": {"TaskSubnets": "a,b"},
            "Edge": {"ApiUrl": self._api},
        }.get(unit, {})
        value = {"Ref": "ImageTag"} if tagged else "1"
        name = f"/{self.stage}/{unit}"
        resource = {"Type": "AWS::SSM::Parameter", "Properties": {"Name": name, "Type": "String", "Value": value}}
        if unit == self.broken:
            resource = {"Type": "AWS::SQS::Queue", "Properties": {"QueueName": "not a name!"}}
        template = {
            **({"Parameters": {"ImageTag": {"Type": "String"}}} if tagged else {}),
            "Resources": {"Thing": resource},
            "Outputs": {name: {"Value": text} for name, text in outputs.items()},
        }
        return assembly.stack(unit, f"darkroom-{self.stage}-{unit.lower()}", template)


def _no_builder() -> Tool:
    raise AssertionError("nothing is to be built")


@pytest.fixture
def place(localstack: LocalStack, api: str) -> Iterator[Place]:
    place = Place(localstack, api)
    yield place
    place.clean()


def made(place: Place, *units: str) -> list[str]:
    return [f"darkroom-{place.stage}-{unit}: 1 change(s)" for unit in units]


def test_everything_happens_in_order_a_repetition_changes_nothing_and_a_new_tag_what_runs_it(place: Place) -> None:
    place.rollout().run()
    images = [f"image darkroom-dev/{service}:v1" for service in catalogue.SERVICES]
    assert place.done == [
        *made(place, "core", "registry"),
        *images,
        *made(place, "network", "database", "cluster"),
        "task pre",
        *made(place, "services"),
        "settled service/gateway",
        "task post",
        *made(place, "edge"),
    ]
    assert place.parameter("Services") == "v1"
    place.done.clear()
    place.rollout().run()
    assert [line for line in place.done if "change" in line] == []
    place.rollout("v2").preview()
    assert [line for line in place.done if "change" in line] == made(place, "cluster", "services")
    assert place.parameter("Services") == "v1"
    place.done.clear()
    place.rollout("v2").run()
    assert [line for line in place.done if "change" in line] == made(place, "cluster", "services")
    assert place.parameter("Services") == "v2"


def test_after_a_failure_the_same_command_goes_on_and_no_contracting_migration_ran_before(place: Place) -> None:
    place.broken = "Services"
    with pytest.raises(RolloutError, match=f"darkroom-{place.stage}-services is ROLLBACK_COMPLETE"):
        place.rollout().run()
    assert "task pre" in place.done
    assert "task post" not in place.done
    place.broken = ""
    place.done.clear()
    place.rollout().run()
    assert [line for line in place.done if "change" in line] == made(place, "services", "edge")
    assert "task post" in place.done


def test_a_preview_of_an_empty_account_makes_nothing(place: Place) -> None:
    place.rollout().preview()
    with pytest.raises(ClientError, match="does not exist"):
        place.client("cloudformation").describe_stacks(StackName=f"darkroom-{place.stage}-core")


def test_a_name_that_nobody_resolves_yet_is_told_with_where_it_must_lead(place: Place) -> None:
    rollout = place.rollout()
    said: list[str] = []
    rollout.say = said.append
    rollout.outputs["Edge"] = {"ApiUrl": "https://api.invalid", "DomainTarget": "d-1.execute-api.example.com"}
    rollout.run([plan.ORDER[-1]])
    assert "make a DNS entry that leads to d-1.execute-api.example.com" in said[1]


def test_credentials_of_another_account_change_nothing(place: Place) -> None:
    rollout = place.rollout()
    rollout.env = settings.load("dev", OWNERS)
    with pytest.raises(RolloutError, match=r"of account 000000000000, and dev belongs in 123456789012.*Nothing"):
        rollout.check()
    place.rollout().check()


# ---- the plan against the synthesised stacks -------------------------------------------------------------------------


@pytest.fixture(scope="session")
def stacks(synthesised: Callable[[str], Synthesis]) -> list[Stack]:
    return assembly.read(synthesised("dev").folder)


def test_the_plan_has_every_stack_after_those_it_depends_on(stacks: list[Stack]) -> None:
    assert sorted(UNITS) == sorted(stack.unit for stack in stacks)
    for stack in stacks:
        for other in stack.depends_on:
            assert UNITS.index(other) < UNITS.index(stack.unit), f"{stack.unit} needs {other}"


def test_every_output_that_the_roll_out_reads_is_there(synthesised: Callable[[str], Synthesis]) -> None:
    read = {
        "Registry": {"TemplatesBucket"},
        "Network": {"TaskSubnets"},
        "Cluster": {
            "ClusterName",
            "MigrationSecurityGroup",
            plan.MIGRATE_BEFORE,
            plan.MIGRATE_AFTER,
        },
        "Edge": {"ApiUrl"},
    }
    for unit, wanted in read.items():
        assert wanted <= synthesised("dev").templates[unit].get("Outputs", {}).keys(), unit


def test_a_stack_needs_no_parameter_but_the_images_tag(synthesised: Callable[[str], Synthesis]) -> None:
    for unit, template in synthesised("dev").templates.items():
        needed = {name for name, item in template.get("Parameters", {}).items() if "Default" not in item}
        assert needed <= {"ImageTag"}, unit


def test_templates_that_precede_the_bucket_can_be_sent_along(stacks: list[Stack]) -> None:
    sizes = {stack.unit: stack.size for stack in stacks}
    before = UNITS[: UNITS.index("Registry") + 1]
    assert max(sizes[unit] for unit in before) <= INLINE_LIMIT


def test_the_plan_tells_every_step(stacks: list[Stack]) -> None:
    told = "\n".join(plan.lines(stacks, "v1"))
    for stack in stacks:
        assert f"stack {stack.name} (" in told
    assert "image_svc     linux/amd64" in told
    assert told.index(plan.MIGRATE_BEFORE) < told.index("darkroom-dev-services") < told.index(plan.MIGRATE_AFTER)


# ---- the command -----------------------------------------------------------------------------------------------------


def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    monkeypatch.setattr("sys.argv", ["deploy", *arguments])
    monkeypatch.setenv(command._AS_OF, "2026-11-01T00:00:00+00:00")
    status = command.main()
    return status, capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["local"], "make up"),
        (["prod"], "this is production. PLAN=1 and CHANGES=1 show what would be done; CONFIRM=prod does it"),
        (["prod", "--confirm", "yes"], "CONFIRM=prod"),
        (["dev", "--tag", "not a tag"], "TAG=not a tag: letters"),
    ],
)
def test_what_may_not_be_deployed_is_refused_before_anything_happens(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    for name, value in OWNERS.items():
        monkeypatch.setenv(name, value)
    status, error = run(monkeypatch, capsys, *arguments)
    assert status == 1
    assert said in error


def test_a_missing_setting_is_told_with_an_example(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in OWNERS:
        monkeypatch.delenv(name, raising=False)
    status, error = run(monkeypatch, capsys, "dev", "--plan", "--tag", "v1")
    assert status == 1
    assert "e.g. DARKROOM_DEPLOY_ACCOUNT=123456789012" in error


def test_without_a_tag_the_commit_names_the_images_unless_the_tree_has_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    clean = catalogue.Revision("0123456789abcdef0123", 1, clean=True)
    monkeypatch.setattr(catalogue, "revision", lambda: clean)
    assert command._tag("") == "0123456789ab"
    monkeypatch.setattr(catalogue, "revision", lambda: catalogue.Revision("0123", 1, clean=False))
    with pytest.raises(RolloutError, match="commit them"):
        command._tag("")
    monkeypatch.setattr(catalogue, "revision", lambda: catalogue.Revision("unknown", 0, clean=True))
    with pytest.raises(RolloutError, match="no git repository"):
        command._tag("")


def test_the_assembly_says_what_only_a_command_line_can_set(stacks: list[Stack]) -> None:
    core = next(stack for stack in stacks if stack.unit == "Core")
    assert core.tags == {"darkroom:stage": "dev", "darkroom:stack": "core"}
    assert json.loads(core.body)["Resources"].keys()
