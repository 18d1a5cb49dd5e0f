"""Acknowledgements: a finding of a gate that stands on purpose, with its reason, beside the construct that causes it.

One call writes what each tool reads by itself (cdk-nag's and checkov's lists, cfn-lint's configuration), so that
whoever runs a tool on our templates sees the same. The gate (deploy/gates) compares the acknowledgements with
what the tools find without them: a finding without one fails it, and so does one without a finding.
"""

from __future__ import annotations

from typing import Any

from aws_cdk import Acknowledgment, CfnResource, Validations
from constructs import IConstruct

from deploy.cdk.rules import CFN_LINT, CHECKOV, NAG, REASON


def acknowledge(construct: IConstruct, *rules: str, reason: str) -> None:
    """Acknowledges findings on one resource.

    `construct` is an L1, or an L2 whose default child is meant. `rules` are ids as the tools print them: `CKV_AWS_18`,
    `W3005`, `AwsSolutions-S1`; a finding of cdk-nag that has its own detail is named with it
    (`AwsSolutions-IAM5[Resource::*]`), one at a time. Raises ValueError for an unknown kind of id, for a reason that is
    no sentence, and for a construct without a resource.
    """
    resource = construct if isinstance(construct, CfnResource) else construct.node.default_child
    if not isinstance(resource, CfnResource):
        raise ValueError(f"{construct.node.path}: no resource of its own to acknowledge anything on")
    if not REASON.fullmatch(reason):
        raise ValueError(f"{construct.node.path}: a reason is a sentence, not {reason!r}")
    for rule in rules:
        if NAG.fullmatch(rule):
            _add(resource, "cdk_nag", "rules_to_suppress", {"id": rule, "reason": reason})
        elif CHECKOV.fullmatch(rule):
            _add(resource, "checkov", "skip", {"id": rule, "comment": reason})
        elif CFN_LINT.fullmatch(rule):
            _add_cfn_lint(resource, rule, reason)
        else:
            raise ValueError(f"{construct.node.path}: {rule!r} is no id of cdk-nag, checkov or cfn-lint")


def _add(resource: CfnResource, tool: str, key: str, entry: dict[str, Any]) -> None:
    held = resource.get_metadata(tool) or {}
    if any(other["id"] == entry["id"] for other in held.get(key, [])):
        return  # two statements of one policy may name the same resource: a tool finds it once
    resource.add_metadata(tool, {**held, key: [*held.get(key, []), entry]})


def _add_cfn_lint(resource: CfnResource, rule: str, reason: str) -> None:
    held = resource.get_metadata("cfn-lint") or {"config": {"ignore_checks": []}, "reasons": {}}
    # CDK's own validation speaks in the same rules, and would warn at every synth.
    Validations.of(resource).acknowledge(Acknowledgment(id=f"CloudFormation-Validate::{rule}", reason=reason))
    ignored = [*held["config"]["ignore_checks"], rule]
    resource.add_metadata(
        "cfn-lint", {"config": {"ignore_checks": ignored}, "reasons": {**held["reasons"], rule: reason}}
    )
