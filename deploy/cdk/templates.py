"""Writes the templates that the local cluster deploys: `python -m deploy.cdk.templates`.

They are committed, so that `make up` needs neither node nor a synth; tests/deploy compares them with a fresh one.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, Final

from deploy.cdk import node, settings

FOLDER: Final = Path(__file__).resolve().parents[1] / "templates"
STACKS: Final = ("Core", "Edge")


def path(stack: str) -> Path:
    """Where the local template of a stack is kept."""
    return FOLDER / f"{stack.lower()}.local.json"


def synthesise(env: settings.Environment) -> dict[str, dict[str, Any]]:
    """A fresh synth: template by stack (10 to 20 s, half a gigabyte)."""
    node.on_path()
    from deploy.cdk.app import build  # takes seconds to import, and starts node
    from deploy.cdk.stacks.base import stack_name

    assembly = build(env).synth()
    return {name: assembly.get_stack_by_name(stack_name(env, name)).template for name in STACKS}


def render(template: dict[str, Any]) -> str:
    """The text of a template: the same for the same template."""
    return json.dumps(template, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def main() -> None:
    """Writes both templates."""
    try:
        env = settings.load("local", {})
    except settings.EnvironmentError as error:
        sys.exit(f"templates: {error}")
    FOLDER.mkdir(exist_ok=True)
    for name, template in synthesise(env).items():
        path(name).write_text(render(template))
        print(f"wrote {path(name)}")


if __name__ == "__main__":
    main()
