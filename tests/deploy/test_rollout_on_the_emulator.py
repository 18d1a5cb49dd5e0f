"""The roll-out's stacks on a real LocalStack: shown first, then changed; gone on with after a failure; nothing lost.

The stacks Core and Edge are those that AWS gets. Their names are others than the local cluster's, so that the tests of
the local deployment find theirs untouched.
"""

from __future__ import annotations

import dataclasses
import json
import secrets
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from deploy.cdk.synth import INLINE_LIMIT
from deploy.local import cloudformation
from deploy.local import localstack as launcher
from deploy.rollout import assembly
from deploy.rollout.assembly import Stack
from deploy.rollout.errors import RolloutError
from deploy.rollout.stacks import Stacks
from tests.support.localstack import LocalStack

Client = Callable[[str], Any]


@pytest.fixture
def client(localstack: LocalStack) -> Client:
    return lambda service: launcher.client(service, localstack.endpoint_url)


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def stacks(client: Client, said: list[str]) -> Stacks:
    return Stacks(client("cloudformation"), client("s3"), said.append, pause=0.05)


@pytest.fixture
def name(client: Client) -> Iterator[str]:
    """Name of a stack of the test's own, deleted after it."""
    name = f"darkroom-rollout-{secrets.token_hex(4)}"
    yield name
    client("cloudformation").delete_stack(StackName=name)


def queue(name: str) -> dict[str, Any]:
    return {"Type": "AWS::SQS::Queue", "Properties": {"QueueName": name}}


def parameter(name: str, value: str) -> dict[str, Any]:
    return {"Type": "AWS::SSM::Parameter", "Properties": {"Type": "String", "Name": name, "Value": value}}


def stack(name: str, **resources: Any) -> Stack:
    return assembly.stack("Trial", name, {"Resources": resources})


def queues(client: Client, prefix: str) -> list[str]:
    urls = client("sqs").list_queues(QueueNamePrefix=prefix).get("QueueUrls", [])
    return [url.rsplit("/", 1)[1] for url in urls]


def test_core_and_edge_are_made_by_change_sets_and_a_second_roll_out_changes_nothing(
    stacks: Stacks, said: list[str], client: Client
) -> None:
    stage = f"r{secrets.token_hex(3)}"
    made: dict[str, dict[str, str]] = {}
    parameters = {"core": {}, "edge": {"GatewayHost": "127.0.0.1:9"}}
    try:
        for round_ in (1, 2):
            for unit, given in parameters.items():
                text = (cloudformation.TEMPLATES / f"{unit}.local.json").read_text()
                template = json.loads(
                    text.replace("darkroom-local", f"darkroom-{stage}").replace("darkroom/local/", f"darkroom/{stage}/")
                )
                said.clear()
                found = stacks.deploy(assembly.stack(unit, f"darkroom-{stage}-{unit}", template), given, "")
                if round_ == 1:
                    assert said[0] == f"    darkroom-{stage}-{unit}: {len(template['Resources'])} change(s)"
                    assert all(line.startswith("      + ") for line in said[1 : 1 + len(template["Resources"])])
                    made[unit] = found
                else:
                    assert said == [f"    darkroom-{stage}-{unit}: nothing to change"]
                    assert found == made[unit]
        assert client("s3").head_bucket(Bucket=made["core"]["IncomingBucket"])
        assert client("apigateway").get_rest_api(restApiId=made["edge"]["ApiId"])
    finally:
        for unit in ("edge", "core"):
            client("cloudformation").delete_stack(StackName=f"darkroom-{stage}-{unit}")


def test_a_change_is_shown_and_only_that_is_made(stacks: Stacks, said: list[str], name: str, client: Client) -> None:
    stacks.deploy(stack(name, First=queue(f"{name}-a")), {}, "")
    said.clear()
    stacks.deploy(stack(name, First=queue(f"{name}-a"), Second=queue(f"{name}-b")), {}, "")
    assert said[:2] == [f"    {name}: 1 change(s)", "      + Second (AWS::SQS::Queue)"]
    assert sorted(queues(client, name)) == [f"{name}-a", f"{name}-b"]


