"""What belongs to whoever deploys, by example: for looking at the stacks, and for judging them, without an account.

Nothing that is deployed uses it: a synth of one stage stops where a setting is missing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from deploy.cdk.settings import VARIABLE_PREFIX

OWNERS: Final[Mapping[str, str]] = {
    f"{VARIABLE_PREFIX}ACCOUNT": "123456789012",
    f"{VARIABLE_PREFIX}BROWSER_ORIGINS": "https://photos.example.com",
    f"{VARIABLE_PREFIX}LOAD_BALANCER__CERTIFICATE_ARN": (
        "arn:aws:acm:ap-northeast-2:123456789012:certificate/0b1c2d3e-0000-4000-8000-000000000000"
    ),
    f"{VARIABLE_PREFIX}LOAD_BALANCER__DOMAIN": "gateway.internal.example.com",
}


def variables(stage: str) -> dict[str, str]:
    """The variables that a stage's file leaves to its owner; none for `local`, no certificate for `dev`."""
    if stage == "local":
        return {}
    if stage == "dev":  # as its file has it: plain HTTP between API Gateway's link and the gateway
        return {name: "" if "LOAD_BALANCER" in name else value for name, value in OWNERS.items()}
    return dict(OWNERS)
