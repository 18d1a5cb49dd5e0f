"""The gates: every stack of every environment, judged by cfn-lint, cdk-nag AwsSolutions and checkov."""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from deploy.cdk import settings
from deploy.cdk.synth import Synthesis
from deploy.gates import tools
from deploy.gates.findings import Finding, Place, acknowledgements, bare, verdict
from deploy.gates.gate import VARIANTS, Judged, judge

ROOT = Path(__file__).parents[2]
REASON = "Nobody but the owner of this machine reaches it."
LOGGING = Place("dev", "Core", "Bucket", "checkov", "CKV_AWS_18")


@pytest.fixture(scope="session")
def judged(synthesised: Callable[[str], Synthesis], tmp_path_factory: pytest.TempPathFactory) -> Judged:
    subprocess.run([ROOT / "deploy" / "setup.sh", "checkov"], check=True)
    return judge({variant: synthesised(variant) for variant in VARIANTS}, tmp_path_factory.mktemp("gates") / "bare")


def test_every_finding_is_fixed_or_acknowledged_with_a_reason_and_every_acknowledgement_is_needed(
    judged: Judged,
) -> None:
    assert not judged.wrong, "\n".join(["", *judged.wrong])


def test_the_gates_look_at_every_stack_of_every_stage(judged: Judged, synthesised: Callable[[str], Synthesis]) -> None:
    assert {stage for stage, _ in VARIANTS.values()} == set(settings.STAGES)
    assert judged.templates == sum(len(synthesised(variant).templates) for variant in VARIANTS)
    # All three found something, so all three looked; everything that they found is acknowledged.
    assert judged.found == judged.acknowledged > 0


@pytest.fixture
def careless(tmp_path: Path) -> Path:
    """A folder of one template that each of the two command-line tools has something to say about."""
    template = {
        "Resources": {
            "Bucket": {"Type": "AWS::S3::Bucket", "Properties": {}},
            "Queue": {"Type": "AWS::SQS::Queue", "Properties": {"DelaySeconds": "many"}},
        }
    }
    path = tmp_path / "dev" / "Core.template.json"
    path.parent.mkdir()
    path.write_text(json.dumps(template))
    return tmp_path


def test_checkov_names_the_resource_that_it_finds_wrong(judged: Judged, careless: Path) -> None:
    found = list(tools.checkov_findings(tools.start_checkov(careless), careless))
    assert LOGGING in [finding.place for finding in found]


def test_cfn_lint_names_the_resource_that_it_finds_wrong(careless: Path) -> None:
    found = list(tools.cfn_lint_findings(tools.start_cfn_lint(careless, ["ap-northeast-2"]), careless))
    assert [finding.place for finding in found] == [Place("dev", "Core", "Queue", "cfn-lint", "E3012")]


def test_a_template_that_checkov_passes_over_is_no_clean_template(careless: Path) -> None:
    path = careless / "dev" / "Core.template.json"
    template = json.loads(path.read_text())
    process = tools.start_checkov(careless)
    process.wait()
    template["Resources"]["Another"] = template["Resources"]["Bucket"]
    path.write_text(json.dumps(template))  # as if it had not read this one
    with pytest.raises(tools.ToolError, match="2 of 3 resources"):
        list(tools.checkov_findings(process, careless))


def test_a_finding_without_an_acknowledgement_fails() -> None:
    (line,) = verdict([Finding(LOGGING, "no logs")], [])
    assert line == "dev/Core: checkov CKV_AWS_18 on Bucket: no logs"


def test_an_acknowledgement_without_a_finding_fails() -> None:
    (line,) = verdict([], [(LOGGING, REASON)])
    assert "no such finding any more" in line


def test_a_reason_that_is_no_sentence_fails() -> None:
    assert verdict([Finding(LOGGING, "no logs")], [(LOGGING, REASON)]) == []
    for poor in ("", "not needed", "Not needed.", "accepted risk accepted risk accepted risk"):
        (line,) = verdict([Finding(LOGGING, "no logs")], [(LOGGING, poor)])
        assert "the reason is no sentence" in line


def test_the_tools_see_no_acknowledgement_and_the_gate_sees_all(synthesised: Callable[[str], Synthesis]) -> None:
    template: dict[str, Any] = synthesised("prod").templates["Core"]
    before = copy.deepcopy(template)
    given = list(acknowledgements("prod", "Core", template))
    assert {place.tool for place, _ in given} >= {"checkov", "cdk-nag"}
    assert not list(acknowledgements("prod", "Core", bare(template)))
    assert template == before


@pytest.mark.parametrize(
    ("rules", "reason", "said"),
    [
        (["CKV_AWS_18"], "accepted", "a reason is a sentence"),
        (["S1"], REASON, "no id of cdk-nag, checkov or cfn-lint"),
    ],
)
def test_a_poor_acknowledgement_stops_the_synth(
    synthesised: Callable[[str], Synthesis], rules: list[str], reason: str, said: str
) -> None:
    synthesised("local")  # node is up
    from aws_cdk import App, Stack, aws_s3

    from deploy.cdk.acknowledge import acknowledge

    bucket = aws_s3.CfnBucket(Stack(App(), "Any"), "Bucket")
    with pytest.raises(ValueError, match=said):
        acknowledge(bucket, *rules, reason=reason)


def synth(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """`python -m deploy.cdk`, without credentials, AWS's own settings, or the CDK command line."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "DARKROOM_"))}
    return subprocess.run(
        [sys.executable, "-m", "deploy.cdk", *arguments],
        cwd=ROOT,
        env=kept | variables,
        capture_output=True,
        text=True,
        check=False,
    )


def test_make_synth_says_what_it_wrote(tmp_path: Path, dev: dict[str, Any]) -> None:
    done = synth(
        "dev",
        str(tmp_path / "out"),
        DARKROOM_DEPLOY_ACCOUNT="123456789012",
        DARKROOM_DEPLOY_BROWSER_ORIGINS="https://photos.example.com",
    )
    assert done.returncode == 0, done.stderr
    for stack, template in dev.items():
        (line,) = [line for line in done.stdout.splitlines() if f"{stack}.template.json" in line]
        assert f" {len(template['Resources'])} resources" in line
        assert json.loads((tmp_path / "out" / f"{stack}.template.json").read_text()) == template


@pytest.mark.parametrize(
    ("stage", "named"), [("nowhere", "allowed: local, dev, staging, prod"), ("prod", "account: it is not set; allowed")]
)
def test_make_synth_stops_at_a_bad_setting_with_what_is_allowed(tmp_path: Path, stage: str, named: str) -> None:
    done = synth(stage, str(tmp_path / "out"))
    assert done.returncode == 1
    assert named in done.stderr
    assert not (tmp_path / "out").exists()
