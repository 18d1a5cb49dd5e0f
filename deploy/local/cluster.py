"""The local cluster: what it consists of, and how it comes up and goes down.

Parts start in the order of their dependencies and are waited for by asking them. supervisord restarts what dies, as ECS
would. LocalStack keeps nothing over a restart: its watcher (`deploy.local.watch`) then makes the stacks again, empty.
For the same reason a cluster that starts from zero starts with an empty database: rows about objects that no longer
exist would be no use.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Final
from urllib.parse import urlsplit

from deploy.local import localstack, processes, provision, readiness, upkeep
from deploy.local.layout import BLOCK, GRPC_SERVICES, REPOSITORY, SERVICES, Layout, State, choose_ports, target
from deploy.local.supervision import Program, Supervisor

# Seconds between SIGTERM and SIGKILL. A service drains for up to `drain_seconds` of its settings.
_SERVICE_STOPS: Final = 30
_POSTGRES_STOPS: Final = 30
_LOCALSTACK_STOPS: Final = 3  # it has nothing to save and may take 17 s to leave
_LOCALSTACK_STARTS: Final = 90.0  # cold, on a busy machine
_LEFTOVERS_STOP: Final = 10.0
# Seconds between two rounds of pruning and reconciling. On AWS each has a schedule of its own.
_UPKEEP_INTERVAL: Final = 600

Step = Callable[[str], AbstractContextManager[None]]


class ClusterError(Exception):
    """A command cannot be carried out; the text says why."""


def _silent(_text: str) -> AbstractContextManager[None]:
    return nullcontext()


class Cluster:
    """One cluster, known by its folder.

    `step` is told what happens, for whoever watches. `overrides` are environment variables for the services: they win
    over Parameter Store.
    """

    def __init__(self, layout: Layout, step: Step = _silent, overrides: Mapping[str, str] | None = None) -> None:
        self.layout = layout
        self._overrides = dict(overrides or {})
        self.supervisor = Supervisor(layout)
        self._step = step

    def up(self) -> provision.Provisioned:
        """Starts what is not running and returns when a request through API Gateway is answered."""
        with self.layout.locked("command"):
            state = self.layout.load()
            if self.supervisor.running():
                self.supervisor.update(self._programs(state))
            else:
                state = self._from_zero(state)
            self._start_stores(state)
            with self._step("buckets, queues, API, database schema, tenants and keys"):
                made = provision.ensure(self.layout)
            self._start_services(state, made)
            return made

    def down(self) -> int:
        """Stops everything and returns how many processes had to be ended without supervisord's help."""
        with self.layout.locked("command"):
            if self.supervisor.running():
                tiers = [["gateway", "upkeep"], ["image_svc"], ["presign_svc", "metadata_svc"], ["watch"]]
                for tier in tiers:
                    names = [name for name in self.supervisor.processes() if _service(name) in tier]
                    if names:
                        with self._step(f"stopping {', '.join(tier)}"):
                            self.supervisor.stop(names)
                with self._step("stopping LocalStack and PostgreSQL"):
                    self.supervisor.shutdown()
            left = self._end_leftovers()
            self.layout.env_file.unlink(missing_ok=True)
            return left

    def scale(self, wanted: dict[str, int]) -> None:
        """Runs so many processes of the services named. Raises `ClusterError` for what cannot be."""
        for service, count in wanted.items():
            if service not in SERVICES:
                raise ClusterError(f"there is no service {service!r}; there are {', '.join(SERVICES)}")
            if not 1 <= count <= BLOCK:
                raise ClusterError(f"{service}={count}: from 1 to {BLOCK} processes of a service run here")
        with self.layout.locked("command"):
            self._must_run()
            state = self.layout.load()
            state.processes |= wanted
            self.layout.save(state)
            self.supervisor.update(self._programs(state))
            self._start_services(state, None)

    def migrate(self) -> str:
        """Brings the running cluster's database to the newest schema; returns what the command said."""
        with self.layout.locked("command"):
            self._must_run()
            return provision.migrate(self.layout)

    def once(self, command: str, arguments: Sequence[str]) -> int:
        """Runs one of the upkeep commands now; returns its status."""
        self._must_run()
        done = subprocess.run(  # our own commands
            [sys.executable, "-m", upkeep.COMMANDS[command], *arguments],
            env={**os.environ, **self._upkeep_environment(self.layout.load().ports)},
            cwd=REPOSITORY,
            check=False,
        )
        return done.returncode

    def _upkeep_environment(self, ports: dict[str, int]) -> dict[str, str]:
        return environment("metadata_svc", 0, ports) | environment("image_svc", 0, ports) | self._overrides

    def _must_run(self) -> None:
        if not self.supervisor.running():
            raise ClusterError("the cluster is not running: `make up` starts it")

    def _from_zero(self, state: State) -> State:
        if self._end_leftovers():
            with self._step("ended what an earlier cluster had left"):
                pass
        for folder in ("localstack/tmp", "postgres"):
            shutil.rmtree(self.layout.data / folder, ignore_errors=True)
        self.layout.make()
        state.database_url = _other_database(state.ports)
        state.passwords.clear()
        state.keys.clear()
        state.ports = choose_ports(state.ports, prefer_defaults=self.layout.prefer_defaults)
        self.layout.save(state)
        self.supervisor.start(self._programs(state))
        return state

    def _end_leftovers(self) -> int:
        left = processes.of_cluster(self.layout.folder)
        processes.end(left, grace=_LEFTOVERS_STOP)
        return len(left)

    def _start_stores(self, state: State) -> None:
        names = ["localstack"] if state.database_url else ["localstack", "postgres"]
        with self._step("LocalStack and PostgreSQL"):
            self.supervisor.ensure(names)
            readiness.wait(
                "PostgreSQL",
                lambda: readiness.postgres_answers(lambda: provision.database_url(self.layout, state)),
                self.layout.logs / "postgres.log",
            )
            localstack.wait(f"http://127.0.0.1:{state.ports['localstack']}", seconds=_LOCALSTACK_STARTS)
            localstack.keep_caches(self.layout.data / "localstack")

    def _start_services(self, state: State, made: provision.Provisioned | None) -> None:
        for tier in (["metadata_svc", "presign_svc"], ["image_svc"], ["gateway"]):
            names = [name for name in _process_names(state) if _service(name) in tier]
            with self._step(" and ".join(f"{service} x {state.processes[service]}" for service in tier)):
                self.supervisor.ensure(names)
                for name in names:
                    self._wait(name, state)
        self.supervisor.ensure(["watch", "upkeep"])
        if made is not None:
            with self._step("a request through API Gateway"):
                readiness.wait(
                    "the API",
                    lambda: readiness.http_answers(f"{made.api_url}/v1/usage", {"x-api-key": made.api_key}),
                    self.layout.logs / "gateway-0.log",
                )

    def _wait(self, name: str, state: State) -> None:
        service, number = name.rsplit("-", 1)
        port = state.ports[service]
        log = self.layout.logs / f"{name}.log"

        def ready() -> bool:
            if service in GRPC_SERVICES:
                return readiness.grpc_serving(port + int(number))
            return readiness.http_answers(f"http://127.0.0.1:{port}/readyz")

        readiness.wait(name, ready, log, pid=lambda: self.supervisor.processes()[name].pid)

    def _programs(self, state: State) -> list[Program]:
        ports = state.ports
        python = (sys.executable, "-m")
        data = self.layout.data
        programs = [
            Program(
                "localstack",
                (
                    *python,
                    "deploy.local.localstack",
                    "--port",
                    str(ports["localstack"]),
                    "--data",
                    f"{data}/localstack",
                ),
                {},
                _LOCALSTACK_STOPS,
                autostart=True,
            ),
            Program("watch", (*python, "deploy.local.watch", str(self.layout.folder)), {}, _LOCALSTACK_STOPS),
        ]
        if not state.database_url:
            command = (*python, "deploy.local.postgres", "--port", str(ports["postgres"]), "--data", f"{data}/postgres")
            programs.append(Program("postgres", command, {}, _POSTGRES_STOPS, autostart=True))
        for name in _process_names(state):
            service, number = name.rsplit("-", 1)
            variables = environment(service, int(number), ports) | self._overrides
            programs.append(Program(name, (*python, service), variables, _SERVICE_STOPS))
        rounds = (*python, "deploy.local.upkeep", "--interval", str(_UPKEEP_INTERVAL))
        programs.append(Program("upkeep", rounds, self._upkeep_environment(ports), _SERVICE_STOPS))
        return programs


