"""One synth of each environment for all tests of the stacks: the first takes seconds and half a gigabyte."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import pytest

from deploy.cdk import node
from deploy.cdk.synth import Synthesis
from deploy.gates.gate import synthesise_variant

# Test modules import constructs, which starts node: it shall be the wheel's, not the machine's.
node.on_path()

Templates = dict[str, dict[str, Any]]


@pytest.fixture(scope="session")
def synthesised(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Synthesis]:
    """The synth of a variant (deploy.gates.gate.VARIANTS), made when it is first asked for."""
    folder = tmp_path_factory.mktemp("synth")

    @cache
    def synthesis(variant: str) -> Synthesis:
        return synthesise_variant(variant, folder)

    return synthesis


@pytest.fixture(scope="session")
def local(synthesised: Callable[[str], Synthesis]) -> Templates:
    """The local environment's templates, by stack."""
    return synthesised("local").templates


@pytest.fixture(scope="session")
def dev(synthesised: Callable[[str], Synthesis]) -> Templates:
    """The templates of dev as its file has it, by stack."""
    return synthesised("dev").templates


@pytest.fixture(scope="session")
def staging(synthesised: Callable[[str], Synthesis]) -> Templates:
    """The templates of staging as its file has it, by stack."""
    return synthesised("staging").templates


@pytest.fixture(scope="session")
def prod(synthesised: Callable[[str], Synthesis]) -> Templates:
    """Production's templates, by stack."""
    return synthesised("prod").templates


@pytest.fixture(scope="session")
def with_kms(synthesised: Callable[[str], Synthesis]) -> Templates:
    """Production's templates with a key of its own, by stack."""
    return synthesised("prod-kms").templates


@pytest.fixture(scope="session")
def closed(synthesised: Callable[[str], Synthesis]) -> Templates:
    """The templates of dev without a way to the internet and with a name of its own, by stack."""
    return synthesised("dev-closed").templates
