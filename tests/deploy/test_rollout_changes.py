"""What a change set is told as, and what of it would lose data. The answers are in the form of DescribeChangeSet."""

from __future__ import annotations

from typing import Any

import pytest

from deploy.rollout import changes


def change(action: str, name: str, kind: str, *properties: str, replacement: str = "") -> dict[str, Any]:
    details = [{"Target": {"Attribute": "Properties", "Name": item}} for item in properties]
    found = {"Action": action, "LogicalResourceId": name, "ResourceType": kind, "Details": details}
    return {"Type": "Resource", "ResourceChange": found | ({"Replacement": replacement} if replacement else {})}


def test_each_change_is_a_line_with_what_changes_in_it() -> None:
    told = changes.lines(
        [
            change("Add", "Topic", "AWS::SNS::Topic"),
            change("Modify", "Task", "AWS::ECS::TaskDefinition", "Memory", "Cpu", "Cpu", replacement="True"),
            change("Modify", "Service", "AWS::ECS::Service", "TaskDefinition", replacement="Conditional"),
            change("Modify", "Alarm", "AWS::CloudWatch::Alarm", "Threshold", replacement="False"),
            change("Remove", "Role", "AWS::IAM::Role"),
            {"Type": "Hook"},
        ]
    )
    assert told == [
        "+ Topic (AWS::SNS::Topic)",
        "~ Task (AWS::ECS::TaskDefinition): Cpu, Memory REPLACED",
        "~ Service (AWS::ECS::Service): TaskDefinition perhaps replaced",
        "~ Alarm (AWS::CloudWatch::Alarm): Threshold",
        "- Role (AWS::IAM::Role)",
    ]


@pytest.mark.parametrize("kind", sorted(changes.STATEFUL))
@pytest.mark.parametrize(("action", "replacement"), [("Remove", ""), ("Modify", "True")])
def test_removing_or_replacing_what_holds_state_is_a_loss(kind: str, action: str, replacement: str) -> None:
    assert changes.losses([change(action, "Thing", kind, replacement=replacement)]) == ["Thing"]


@pytest.mark.parametrize(
    "harmless",
    [
        change("Remove", "Role", "AWS::IAM::Role"),
        change("Modify", "Task", "AWS::ECS::TaskDefinition", replacement="True"),
        change("Modify", "Bucket", "AWS::S3::Bucket", "Tags", replacement="False"),
        change("Add", "Bucket", "AWS::S3::Bucket"),
    ],
)
def test_everything_else_is_none(harmless: dict[str, Any]) -> None:
    assert changes.losses([harmless]) == []
