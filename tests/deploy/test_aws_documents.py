"""What the documents on the AWS side say can be done and is configured is so, as far as it shows without an account."""

from __future__ import annotations

import re
import shlex
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import botocore.session
import pytest
from botocore import xform_name

from deploy.cdk import settings
from metadata_svc import admin

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs" / "aws.md").read_text(encoding="utf-8")
AVAILABILITY = (ROOT / "docs" / "availability.md").read_text(encoding="utf-8")
SHELL = "\n".join(re.findall(r"```sh\n(.*?)```", GUIDE, re.DOTALL))

# The AWS command line's own: options of every command, and commands that are no API calls.
OWN_OPTIONS = {"query", "output"}
OWN_COMMANDS = {("s3", "rm")}
# Parameters that it calls otherwise than the API does.
RENAMED = {"notification-endpoint": "endpoint"}
# Services that it calls otherwise.
SERVICES = {"s3api": "s3"}


def configured() -> list[tuple[str, str]]:
    """`file: setting` in the last column of each table."""
    found = []
    for line in AVAILABILITY.splitlines():
        if line.startswith("|") and not set(line) <= set("| -"):
            cell = line.rstrip("|").rsplit("|", 1)[-1]
            found += re.findall(r"`([\w./]+): ([\w.]+)`", cell)
    return found


@pytest.mark.parametrize(("file", "setting"), configured(), ids=lambda part: part)
def test_what_is_said_to_be_configured_somewhere_is_configured_there(file: str, setting: str) -> None:
    path = ROOT / "deploy" / "cdk" / "environments" / file if re.fullmatch(r"\w+\.toml", file) else ROOT / file
    if path.suffix == ".toml":
        value: Any = tomllib.loads(path.read_text(encoding="utf-8"))
        for part in setting.split("."):
            value = value[part]
        assert value not in (None, "", {})
    else:
        assert re.search(rf"\b{re.escape(setting)}\b", path.read_text(encoding="utf-8"))


def test_every_fault_names_where_its_answer_is_configured() -> None:
    assert len(configured()) > 40
    rows = [line for line in AVAILABILITY.splitlines() if line.startswith("| ") and "---" not in line]
    assert all(line.count("|") == 5 for line in rows)


def aws_calls() -> list[list[str]]:
    """Every call of the AWS command line in the guide, as words; what a shell would put in stands as it is written."""
    text = SHELL.replace("\\\n", " ")
    starts = re.finditer(r"(?:^|[\s($])aws (?=[a-z0-9-]+ [a-z-]+)", text, re.MULTILINE)
    return [_words(text[match.end() :]) for match in starts]


def _words(text: str) -> list[str]:
    """The words up to the end of the command: a newline, a semicolon or the bracket that closes a substitution."""
    end, depth, quote = len(text), 0, ""
    for i, char in enumerate(text):
        if quote:
            quote = "" if char == quote and text[i - 1] != "\\" else quote
        elif char in "'\"":
            quote = char
        elif text[i : i + 2] == "$(":
            depth += 1
        elif char == ")":
            depth -= 1
        if (not quote and char in "\n;" and depth <= 0) or depth < 0:
            end = i
            break
    return shlex.split(text[:end].split(" #", maxsplit=1)[0].split(" | ", maxsplit=1)[0])


@pytest.mark.parametrize("call", aws_calls(), ids=lambda call: " ".join(call[:3]))
def test_a_call_of_the_aws_command_line_is_one_that_aws_knows(call: list[str]) -> None:
    named, command, *rest = call
    service = SERVICES.get(named, named)
    options = {word.removeprefix("--") for word in rest if word.startswith("--")}
    session = botocore.session.Session()
    if (named, command) in OWN_COMMANDS:
        return
    if command == "wait":
        model = session.get_waiter_model(service)
        waiter = next(name for name in model.waiter_names if xform_name(name, "-") == rest[0])
        operation = model.get_waiter(waiter).operation
        session_model = session.get_service_model(service)
    else:
        session_model = session.get_service_model(service)
        operation = next(name for name in session_model.operation_names if xform_name(name, "-") == command)
    shape = session_model.operation_model(operation).input_shape
    known = {xform_name(name, "-") for name in shape.members} if shape is not None else set()
    flags = {RENAMED.get(option, option.removeprefix("no-")) for option in options}
    assert flags - OWN_OPTIONS <= known


def test_the_calls_of_the_guide_are_all_looked_at() -> None:
    assert len(aws_calls()) >= 20
    assert {"service-quotas", "acm", "cloudformation", "ecs", "secretsmanager", "sns", "s3", "ecr"} <= {
        call[0] for call in aws_calls()
    }


def test_every_make_target_of_the_documents_exists() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    for path in [ROOT / "README.md", *(ROOT / "docs").glob("**/*.md")]:
        text = path.read_text(encoding="utf-8")
        named = {name for line in re.findall(r"`make ([a-z-]+)|^make ([a-z-]+)", text, re.MULTILINE) for name in line}
        assert named - {""} <= targets, path


@pytest.mark.parametrize("variable", sorted(set(re.findall(r"DARKROOM_DEPLOY_[A-Z_]+[A-Z]", GUIDE))))
def test_a_variable_of_the_guide_is_a_setting(variable: str) -> None:
    values: Any = settings.AwsEnvironment.model_fields
    *tables, name = variable.removeprefix(settings.VARIABLE_PREFIX).lower().split("__")
    for table in tables:
        values = values[table].annotation.model_fields
    assert name in values


@pytest.mark.parametrize("line", re.findall(r"^admin (?!\()(.+)$", SHELL, re.MULTILINE))
def test_a_command_for_the_administration_is_one_that_it_takes(line: str) -> None:
    options = admin._parser().parse_args(shlex.split(line))
    assert options.subject in {"tenant", "key"}


def test_the_outputs_that_the_guide_asks_for_are_there(dev: dict[str, dict[str, Any]]) -> None:
    asked = set(re.findall(r"\$\(output (\w+) (\w+)\)", GUIDE))
    assert len(asked) >= 6
    for stack, output in asked:
        assert output in dev[stack.capitalize()]["Outputs"], stack


def test_the_task_that_the_guide_runs_is_the_one_that_the_stack_has(dev: dict[str, dict[str, Any]]) -> None:
    (task,) = [
        item["Properties"]
        for item in dev["Cluster"]["Resources"].values()
        if item["Type"] == "AWS::ECS::TaskDefinition" and item["Properties"]["Family"].endswith("-admin")
    ]
    (container,) = task["ContainerDefinitions"]
    assert f'\\"name\\":\\"{container["Name"]}\\"' in GUIDE
    log = container["LogConfiguration"]["Options"]
    assert f"--log-group-name {log['awslogs-group']} " in GUIDE
    assert f'"{log["awslogs-stream-prefix"]}/{container["Name"]}/' in GUIDE


def test_the_guide_lets_no_key_into_a_log() -> None:
    made = re.findall(r"^admin key create .*$", SHELL, re.MULTILINE)
    assert made
    assert all("--into darkroom/dev/keys/" in line for line in made)


def test_the_tear_down_takes_every_stack_of_an_environment(dev: dict[str, dict[str, Any]]) -> None:
    (order,) = re.findall(r"for stack in ([a-z ]+); do", GUIDE)
    assert sorted(order.split()) == sorted(stack.lower() for stack in dev)
    assert order.split()[-1] == "core"


def test_the_blocks_of_the_guide_are_shell() -> None:
    done = subprocess.run(["bash", "-n"], input=SHELL, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
