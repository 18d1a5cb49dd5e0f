"""Settings that would make tickets useless stop the service at its start."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from presign_svc.settings import Settings

NEEDED: dict[str, Any] = {"incoming_bucket": "darkroom-incoming", "media_bucket": "darkroom-media"}


def test_the_buckets_are_all_that_must_be_given() -> None:
    settings = Settings(**NEEDED)
    assert settings.ticket_seconds == 900
    assert settings.credentials_lead_seconds > settings.longest_ticket_seconds


def test_credentials_are_due_before_a_download_could_outlive_them() -> None:
    settings = Settings(**NEEDED, download_window_seconds=7200)
    assert settings.credentials_lead_seconds > 2 * 7200


@pytest.mark.parametrize(
    "wrong",
    [
        {"incoming_bucket": "With.Dots"},
        {"s3_public_endpoint_url": "s3.example.com"},
        {"s3_public_endpoint_url": "https://s3.example.com/path"},
        {"s3_public_endpoint_url": "https://user@s3.example.com"},
        {"s3_public_endpoint_url": "https://s3.example.com?x=y"},
        {"s3_public_endpoint_url": "https://s3.example.com:port"},
        {"ticket_seconds": 30},
        {"ticket_seconds": 4000},
        {"download_window_seconds": 30},
        {"largest_put_bytes": 5 * 1024**3 + 1},
    ],
    ids=str,
)
def test_what_cannot_work_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Settings(**{**NEEDED, **wrong})
