"""The whole gate: every variant of the stacks, all three tools, one verdict."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from deploy.cdk import example, settings
from deploy.cdk.rules import CFN_LINT
from deploy.cdk.settings import Environment
from deploy.cdk.synth import Synthesis, synthesise
from deploy.gates import tools
from deploy.gates.findings import Finding, Place, acknowledgements, bare, verdict

# Every stage as its file has it, and what changes the shape of the stacks beyond that.
VARIANTS: Final[Mapping[str, tuple[str, Mapping[str, str]]]] = {
    **{stage: (stage, example.variables(stage)) for stage in settings.STAGES},
    "prod-kms": ("prod", {**example.variables("prod"), "DARKROOM_DEPLOY_ENCRYPTION": "kms"}),
    # Without a way to the internet, and with a name of its own.
    "dev-closed": (
        "dev",
        {
            **example.OWNERS,
            "DARKROOM_DEPLOY_NETWORK__NAT_GATEWAYS": "0",
            "DARKROOM_DEPLOY_NETWORK__INTERFACE_ENDPOINTS": "true",
            "DARKROOM_DEPLOY_NETWORK__ENDPOINT_ZONES": "2",
            "DARKROOM_DEPLOY_EDGE__DOMAIN": "api.example.com",
            "DARKROOM_DEPLOY_EDGE__CERTIFICATE_ARN": (
                "arn:aws:acm:ap-northeast-2:123456789012:certificate/0a1b2c3d-0000-4000-8000-000000000000"
            ),
        },
    ),
}


@dataclass(frozen=True)
class Judged:
    """The verdict's lines (empty: passed), and how much was looked at."""

    wrong: list[str]
    templates: int
    resources: int
    found: int
    acknowledged: int


def environment(variant: str) -> Environment:
    """The settings of a variant; the process's own variables do not count."""
    stage, variables = VARIANTS[variant]
    return settings.load(stage, variables)


def synthesise_variant(variant: str, folder: Path) -> Synthesis:
    """A variant's templates with cdk-nag's findings, in a folder of its own below `folder`."""
    return synthesise(environment(variant), folder / variant, inspect=True)


def _tool(rule: str) -> str:
    """CDK's own validation of templates speaks in cfn-lint's rules."""
    return "cfn-lint" if CFN_LINT.fullmatch(rule) else "cdk-nag"


def judge(made: Mapping[str, Synthesis], folder: Path) -> Judged:
    """Runs checkov and cfn-lint at the same time over the bare templates, which go to `folder`."""
    for variant, synthesis in made.items():
        (folder / variant).mkdir(parents=True)
        for stack, template in synthesis.templates.items():
            (folder / variant / f"{stack}.template.json").write_text(json.dumps(bare(template), indent=1))
    regions = sorted({environment(variant).region for variant in made})
    checkov, cfn_lint = tools.start_checkov(folder), tools.start_cfn_lint(folder, regions)
    found = [*tools.cfn_lint_findings(cfn_lint, folder), *tools.checkov_findings(checkov, folder)]
    found += [
        Finding(Place(variant, item.stack, item.resource, _tool(item.rule), item.rule), item.text)
        for variant, synthesis in made.items()
        for item in synthesis.findings
    ]
    given = [
        entry
        for variant, synthesis in made.items()
        for stack, template in synthesis.templates.items()
        for entry in acknowledgements(variant, stack, template)
    ]
    templates = [template for synthesis in made.values() for template in synthesis.templates.values()]
    resources = sum(len(template.get("Resources", {})) for template in templates)
    return Judged(verdict(found, given), len(templates), resources, len(set(found)), len(dict(given)))
