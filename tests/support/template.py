"""Reading synthesised templates: resources by type, roles by name, what a role may do."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

Template = dict[str, Any]


def resources(template: Template, kind: str) -> dict[str, Template]:
    """Properties of the resources of a type, by logical id."""
    return {name: item["Properties"] for name, item in template["Resources"].items() if item["Type"] == kind}


def only(template: Template, kind: str, **properties: Any) -> Template:
    """The one resource of a type with these properties."""
    (found,) = [
        item
        for item in resources(template, kind).values()
        if all(item.get(name) == value for name, value in properties.items())
    ]
    return found


@dataclass(frozen=True)
class Grant:
    """One action that a role may do on one resource (an ARN, with wildcards where it has them)."""

    action: str
    resource: str
    condition: str


def roles(*templates: Template) -> dict[str, Template]:
    """The roles that have a name, by it."""
    return {
        role["RoleName"]: role
        for template in templates
        for role in resources(template, "AWS::IAM::Role").values()
        if "RoleName" in role
    }


def grants(role: Template) -> list[Grant]:
    """All that a role may do. There are no managed policies, no NotAction and no NotResource to read."""
    assert "ManagedPolicyArns" not in role
    return [
        Grant(action, resource, str(statement.get("Condition", "")))
        for policy in role.get("Policies", ())
        for statement in policy["PolicyDocument"]["Statement"]
        for action in _listed(statement["Action"])
        for resource in _listed(statement["Resource"])
        if statement["Effect"] == "Allow"
    ]


def may(role: Template, action: str, arn: str) -> bool:
    """Whether a role may do something to one thing, conditions left aside."""
    return any(fnmatchcase(action, grant.action) and fnmatchcase(arn, grant.resource) for grant in grants(role))


def actions(role: Template, service: str = "") -> set[str]:
    """The actions of a role, those of one AWS service where it is named."""
    return {grant.action for grant in grants(role) if grant.action.startswith(f"{service}:" if service else "")}


def edges(template: Template) -> Iterator[tuple[Any, Any, int]]:
    """Who may call whom at which port: every rule of a security group that names another group."""
    for rule in resources(template, "AWS::EC2::SecurityGroupIngress").values():
        assert rule["FromPort"] == rule["ToPort"]
        yield rule["SourceSecurityGroupId"], rule["GroupId"], rule["FromPort"]


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
