"""Processes under measurement: start, wait, CPU, stop."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
_START_SECONDS: Final = 30.0
_STOP_SECONDS: Final = 15.0
_TICKS: Final = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Server:
    """A running server, its port and where it logs."""

    process: subprocess.Popen[bytes]
    port: int
    log: Path

    def cpu(self) -> float:
        """Seconds of CPU, user and system, of the process and all its children, ended ones too."""
        return sum(_cpu(pid) for pid in _family(self.process.pid))


def cpu(servers: list[Server]) -> float:
    """Seconds of CPU of all of them."""
    return sum(server.cpu() for server in servers)


def free_port() -> int:
    """A port of 127.0.0.1 that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def server(name: str, module: list[str], port: int, environment: Mapping[str, str], logs: Path) -> Iterator[Server]:
    """Runs `python -m module…` until the block ends; enters it once the port takes connections."""
    log = logs / f"{name}.log"
    inherited = {key: os.environ[key] for key in ("PATH", "HOME", "LANG") if key in os.environ}
    path = {"PYTHONPATH": f"{ROOT}:{ROOT / 'protos'}"}
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", *module], cwd=ROOT, env={**inherited, **path, **environment}, stdout=out, stderr=out
        )
    try:
        _wait(name, process, port, log)
        yield Server(process, port, log)
    finally:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_STOP_SECONDS)
        process.kill()
        process.wait()


def _wait(name: str, process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while True:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"{name} does not serve on port {port}; the end of {log}:\n{log.read_text()[-3000:]}")
        time.sleep(0.05)


def _family(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children")
    try:
        direct = [int(child) for child in children.read_text().split()]
    except OSError:
        return []
    return [pid, *(member for child in direct for member in _family(child))]


def _cpu(pid: int) -> float:
    try:
        # The name, in parentheses, may hold spaces: what follows the last one has fixed places (proc(5)).
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return sum(int(field) for field in fields[11:15]) / _TICKS
