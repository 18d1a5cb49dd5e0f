"""Writes the templates that the local cluster deploys: `python -m deploy.cdk.templates`.

They are committed, so that `make up` needs neither node nor a synth; tests/deploy compares them with a fresh one.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

from deploy.cdk import settings, synth

FOLDER: Final = Path(__file__).resolve().parents[1] / "templates"
STACKS: Final = ("Core", "Edge")


def path(stack: str) -> Path:
    """Where the local template of a stack is kept."""
    return FOLDER / f"{stack.lower()}.local.json"


def synthesise(env: settings.Environment) -> dict[str, dict[str, Any]]:
    """A fresh synth of every stack: template by stack."""
    with tempfile.TemporaryDirectory() as folder:
        return synth.synthesise(env, Path(folder)).templates


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
