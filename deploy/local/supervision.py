"""supervisord: its configuration for a cluster, and the calls to it over its socket.

Each process is a program of its own. supervisord's `numprocs` would make them one group, and a changed group is
stopped as a whole: scaling from two to three would restart the two.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from xmlrpc.client import Fault, ServerProxy

from supervisor.rpcinterface import Faults
from supervisor.xmlrpc import SupervisorTransport

from deploy.local import processes
from deploy.local.layout import MARK, REPOSITORY, Layout

_INHERITED: Final = ("HOME", "LANG", "LC_ALL", "PATH", "TZ", "SSL_CERT_FILE")
_ENDED: Final = ("EXITED", "FATAL", "STOPPED", "UNKNOWN")


@dataclass(frozen=True)
class Program:
    """One process to run. `stop_seconds`: between SIGTERM and SIGKILL."""

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    stop_seconds: int
    autostart: bool = False


@dataclass(frozen=True)
class Info:
    """What supervisord says of a process."""

    name: str
    state: str
    pid: int
    detail: str


class Supervisor:
    """The supervisord of one cluster."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._config = layout.run / "supervisord.conf"

    def running(self) -> bool:
        """Whether it answers."""
        try:
            return bool(self._call("getState")["statename"] == "RUNNING")
        except (OSError, Fault):
            return False

    def start(self, programs: list[Program]) -> None:
        """Starts it in the background, with those programs that start by themselves. Raises RuntimeError."""
        self._write(programs)
        self._layout.socket.unlink(missing_ok=True)
        variables = {name: os.environ[name] for name in _INHERITED if name in os.environ}
        variables |= {MARK: str(self._layout.folder), "PYTHONUNBUFFERED": "1"}
        command = [sys.executable, "-m", "supervisor.supervisord", "-c", str(self._config)]
        done = subprocess.run(command, env=variables, cwd=REPOSITORY, capture_output=True, text=True, check=False)
        deadline = time.monotonic() + 10
        while not self.running():
            if done.returncode or time.monotonic() > deadline:
                raise RuntimeError(f"supervisord does not start: {done.stdout}{done.stderr}")
            time.sleep(0.05)

    def update(self, programs: list[Program]) -> None:
        """Takes over a changed list: new programs are known (not started), others are stopped and forgotten."""
        self._write(programs)
        added, changed, removed = self._call("reloadConfig")[0]
        for name in (*removed, *changed):
            self.stop([name])
            self._call("removeProcessGroup", name)
        for name in (*changed, *added):
            self._call("addProcessGroup", name)

    def processes(self) -> dict[str, Info]:
        """Every program by its name."""
        return {
            item["name"]: Info(item["name"], item["statename"], item["pid"], item["description"])
            for item in self._call("getAllProcessInfo")
        }

    def ensure(self, names: list[str]) -> list[str]:
        """Starts those that are not running or about to; returns their names."""
        known = self.processes()
        idle = [name for name in names if known[name].state in (*_ENDED, "BACKOFF")]
        for name in idle:
            if known[name].state == "BACKOFF":  # it waits longer after each failed start: try now
                self.stop([name])
            try:
                self._call("startProcess", name, False)
            except Fault as fault:
                if fault.faultCode != Faults.ALREADY_STARTED:
                    raise
        return idle

    def stop(self, names: list[str]) -> None:
        """Stops processes side by side and returns when all have ended."""
        for name in names:
            try:
                self._call("stopProcess", name, False)
            except Fault as fault:
                if fault.faultCode not in (Faults.NOT_RUNNING, Faults.BAD_NAME):
                    raise
        while any(info.state not in _ENDED for name, info in self.processes().items() if name in names):
            time.sleep(0.05)

    def shutdown(self) -> None:
        """Ends supervisord and what it still runs; returns when it is gone."""
        own = processes.read(self._call("getPID"))
        self._call("shutdown")
        while own is not None and processes.still_there([own]):
            time.sleep(0.05)

    def _call(self, method: str, *arguments: object) -> Any:  # XML-RPC: each method answers in a type of its own
        transport = SupervisorTransport(None, None, serverurl=f"unix://{self._layout.socket}")
        try:
            return getattr(ServerProxy("http://127.0.0.1", transport=transport).supervisor, method)(*arguments)
        finally:
            transport.close()

    def _write(self, programs: list[Program]) -> None:
        logs = self._layout.logs
        text = _CONFIG.format(
            socket=_plain(self._layout.socket),
            log=_plain(logs / "supervisord.log"),
            pidfile=_plain(self._layout.run / "supervisord.pid"),
            childlogs=_plain(logs),
        )
        text += "".join(_program(program, logs) for program in programs)
        new = self._config.with_suffix(".new")
        new.touch(mode=0o600)
        new.write_text(text)
        new.replace(self._config)


_CONFIG: Final = """
[unix_http_server]
file={socket}
chmod=0700

[supervisord]
logfile={log}
logfile_maxbytes=5MB
logfile_backups=1
pidfile={pidfile}
childlogdir={childlogs}

[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface
"""


def _program(program: Program, logs: Path) -> str:
    environment = ",".join(f'{name}="{_quoted(value)}"' for name, value in program.environment.items())
    return f"""
[program:{program.name}]
command={" ".join(f'"{_quoted(part)}"' for part in program.command)}
directory={_plain(REPOSITORY)}
environment={environment}
autostart={"true" if program.autostart else "false"}
autorestart=true
startsecs=1
startretries=1000000
stopsignal=TERM
stopwaitsecs={program.stop_seconds}
killasgroup=true
redirect_stderr=true
stdout_logfile={_plain(logs / (program.name + ".log"))}
stdout_logfile_maxbytes=10MB
stdout_logfile_backups=3
"""


def _plain(path: Path) -> str:
    return str(path).replace("%", "%%")


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
