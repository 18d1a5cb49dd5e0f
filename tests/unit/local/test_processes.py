"""Finding and ending a cluster's processes."""

import subprocess
import sys
import time
from pathlib import Path

from deploy.local import processes
from deploy.local.layout import MARK

# A marked process with a child that has no mark: like a sandbox, whose environment is empty.
_PARENT = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], env={})
print(child.pid, flush=True)
time.sleep(60)
"""


def test_marked_processes_are_found_with_their_children_and_ended(tmp_path: Path) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", _PARENT], env={MARK: str(tmp_path)}, stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    found = processes.of_cluster(tmp_path)
    assert {process.pid for process in found} == {parent.pid, child}
    assert {process.pid for process in processes.tree(parent.pid)} == {parent.pid, child}
    processes.end(found, grace=5)
    parent.wait()
    parent.stdout.close()
    assert processes.of_cluster(tmp_path) == []
    assert processes.read(child) is None


def test_a_process_that_ignores_sigterm_is_killed(tmp_path: Path) -> None:
    stubborn = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); time.sleep(60)"
    process = subprocess.Popen(
        [sys.executable, "-c", stubborn], env={MARK: str(tmp_path)}, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    process.stdout.readline()
    processes.end(processes.of_cluster(tmp_path), grace=0.2)
    assert process.wait() == -9
    process.stdout.close()


def test_another_folders_processes_are_not_found(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], env={MARK: f"{tmp_path}/other"})
    time.sleep(0.1)
    assert processes.of_cluster(tmp_path) == []
    process.kill()
    process.wait()


def test_a_zombie_has_ended() -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    deadline = time.monotonic() + 10
    while processes.read(process.pid) is not None:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.wait()
