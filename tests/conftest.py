"""Fixtures that every kind of test may use; the servers behind them start with the first test that asks."""

from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

pytest_plugins = ["tests.support.cluster", "tests.support.localstack", "tests.support.postgres"]

_ASK_FOR_SERVERS = {"e2e", "emulator", "integration"}


class _Folders(LoadScopeScheduling):  # type: ignore[misc]  # it has no types
    """What each process of `make test` takes next: all that ask for servers, which start once, or a folder of others.

    The former wait more than they compute, and the latter need not wait with them.
    """

    def _split_scope(self, nodeid: str) -> str:
        kind, folder = nodeid.split("/")[1:3]
        return "servers" if kind in _ASK_FOR_SERVERS else f"{kind}/{folder}" if kind == "unit" else kind


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling:
    return _Folders(config, log)
