"""Looking into a synthesised template."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

Template = dict[str, Any]


def resources(template: Template, kind: str) -> dict[str, Template]:
    """Properties of the resources of a kind, by logical id."""
    return {name: item["Properties"] for name, item in template["Resources"].items() if item["Type"] == kind}


def only(template: Template, kind: str) -> Template:
    """Properties of the one resource of a kind."""
    (found,) = resources(template, kind).values()
    return found


def statements(template: Template, kind: str) -> Iterator[Template]:
    """Every statement of the policies of a kind."""
    for policy in resources(template, kind).values():
        yield from policy["PolicyDocument"]["Statement"]


def of_construct(template: Template, kind: str, prefix: str) -> Template:
    """Properties of the one resource of a kind whose logical id begins so."""
    (found,) = [item for name, item in resources(template, kind).items() if name.startswith(prefix)]
    return found


def roles(template: Template) -> Iterator[tuple[str, Template]]:
    """Every statement of every role's own policies, with the role's logical id."""
    for name, role in resources(template, "AWS::IAM::Role").items():
        for policy in role.get("Policies", ()):
            for statement in policy["PolicyDocument"]["Statement"]:
                yield name, statement


def listed(value: Any) -> list[Any]:
    """A list, or the one thing that stands for it."""
    return value if isinstance(value, list) else [value]
