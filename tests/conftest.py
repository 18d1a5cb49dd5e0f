"""Fixtures that every kind of test may use; the servers behind them start with the first test that asks."""

from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

pytest_plugins = ["tests.support.cluster", "tests.support.localstack", "tests.support.postgres"]

_SHARE_SERVERS = {"emulator", "integration"}


class _Folders(LoadScopeScheduling):  # type: ignore[misc]  # it has no types
    """What each process of `make test` takes next: the tests that share servers, which start once; those that share a
    cluster; or a folder of others. The first wait more than they compute, and the others need not wait with them.
    """

    def _split_scope(self, nodeid: str) -> str:
        folder = nodeid.partition("::")[0].rpartition("/")[0]
        kind = folder.removeprefix("tests/").partition("/")[0]
        return "servers" if kind in _SHARE_SERVERS else folder if kind == "unit" else kind


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling:
    return _Folders(config, log)
