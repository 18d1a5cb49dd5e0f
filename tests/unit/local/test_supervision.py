"""The supervisord of a cluster under our own configuration, with programs that cost nothing."""

import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.local import processes
from deploy.local.layout import Layout
from deploy.local.supervision import Program, Supervisor


def program(name: str, code: str = "import time; time.sleep(60)", **environment: str) -> Program:
    return Program(name, (sys.executable, "-c", code), environment, stop_seconds=5)


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[Supervisor]:
    layout = Layout(tmp_path)
    layout.make()
    supervisor = Supervisor(layout)
    try:
        yield supervisor
    finally:
        if supervisor.running():
            supervisor.shutdown()
        assert processes.of_cluster(tmp_path) == []


def pid(supervisor: Supervisor, name: str) -> int:
    return supervisor.processes()[name].pid


def test_what_is_asked_for_runs_and_what_dies_is_started_again(supervisor: Supervisor) -> None:
    assert not supervisor.running()
    supervisor.start([program("a-0"), program("b-0")])
    assert supervisor.ensure(["a-0"]) == ["a-0"]
    assert supervisor.ensure(["a-0"]) == []
    first = pid(supervisor, "a-0")
    assert first
    assert not pid(supervisor, "b-0")
    time.sleep(1.2)  # it counts as started after a second
    os.kill(first, signal.SIGKILL)
    deadline = time.monotonic() + 10
    while pid(supervisor, "a-0") in (0, first):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_a_changed_list_starts_and_stops_only_what_changed(supervisor: Supervisor) -> None:
    supervisor.start([program("a-0"), program("a-1")])
    supervisor.ensure(["a-0", "a-1"])
    kept = pid(supervisor, "a-0")
    supervisor.update([program("a-0"), program("a-2")])
    supervisor.ensure(["a-0", "a-2"])
    assert supervisor.processes().keys() == {"a-0", "a-2"}
    assert pid(supervisor, "a-0") == kept


def test_arguments_and_variables_arrive_whole_and_output_is_kept(supervisor: Supervisor, tmp_path: Path) -> None:
    code = 'import os, sys, time; print(os.environ["WHAT"], "100%", flush=True); time.sleep(60)'
    supervisor.start([program("a-0", code, WHAT="ipv4:127.0.0.1:1,127.0.0.1:2 50% a=b")])
    supervisor.ensure(["a-0"])
    log = tmp_path / "logs" / "a-0.log"
    deadline = time.monotonic() + 10
    while not log.exists() or not log.read_text():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert log.read_text() == "ipv4:127.0.0.1:1,127.0.0.1:2 50% a=b 100%\n"
