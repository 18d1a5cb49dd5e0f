"""A missing or wrong setting of services, load balancer, roll-out or capacity stops the synth and says what to do."""

from __future__ import annotations

import pytest

from deploy.cdk import settings
from tests.support.environments import OWNERS

PLAIN = {name: value for name, value in OWNERS.items() if "LOAD_BALANCER" not in name}


@pytest.mark.parametrize(
    ("stage", "variable", "value", "reason"),
    [
        ("prod", "LOAD_BALANCER__CERTIFICATE_ARN", "arn:aws:iam::1:server-certificate/x", "pattern"),
        ("prod", "LOAD_BALANCER__DOMAIN", "", "set together"),
        ("prod", "LOAD_BALANCER__DELETION_PROTECTION", "false", "prod protects"),
        ("staging", "LOAD_BALANCER__ACCESS_LOG_DAYS", "0", "keeps its access log"),
        ("prod", "ROLLOUT__BAKE_MINUTES", "0", "greater than or equal to 1"),
        ("prod", "ROLLOUT__IMAGE_SCAN", "none", "'basic' or 'enhanced'"),
        ("prod", "ROLLOUT__LOG_DAYS", "8", "log_days"),
        ("staging", "ROLLOUT__BAKE_MINUTES", "2", "until an alarm can speak"),
        ("prod", "ROLLOUT__BAKE_MINUTES", "90", "less than or equal to 60"),
        ("prod", "CAPACITY__MONTH_END", "false", "ahead of month-end"),
        ("prod", "CAPACITY__PLAN_AS_OF", "2026-12-01T09:00", "needs an offset"),
        ("prod", "GATEWAY__CPU", "300", "no task of 300 CPU units"),
        ("prod", "GATEWAY__CPU", "256", "one process"),
        ("prod", "PRESIGN_SVC__MEMORY", "700", "no 700 MiB for 512 CPU units"),
        ("prod", "METADATA_SVC__MIN_TASKS", "9", "below min_tasks, 9"),
        ("prod", "METADATA_SVC__MIN_TASKS", "1", "outlives the death of a task"),
        ("prod", "IMAGE_SVC__CPU", "512", "whole vCPUs"),
        ("prod", "TASKS__RECONCILE_HOUR", "24", "less than or equal to 23"),
    ],
)
def test_a_wrong_value_stops_the_synth_with_its_name_what_is_allowed_and_an_example(
    stage: str, variable: str, value: str, reason: str
) -> None:
    with pytest.raises(settings.EnvironmentError) as error:
        settings.load(stage, {**OWNERS, f"DARKROOM_DEPLOY_{variable}": value})
    told = str(error.value)
    assert reason in told
    assert "allowed: " in told
    assert "e.g. DARKROOM_DEPLOY_" in told


def test_without_a_share_for_either_kind_of_capacity_there_is_none() -> None:
    none = {"DARKROOM_DEPLOY_IMAGE_SVC__SPOT_WEIGHT": "0", "DARKROOM_DEPLOY_IMAGE_SVC__ON_DEMAND_WEIGHT": "0"}
    with pytest.raises(settings.EnvironmentError, match=r"image_svc\.spot_weight"):
        settings.load("prod", {**OWNERS, **none})


@pytest.mark.parametrize("stage", ["staging", "prod"])
def test_nothing_falls_back_to_plain_http(stage: str) -> None:
    with pytest.raises(settings.EnvironmentError, match=r"load_balancer\.certificate_arn: .*speaks TLS"):
        settings.load(stage, PLAIN)


def test_dev_may_do_without_a_certificate() -> None:
    assert settings.load("dev", PLAIN).load_balancer.certificate_arn == ""
