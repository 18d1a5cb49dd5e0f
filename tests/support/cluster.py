"""A whole cluster of the tests' own, beside any `make up`: started with the first test that asks, on free ports."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.local import processes
from deploy.local.cluster import Cluster
from deploy.local.layout import Layout

# The shortest ticket that presign_svc gives out here, so that a test can see one expire.
# Presets are looked at every second: a test changes them.
OVERRIDES = {
    "PRESIGN_SVC_SHORTEST_TICKET_SECONDS": "1",
    "GATEWAY_PRESETS_SECONDS": "1",
    "IMAGE_SVC_PRESETS_SECONDS": "1",
}


class RunningCluster:
    """A cluster that is up. `env` is what its cluster.env says."""

    def __init__(self, folder: Path) -> None:
        self.cluster = Cluster(Layout(folder, prefer_defaults=False), overrides=OVERRIDES)
        self.env: dict[str, str] = {}

    @property
    def folder(self) -> Path:
        """Where it keeps logs, data and cluster.env."""
        return self.cluster.layout.folder

    def up(self) -> None:
        """Starts what is not running."""
        self.env = self.cluster.up().variables

    def pids(self) -> dict[str, int]:
        """The running processes' ids, by their names (`gateway-0`, `postgres`, ...)."""
        return {name: info.pid for name, info in self.cluster.supervisor.processes().items() if info.pid}

    def kill(self, service: str) -> int:
        """SIGKILL to every process of a service; returns how many there were."""
        found = [pid for name, pid in self.pids().items() if name.rsplit("-", 1)[0] == service]
        for pid in found:
            os.kill(pid, signal.SIGKILL)
        return len(found)

    def everything(self) -> list[processes.Process]:
        """Every process of the cluster, as the kernel knows them."""
        return processes.of_cluster(self.folder)


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningCluster]:
    """One cluster for the whole run; tests leave it up."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("DATABASE_URL", raising=False)  # its own database
        running = RunningCluster(tmp_path_factory.mktemp("cluster"))
        try:
            running.up()
            yield running
        finally:
            running.cluster.down()
            assert not running.everything(), "the cluster left processes behind"
