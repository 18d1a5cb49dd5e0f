"""What a change set would do, for people, and what of it would lose data."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

# What holds state that no deployment brings back; of the API, its address and which keys may use it.
STATEFUL: Final = frozenset(
    {
        "AWS::ApiGateway::RestApi",
        "AWS::ApiGateway::UsagePlan",
        "AWS::ECR::Repository",
        "AWS::KMS::Key",
        "AWS::RDS::DBCluster",
        "AWS::S3::Bucket",
        "AWS::SQS::Queue",
        "AWS::SecretsManager::Secret",
        "AWS::Signer::SigningProfile",
    }
)
_SIGNS: Final = {"Add": "+", "Modify": "~", "Remove": "-", "Import": ">", "Dynamic": "?"}


def lines(changes: Sequence[Mapping[str, Any]]) -> list[str]:
    """A line a resource: + added, ~ changed (with the properties), - removed; what replaces says so."""
    told = []
    for change in _resources(changes):
        sign = _SIGNS.get(change["Action"], "?")
        line = f"{sign} {change['LogicalResourceId']} ({change['ResourceType']})"
        names = sorted({name for detail in change.get("Details", ()) if (name := _property(detail))})
        if change["Action"] == "Modify" and names:
            line += f": {', '.join(names)}"
        replaces = change.get("Replacement")
        told.append(line + {"True": " REPLACED", "Conditional": " perhaps replaced"}.get(str(replaces), ""))
    return told


def losses(changes: Sequence[Mapping[str, Any]]) -> list[str]:
    """Logical ids of what holds state and would be removed or replaced."""
    return [
        change["LogicalResourceId"]
        for change in _resources(changes)
        if change["ResourceType"] in STATEFUL and (change["Action"] == "Remove" or change.get("Replacement") == "True")
    ]


def _resources(changes: Sequence[Mapping[str, Any]]) -> Iterable[Mapping[str, Any]]:
    return (change["ResourceChange"] for change in changes if "ResourceChange" in change)


def _property(detail: Mapping[str, Any]) -> str:
    target = detail.get("Target", {})
    return str(target.get("Name") or target.get("Attribute") or "")
