"""The synthesised stacks of an environment, as a roll-out needs them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Stack:
    """One stack. `unit` is its class (Core), `name` CloudFormation's (darkroom-dev-core), `body` the compact template.

    `tags` and `protected` are what the CDK's command line would set; a template cannot hold them.
    """

    unit: str
    name: str
    body: str
    parameters: frozenset[str]
    resources: int
    depends_on: tuple[str, ...]
    tags: Mapping[str, str]
    protected: bool

    @property
    def size(self) -> int:
        """Bytes of the template."""
        return len(self.body.encode())


def read(folder: Path) -> list[Stack]:
    """The stacks of a cloud assembly (what a synth writes)."""
    artifacts = json.loads((folder / "manifest.json").read_text())["artifacts"]
    units = [unit for unit, item in artifacts.items() if item["type"] == "aws:cloudformation:stack"]
    return [_stack(folder, unit, artifacts[unit], units) for unit in units]


def stack(unit: str, name: str, template: Mapping[str, Any]) -> Stack:
    """A stack of a template alone."""
    return Stack(
        unit=unit,
        name=name,
        body=json.dumps(template, separators=(",", ":"), sort_keys=True),
        # `BootstrapVersion` and the like have a default; ours that have none are given.
        parameters=frozenset(template.get("Parameters", {})),
        resources=len(template["Resources"]),
        depends_on=(),
        tags={},
        protected=False,
    )


def _stack(folder: Path, unit: str, artifact: Mapping[str, Any], units: list[str]) -> Stack:
    properties = artifact["properties"]
    plain = stack(
        unit,
        properties.get("stackName", unit),
        json.loads((folder / properties["templateFile"]).read_text()),
    )
    return Stack(
        unit=plain.unit,
        name=plain.name,
        body=plain.body,
        parameters=plain.parameters,
        resources=plain.resources,
        depends_on=tuple(other for other in artifact.get("dependencies", ()) if other in units),
        tags=properties.get("tags", {}),
        protected=properties.get("terminationProtection", False),
    )