def environment(service: str, number: int, ports: dict[str, int]) -> dict[str, str]:
    """What differs from process to process; the rest they read from Parameter Store and Secrets Manager."""
    step = number if service in GRPC_SERVICES else 0  # the gateway's processes share one port (SO_REUSEPORT)
    variables = {
        **localstack.CREDENTIALS,
        "AWS_REGION": localstack.REGION,
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{ports['localstack']}",
        "S3_ADDRESSING_STYLE": "path",
        "DARKROOM_STAGE": "local",
        f"{service.upper()}_LISTEN_PORT": str(ports[service] + step),
    }
    if service == "image_svc":
        # LocalStack goes on serving the long poll of a worker that was killed, and the message it hands to nobody stays
        # hidden for a lease. SQS does not: there the service's own 20 s are right.
        variables["IMAGE_SVC_RECEIVE_WAIT_SECONDS"] = "2"
    callees = {"gateway": ("presign", "metadata", "image"), "image_svc": ("metadata",)}.get(service, ())
    for callee in callees:
        variables[f"{service.upper()}_{callee.upper()}_TARGET"] = target(ports[f"{callee}_svc"])
    return variables


def _process_names(state: State) -> list[str]:
    return [f"{service}-{number}" for service in SERVICES for number in range(state.processes[service])]


def _service(process: str) -> str:
    return process.rsplit("-", 1)[0]


def _other_database(known: dict[str, int]) -> str:
    """`DATABASE_URL`, where it does not name the cluster's own (a shell may have read the cluster.env of before)."""
    url = os.environ.get("DATABASE_URL", "")
    own = f"127.0.0.1:{known.get('postgres')}"
    return "" if urlsplit(url).netloc.endswith(own) else url
