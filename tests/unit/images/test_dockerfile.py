"""The Dockerfile, as text: linted, and in agreement with the rest of the repository."""

from __future__ import annotations

import re
import ssl
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from deploy.images import catalogue

TEXT = (catalogue.ROOT / catalogue.DOCKERFILE).read_text()
AUTHORITIES = catalogue.ROOT / "deploy" / "images" / "rds-ca.pem"


def test_hadolint_has_nothing_to_say() -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    done = subprocess.run(
        [hadolint, "--failure-threshold", "style", catalogue.DOCKERFILE],
        cwd=catalogue.ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "")


def stage(service: str) -> str:
    found = re.search(rf"(?ms)^FROM base AS {service}\n(.*?)(?=^FROM |\Z)", TEXT)
    assert found is not None
    return found[1]


def test_what_runs_starts_from_nothing_as_nobody_and_ends_by_sigterm() -> None:
    base = re.search(r"(?ms)^FROM scratch AS base\n(.*?)(?=^FROM )", TEXT)
    assert base is not None
    assert "USER 10001:10001" in base[1]
    assert "STOPSIGNAL SIGTERM" in base[1]


@pytest.mark.parametrize("service", catalogue.SERVICES)
def test_each_service_has_a_target_with_labels_a_health_command_and_its_own_entry(service: str) -> None:
    text = stage(service)
    assert f'LABEL org.opencontainers.image.title="darkroom/{service}"' in text
    assert f'ENTRYPOINT ["/usr/bin/python3", "-m", "{service}"]' in text
    probe = "http://127.0.0.1:8080/healthz" if service == "gateway" else "grpc://127.0.0.1:9090"
    assert f'CMD ["/usr/bin/python3", "-m", "runtime.probe", "{probe}"]' in text
    assert "RUN" not in text  # there is nothing to run it with


@pytest.mark.parametrize("service", catalogue.SERVICES)
def test_each_gets_its_own_code_and_no_other_services(service: str) -> None:
    found = re.search(rf"(?ms)^FROM {service}-site AS {service}-root\n(.*?)(?=^FROM |^# ----)", TEXT)
    assert found is not None
    copied = set(re.findall(r"COPY (\w+)/ /app/\1/", found[1]))
    assert copied == {"runtime", service}


def test_every_stage_installs_from_the_lock_with_its_hashes() -> None:
    installs = re.findall(r"uv pip install ((?:.*\\\n)*.*)", TEXT)
    assert len(installs) == len(catalogue.SERVICES)
    for command in installs:
        assert "--verify-hashes" in command
        assert "--constraints requirements.lock" in command


def test_what_the_revision_is_taken_from_is_what_the_build_may_see() -> None:
    allowed = {line[1:] for line in (catalogue.ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    inputs = set(catalogue._INPUTS) - {".dockerignore"}
    assert {path if path in allowed else path.rsplit("/", 1)[0] for path in inputs} == allowed
    for path in inputs:
        assert (catalogue.ROOT / path).exists()


def test_the_authorities_of_the_database_are_roots_that_still_hold() -> None:
    context = ssl.create_default_context(cafile=str(AUTHORITIES))
    found: list[dict[str, Any]] = context.get_ca_certs()
    regions = {names["commonName"] for names in (dict(part[0] for part in item["subject"]) for item in found)}
    assert {f"Amazon RDS ap-northeast-2 Root CA {kind} G1" for kind in ("RSA2048", "RSA4096", "ECC384")} <= regions
    for item in found:
        assert item["subject"] == item["issuer"]
        assert ssl.cert_time_to_seconds(item["notAfter"]) > time.time() + 365 * 86_400
