"""A synth of one environment into a folder: a template a stack, in the order in which stacks are deployed."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from deploy.cdk import node
from deploy.cdk.settings import Environment

Template = dict[str, Any]
REPORT: Final = "validation-report.json"
# Bytes: CloudFormation takes a template of this size in the call itself, a larger one (to 1 MB) from a bucket.
INLINE_LIMIT: Final = 51_200


@dataclass(frozen=True)
class NagFinding:
    """What cdk-nag says of one resource."""

    rule: str
    stack: str
    resource: str  # logical id
    text: str


@dataclass(frozen=True)
class Synthesis:
    """The templates of one environment by stack, where they lie, and cdk-nag's findings where it was asked."""

    folder: Path
    templates: dict[str, Template]
    findings: tuple[NagFinding, ...]

    def path(self, stack: str) -> Path:
        """The file of a stack's template."""
        return self.folder / f"{stack}.template.json"


def synthesise(env: Environment, folder: Path, *, inspect: bool = False) -> Synthesis:
    """Writes the templates to `folder`, which is emptied first. `inspect` runs cdk-nag's AwsSolutions over them.

    The first synth of a process takes 10 to 20 s and half a gigabyte, most of it to start node.
    """
    node.on_path()
    from deploy.cdk.app import build  # takes seconds to import, and starts node

    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    app = build(env, str(folder))
    if inspect:
        from aws_cdk import Validations
        from cdk_nag import AwsSolutionsChecks

        Validations.of(app).add_plugins(AwsSolutionsChecks(app))
    try:
        app.synth()
    except RuntimeError as error:
        # cdk-nag's way to say that it found something; the templates are written by then. What of it is acknowledged
        # is not cdk-nag's to decide (deploy/gates).
        if not inspect or "ValidationFailed" not in str(error):
            raise
    stacks = _stacks(folder)
    templates = {stack: json.loads((folder / f"{stack}.template.json").read_text()) for stack in stacks}
    return Synthesis(folder, templates, tuple(_findings(folder)) if inspect else ())


def _stacks(folder: Path) -> list[str]:
    artifacts = json.loads((folder / "manifest.json").read_text())["artifacts"]
    return [name for name, item in artifacts.items() if item["type"] == "aws:cloudformation:stack"]


def _findings(folder: Path) -> list[NagFinding]:
    if not (folder / REPORT).exists():
        return []
    logical = _logical_ids(folder)
    reports = json.loads((folder / REPORT).read_text())["pluginReports"]
    return [
        NagFinding(
            violation["ruleName"],
            construct["constructPath"].split("/")[0],
            logical.get(construct["constructPath"], construct["constructPath"]),
            violation["description"],
        )
        for report in reports  # cdk-nag's, and one of CDK's own warnings where it has some
        for violation in report["violations"]
        for construct in violation["violatingConstructs"]
    ]


def _logical_ids(folder: Path) -> dict[str, str]:
    """Logical id by construct path, as the cloud assembly's metadata has it."""
    found = {}
    for stack in _stacks(folder):
        for path, entries in json.loads((folder / f"{stack}.metadata.json").read_text()).items():
            for entry in entries:
                if entry["type"] == "aws:cdk:logicalId":
                    found[path.removeprefix("/")] = entry["data"]
    return found


def summary(made: Synthesis) -> str:
    """What was made, a line a stack: resources, size, the most frequent kinds."""
    lines = []
    width = max(len(str(made.path(stack))) for stack in made.templates)
    for stack, template in made.templates.items():
        size = len(json.dumps(template, separators=(",", ":")).encode())
        kinds: dict[str, int] = {}
        for item in template.get("Resources", {}).values():
            kind = re.sub(r"^AWS::", "", item["Type"])
            kinds[kind] = kinds.get(kind, 0) + 1
        most = sorted(kinds.items(), key=lambda pair: (-pair[1], pair[0]))[:3]
        shown = ", ".join(f"{count} {kind}" for kind, count in most)
        how = "inline" if size <= INLINE_LIMIT else "by a bucket"
        counted = f"{sum(kinds.values()):>4} resources  {size / 1000:>6.1f} kB, deployed {how}"
        lines.append(f"  {made.path(stack)!s:<{width}}  {counted:<50}  ({shown}, …)")
    return "\n".join(lines)
