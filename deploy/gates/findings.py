"""Findings against acknowledgements. Pure.

The tools run on templates without acknowledgements, so that every finding shows; then each finding must be
acknowledged on its resource (deploy.cdk.acknowledge), and each acknowledgement must have its finding.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from deploy.cdk.rules import REASON

Template = dict[str, Any]
# What `deploy.cdk.acknowledge` writes, and no tool may see while it looks for findings.
BLOCKS: Final = ("cdk_nag", "checkov", "cfn-lint")


@dataclass(frozen=True, order=True)
class Place:
    """A rule on a resource of a stack of a variant (an environment with certain settings)."""

    variant: str
    stack: str
    resource: str
    tool: str
    rule: str

    def __str__(self) -> str:
        return f"{self.variant}/{self.stack}: {self.tool} {self.rule} on {self.resource or '(no resource)'}"


@dataclass(frozen=True, order=True)
class Finding:
    """What a tool says about a place."""

    place: Place
    text: str = field(compare=False)


def bare(template: Template) -> Template:
    """The template without its acknowledgements."""
    stripped = copy.deepcopy(template)
    for item in stripped.get("Resources", {}).values():
        for block in BLOCKS:
            item.get("Metadata", {}).pop(block, None)
        if not item.get("Metadata", True):
            del item["Metadata"]
    return stripped


def acknowledgements(variant: str, stack: str, template: Mapping[str, Any]) -> Iterator[tuple[Place, str]]:
    """Every acknowledgement of a template with its reason."""
    for resource, item in template.get("Resources", {}).items():
        held = item.get("Metadata", {})
        for entry in held.get("cdk_nag", {}).get("rules_to_suppress", ()):
            yield Place(variant, stack, resource, "cdk-nag", entry["id"]), entry["reason"]
        for entry in held.get("checkov", {}).get("skip", ()):
            yield Place(variant, stack, resource, "checkov", entry["id"]), entry["comment"]
        lint = held.get("cfn-lint", {})
        for rule in lint.get("config", {}).get("ignore_checks", ()):
            yield Place(variant, stack, resource, "cfn-lint", rule), lint.get("reasons", {}).get(rule, "")


def verdict(findings: Iterable[Finding], acknowledged: Iterable[tuple[Place, str]]) -> list[str]:
    """What is wrong, a line each; empty where every finding is acknowledged and every acknowledgement is needed."""
    given = dict(acknowledged)
    found = {finding.place: finding for finding in findings}
    lines = [f"{finding.place}: {finding.text}" for place, finding in sorted(found.items()) if place not in given]
    lines += [f"{place}: acknowledged, but there is no such finding any more" for place in sorted(given.keys() - found)]
    lines += [
        f"{place}: the reason is no sentence: {reason!r}"
        for place, reason in sorted(given.items())
        if not REASON.fullmatch(reason)
    ]
    return lines