def test_a_stack_whose_first_creation_failed_says_why_and_is_made_by_the_next_roll_out(
    stacks: Stacks, said: list[str], name: str, client: Client
) -> None:
    with pytest.raises(RolloutError, match=r"(?s)ROLLBACK_COMPLETE.*Only \(AWS::SQS::Queue\).*alphanumeric"):
        stacks.deploy(stack(name, Only=queue("not a name!")), {}, "")
    stacks.deploy(stack(name, Only=queue(f"{name}-q")), {}, "")
    assert f"    {name}: its first creation had failed; what is left of it is deleted" in said
    assert queues(client, name) == [f"{name}-q"]


def test_an_abandoned_change_set_does_not_hinder_the_next_roll_out(stacks: Stacks, name: str, client: Client) -> None:
    wanted = stack(name, Only=queue(f"{name}-q"))
    client("cloudformation").create_change_set(
        StackName=name, ChangeSetName="abandoned", ChangeSetType="CREATE", TemplateBody=wanted.body
    )
    stacks.deploy(wanted, {}, "")
    assert queues(client, name) == [f"{name}-q"]


class InState:
    """CloudFormation with one stack in a state that the emulator does not get into; refuses every change."""

    def __init__(self, state: str) -> None:
        self._state = state

    def describe_stacks(self, **_: Any) -> dict[str, Any]:
        return {"Stacks": [{"StackStatus": self._state}]}

    def get_paginator(self, _: str) -> Any:
        return self

    def paginate(self, **_: Any) -> list[dict[str, Any]]:
        why = "The bucket is not empty"
        failed = {"ResourceStatus": "DELETE_FAILED", "ResourceStatusReason": why, "EventId": "1"}
        return [{"StackEvents": [failed | {"LogicalResourceId": "Media", "ResourceType": "AWS::S3::Bucket"}]}]


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ("DELETE_FAILED", "(?s)is half deleted.*Media .*not empty"),
        ("UPDATE_ROLLBACK_FAILED", "(?s)its way back failed too.*continue-update-rollback --stack-name n.*Media"),
    ],
)
def test_what_only_people_can_mend_is_left_to_them_with_its_reason(state: str, said: str) -> None:
    with pytest.raises(RolloutError, match=said):
        Stacks(InState(state), None, print).deploy(stack("n", Only=queue("q")), {}, "")


def test_what_holds_data_is_not_removed_unless_it_is_named(stacks: Stacks, name: str, client: Client) -> None:
    stacks.deploy(stack(name, Kept=queue(f"{name}-q"), Plain=parameter(f"/{name}/a", "1")), {}, "")
    without = stack(name, Plain=parameter(f"/{name}/a", "1"))
    with pytest.raises(RolloutError, match=r'Kept would be removed.*\nNothing.*ACCEPT_LOSS="Kept"'):
        stacks.deploy(without, {}, "")
    assert queues(client, name) == [f"{name}-q"]
    stacks.deploy(without, {}, "", accepted={"Kept"})
    assert queues(client, name) == []


def test_a_large_template_goes_through_the_bucket(stacks: Stacks, name: str, client: Client) -> None:
    bucket = f"{name}-templates"
    client("s3").create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": launcher.REGION})
    padding = {f"Padding{n}": parameter(f"/{name}/{n}", "x" * 4000) | {"Condition": "Never"} for n in range(13)}
    template = {
        "Conditions": {"Never": {"Fn::Equals": ["a", "b"]}},
        "Resources": {"Only": queue(f"{name}-q"), **padding},
    }
    large = assembly.stack("Trial", name, template)
    assert large.size > INLINE_LIMIT
    with pytest.raises(RolloutError, match="Registry's bucket is not there"):
        stacks.deploy(large, {}, "")
    stacks.deploy(large, {}, bucket)
    assert queues(client, name) == [f"{name}-q"]
    held = client("s3").list_objects_v2(Bucket=bucket)["Contents"]
    assert [item["Size"] for item in held] == [large.size]


def test_tags_of_the_stack_are_set_and_it_is_protected_where_it_should_be(
    stacks: Stacks, name: str, client: Client
) -> None:
    plain = stack(name, Only=queue(f"{name}-q"))
    kept = dataclasses.replace(plain, tags={"darkroom:stage": "t"}, protected=True)
    stacks.deploy(kept, {}, "")
    found = client("cloudformation").describe_stacks(StackName=name)["Stacks"][0]
    assert found["Tags"] == [{"Key": "darkroom:stage", "Value": "t"}]
    assert found["EnableTerminationProtection"] is True
    client("cloudformation").update_termination_protection(StackName=name, EnableTerminationProtection=False)
