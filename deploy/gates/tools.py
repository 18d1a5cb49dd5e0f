"""Runs checkov and cfn-lint over a folder of templates: `<folder>/<variant>/<stack>.template.json`.

Neither asks the network for anything. checkov has an environment of its own (`.venv-checkov`): its libraries are too
many, and pinned too old, to live with the services'.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from deploy.gates.findings import Finding, Place

ROOT: Final = Path(__file__).resolve().parents[2]
CHECKOV: Final = ROOT / ".venv-checkov" / "bin" / "checkov"
CFN_LINT: Final = Path(sys.executable).with_name("cfn-lint")
_SUFFIX: Final = ".template.json"
# Exit statuses of cfn-lint: a bit each for errors, warnings and informational matches.
_CFN_LINT_STATUSES: Final = range(16)


class ToolError(Exception):
    """A tool could not do its work; the text is what it said."""


def start_checkov(folder: Path) -> subprocess.Popen[str]:
    """Starts checkov over the folder, without looking anything up outside (`--skip-download`)."""
    options = ["--framework", "cloudformation", "--skip-download", "--compact", "--quiet", "--output", "json"]
    quiet = {name: value for name, value in os.environ.items() if name not in {"BC_API_KEY", "PRISMA_API_URL"}}
    return _start([CHECKOV, *options, "--directory", folder], quiet | {"LOG_LEVEL": "ERROR"})


def start_cfn_lint(folder: Path, regions: Sequence[str]) -> subprocess.Popen[str]:
    """Starts cfn-lint over the folder."""
    return _start([CFN_LINT, "--format", "json", "--regions", *regions, "--", *_templates(folder)], dict(os.environ))


def checkov_findings(process: subprocess.Popen[str], folder: Path) -> Iterator[Finding]:
    """What checkov found. Raises `ToolError` where it did not read every template."""
    out, errors = process.communicate()
    try:
        answer = json.loads(out)
    except ValueError:
        raise ToolError(f"checkov: {out}{errors}") from None
    reports: list[dict[str, Any]] = answer if isinstance(answer, list) else [answer]
    # What it cannot parse it leaves out without a word; where it reads nothing at all, there is no summary.
    read = sum(report.get("summary", report)["resource_count"] for report in reports)
    wanted = sum(len(json.loads(path.read_text())["Resources"]) for path in _templates(folder))
    if read != wanted:
        raise ToolError(f"checkov read {read} of {wanted} resources in {folder}")
    for report in reports:
        for failed in report.get("results", {}).get("failed_checks", ()):
            variant, stack = _origin(folder, Path(failed["file_abs_path"]))
            resource = failed["resource"].rpartition(".")[2]
            yield Finding(Place(variant, stack, resource, "checkov", failed["check_id"]), failed["check_name"])


def cfn_lint_findings(process: subprocess.Popen[str], folder: Path) -> Iterator[Finding]:
    """What cfn-lint found. Raises `ToolError` where it failed itself."""
    out, errors = process.communicate()
    if process.returncode not in _CFN_LINT_STATUSES:
        raise ToolError(f"cfn-lint: {out}{errors}")
    for match in json.loads(out or "[]"):
        variant, stack = _origin(folder, Path(match["Filename"]))
        path = match["Location"]["Path"] or []
        resource = path[1] if len(path) > 1 and path[0] == "Resources" else ""
        where = "/".join(map(str, path[2:]))
        yield Finding(Place(variant, stack, resource, "cfn-lint", match["Rule"]["Id"]), f"{match['Message']} ({where})")


def _templates(folder: Path) -> list[Path]:
    return sorted(folder.glob(f"*/*{_SUFFIX}"))


def _origin(folder: Path, path: Path) -> tuple[str, str]:
    variant, name = path.resolve().relative_to(folder.resolve()).parts
    return variant, name.removesuffix(_SUFFIX)


def _start(command: Sequence[str | Path], environment: dict[str, str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [str(part) for part in command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )
