"""Where a cluster keeps things, which ports it has, and what it remembers between two commands.

A cluster is a folder: `.local/` for `make up`, a temporary one for tests. Everything else follows from it, so that
several run side by side.
"""

from __future__ import annotations

import hashlib
import os
import random
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import msgspec

REPOSITORY: Final = Path(__file__).resolve().parents[2]
DEFAULT: Final = REPOSITORY / ".local"

# In the order in which they start; they stop the other way round.
SERVICES: Final = ("metadata_svc", "presign_svc", "image_svc", "gateway")
GRPC_SERVICES: Final = ("metadata_svc", "presign_svc", "image_svc")
BLOCK: Final = 4  # ports kept for each gRPC service: clients list them all, so scaling needs no restart of clients

# Names of the environment variable by which a process is known as its cluster's, whoever its parent is by now.
MARK: Final = "DARKROOM_CLUSTER"

_DEFAULT_PORTS: Final = {
    "localstack": 4566,  # LocalStack's own
    "postgres": 54320,  # not PostgreSQL's own: many machines have one there
    "gateway": 8080,
    "presign_svc": 7100,
    "metadata_svc": 7110,
    "image_svc": 7120,
}
# Below Linux's range for outgoing connections (32768 and up), which could take a port between check and use.
_OTHER_PORTS: Final = range(20_000, 32_000, BLOCK)
_LONGEST_SOCKET_PATH: Final = 90  # bytes; the kernel's limit is 108, and supervisord adds its pid to it for a moment


class State(msgspec.Struct, kw_only=True):
    """What a cluster remembers. Holds secrets: the file is readable by its owner only."""

    ports: dict[str, int] = msgspec.field(default_factory=dict)
    processes: dict[str, int] = msgspec.field(default_factory=lambda: dict.fromkeys(SERVICES, 1))
    passwords: dict[str, str] = msgspec.field(default_factory=dict)  # by database role
    database_url: str = ""  # of a database that is not the cluster's own, as its superuser
    secrets: dict[str, str] = msgspec.field(default_factory=dict)  # their names, by database role
    keys: dict[str, ApiKey] = msgspec.field(default_factory=dict)  # by the cluster's name for it


class ApiKey(msgspec.Struct):
    """An API key that the cluster made for its user."""

    tenant: str
    value: str


@dataclass(frozen=True)
class Layout:
    """Paths of one cluster."""

    folder: Path
    prefer_defaults: bool = True  # take the well-known ports if they are free
    env_file: Path = field(init=False)
    logs: Path = field(init=False)
    data: Path = field(init=False)
    run: Path = field(init=False)

    def __post_init__(self) -> None:
        """Derives the paths. Frozen: they belong together."""
        for name, path in {
            "env_file": "cluster.env",
            "logs": "logs",
            "data": "data",
            "run": "run",
        }.items():
            object.__setattr__(self, name, self.folder / path)

    def make(self) -> None:
        """Makes the folders."""
        for path in (self.folder, self.logs, self.data, self.run):
            path.mkdir(parents=True, exist_ok=True)
        self.run.chmod(0o700)

    @property
    def socket(self) -> Path:
        """The control socket of supervisord: in the folder, or in a short path where that is too long for a socket."""
        path = self.run / "supervisor.sock"
        if len(os.fsencode(path)) <= _LONGEST_SOCKET_PATH:
            return path
        name = hashlib.sha256(os.fsencode(self.folder)).hexdigest()[:16]
        short = Path(tempfile.gettempdir(), f"darkroom-{os.getuid()}-{name}")
        short.mkdir(mode=0o700, exist_ok=True)
        return short / "s.sock"

    @contextmanager
    def locked(self, name: str) -> Iterator[None]:
        """Holds one of the cluster's locks: between commands at the same time, and between them and the watcher."""
        import fcntl

        self.make()
        with (self.run / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def load(self) -> State:
        """What the cluster remembers; a new state where it remembers nothing."""
        path = self.run / "state.json"
        return msgspec.json.decode(path.read_bytes(), type=State) if path.exists() else State()

    def save(self, state: State) -> None:
        """Replaces what the cluster remembers."""
        new = self.run / "state.json.new"
        new.touch(mode=0o600)
        new.write_bytes(msgspec.json.format(msgspec.json.encode(state)))
        new.replace(self.run / "state.json")


def choose_ports(known: dict[str, int], *, prefer_defaults: bool) -> dict[str, int]:
    """A port for each program, the first of a block for gRPC services: what is known if free, else new ones."""
    chosen: dict[str, int] = {}
    taken: set[int] = set()
    for name, default in _DEFAULT_PORTS.items():
        size = BLOCK if name in GRPC_SERVICES else 1
        wanted = [known[name]] if name in known else []
        if prefer_defaults:
            wanted.append(default)
        others = random.sample(_OTHER_PORTS, 100)
        port = next((p for p in (*wanted, *others) if p not in taken and all(is_free(p + n) for n in range(size))), 0)
        if not port:
            raise RuntimeError(f"found no {size} free port(s) on 127.0.0.1 for {name}")
        chosen[name] = port
        taken.add(port)
    return chosen


def is_free(port: int) -> bool:
    """Whether nobody listens on that port of 127.0.0.1."""
    with socket.socket() as probe:
        # As servers do: what is left of closed connections (TIME_WAIT) does not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def target(port: int) -> str:
    """The gRPC name of a service: all addresses that its processes may have."""
    return "ipv4:" + ",".join(f"127.0.0.1:{port + number}" for number in range(BLOCK))
