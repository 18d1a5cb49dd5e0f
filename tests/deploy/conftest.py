"""One synth for all tests of the stacks: it takes seconds and half a gigabyte."""

from __future__ import annotations

from typing import Any

import pytest

from deploy.cdk import settings, templates
from tests.support.environments import OWNERS


@pytest.fixture(scope="session")
def local() -> dict[str, dict[str, Any]]:
    """The local environment's templates, made anew, by stack."""
    return templates.synthesise(settings.load("local", {}))


@pytest.fixture(scope="session")
def prod() -> dict[str, dict[str, Any]]:
    """Production's templates, by stack."""
    return templates.synthesise(settings.load("prod", OWNERS))


@pytest.fixture(scope="session")
def with_kms() -> dict[str, dict[str, Any]]:
    """Production's templates with a key of its own, by stack."""
    return templates.synthesise(settings.load("prod", {**OWNERS, "DARKROOM_DEPLOY_ENCRYPTION": "kms"}))
