"""`make bench-api`: requests per CPU second of the request path, against peers, in one interleaved run.

CPU is that of all processes of a side, from /proc/<pid>/stat, PostgreSQL and the load client apart; ours are the
gateway, presign_svc and metadata_svc, called without API Gateway. Times on a shared machine are noise, ratios of one
run are facts: each round measures every side in turn, and the table shows medians with the least and the most of the
rounds. The machine's own noise is what the bare server's figures spread over.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.error import HTTPError
from urllib.parse import urlsplit, urlunsplit
from urllib.request import Request, urlopen

import asyncpg
import msgspec

from deploy.local import localstack
from deploy.local.postgres import running as postgres_running
from tests.bench import ours, processes
from tests.bench.load import Answer, Order
from tests.bench.processes import ROOT, Server

CONCURRENCY: Final = (1, 4, 32, 128)
_BODY: Final = json.dumps(
    {
        "filename": "IMG_0001.HEIC",
        "content_type": "image/heic",
        "size": 3_481_223,
        "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "upload": "put",
        "variants": ["thumb", "medium"],
        "tags": {"album": "may"},
    }
)
_READY_IMAGES: Final = 32

# Requests a round, so that each measurement takes about a second of CPU: /proc counts in hundredths.
_REQUESTS: Final = {
    ("bare", "POST"): {1: 4000, 4: 8000, 32: 10_000, 128: 10_000},
    ("peer", "POST"): {1: 300, 4: 400, 32: 400, 128: 400},
    ("ours", "POST"): {1: 400, 4: 600, 32: 2500, 128: 4000},
    ("bare", "GET"): {1: 4000, 4: 8000, 32: 10_000, 128: 10_000},
    ("ours", "GET"): {1: 500, 4: 1000, 32: 4000, 128: 6000},
}

_MOST_SECONDS: Final = 160.0  # for all rounds; with the start of everything the run stays under four minutes

# What is aimed at: method, concurrency, the other side, least ratio.
_TARGETS: Final = (
    ("POST", 1, "peer", 1.2),
    ("POST", 4, "peer", 1.2),
    ("POST", 32, "peer", 6.0),
    ("POST", 128, "peer", 10.0),
    ("POST", 128, "bare", 0.3),
    ("GET", 128, "bare", 0.45),
)


class Loader:
    """The load client's process."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def send(self, order: Order) -> Answer:
        """Runs an order to its end. Raises RuntimeError for the first answer that is not the expected one."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(msgspec.json.encode(order).decode() + "\n")
        self._process.stdin.flush()
        answer = msgspec.json.decode(self._process.stdout.readline(), type=Answer)
        if answer.wrong:
            raise RuntimeError(f"unexpected answer from port {order.port}:\n{answer.wrong}")
        return answer


@dataclass
class Side:
    """One way of doing it: its processes, and how it is called."""

    name: str
    servers: list[Server]
    port: int
    headers: dict[str, str] = field(default_factory=dict)
    image_paths: list[str] = field(default_factory=lambda: ["/v1/images/0198c0de-0000-7000-8000-000000000000"])

    def order(self, method: str, concurrency: int, requests: int) -> Order:
        """An order for the load client."""
        if method == "POST":
            return Order(self.port, ["/v1/images"], requests, concurrency, self.headers, _BODY, 201)
        return Order(self.port, self.image_paths, requests, concurrency, self.headers)


@dataclass
class Figures:
    """What was measured for one side, method and concurrency, a value a round."""

    micros: list[float] = field(default_factory=list)
    p50: list[float] = field(default_factory=list)
    p99: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        """Microseconds of CPU a request."""
        return statistics.median(self.micros)


Results = dict[tuple[str, str, int], Figures]


@contextmanager
def loader() -> Iterator[Loader]:
    """The load client, until the block ends."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.bench.load"], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        yield Loader(process)
    finally:
        process.kill()
        process.communicate()


async def _prepare_peer(admin_url: str) -> tuple[str, str]:
    """The peer's database and a key; returns the URL of its own role and the key."""
    admin = await asyncpg.connect(admin_url)
    await admin.execute("CREATE DATABASE peer")
    await admin.execute("CREATE ROLE peer_app LOGIN PASSWORD 'peer' NOSUPERUSER NOBYPASSRLS")
    await admin.close()
    parts = urlsplit(admin_url)._replace(path="/peer")
    connection = await asyncpg.connect(urlunsplit(parts))
    await connection.execute((Path(__file__).parent / "peers" / "schema.sql").read_text())
    await connection.execute(
        """
        GRANT SELECT ON tenants, api_keys TO peer_app;
        GRANT SELECT, INSERT, UPDATE ON usage, images, requests TO peer_app;
        INSERT INTO tenants VALUES ('0198c0de-0000-7000-8000-000000000001', 1000000000, 1000000000000000000);
        INSERT INTO usage VALUES ('0198c0de-0000-7000-8000-000000000001', 0, 0);
        INSERT INTO api_keys VALUES ('peerpeerpeerpeer', '0198c0de-0000-7000-8000-000000000001', sha256('secret'),
            '{images:write}', NULL)
        """
    )
    await connection.close()
    url = urlunsplit(parts._replace(scheme="postgresql+asyncpg", netloc=f"peer_app:peer@{parts.hostname}:{parts.port}"))
    return url, "drk_peerpeerpeerpeer_secret"


@contextmanager
def sides(folder: Path) -> Iterator[dict[str, Side]]:
    """Everything up and warm."""
    with ExitStack() as stack:
        _say("starting PostgreSQL and LocalStack (for secrets and parameters)")
        admin_url = stack.enter_context(postgres_running(folder / "postgres", settings={"log_min_messages": "fatal"}))
        port = processes.free_port()
        emulator = localstack.start(port, folder / "localstack", folder / "localstack.log")
        stack.callback(localstack.stop, emulator)
        endpoint = f"http://127.0.0.1:{port}"
        localstack.wait(endpoint, alive=lambda: emulator.poll() is None)

        _say("starting the bare server and the FastAPI peer")
        bare_port, peer_port = processes.free_port(), processes.free_port()
        bare = stack.enter_context(
            processes.server("bare", ["tests.bench.peers.bare"], bare_port, {"PORT": str(bare_port)}, folder)
        )
        peer_url, peer_key = asyncio.run(_prepare_peer(admin_url))
        environment = {
            **localstack.CREDENTIALS,
            "AWS_DEFAULT_REGION": localstack.REGION,
            "AWS_ENDPOINT_URL": endpoint,
            "DATABASE_URL": peer_url,
            "PORT": str(peer_port),
        }
        module = ["tests.bench.peers.fastapi_service"]
        peer = stack.enter_context(processes.server("peer", module, peer_port, environment, folder))

        _say("starting gateway, presign_svc and metadata_svc")
        own = stack.enter_context(ours.running(admin_url, endpoint, folder))
        headers = {"x-api-key": own.key}
        images = [_register(own.gateway.port, headers) for _ in range(_READY_IMAGES)]
        asyncio.run(own.make_ready(images))
        yield {
            "bare": Side("bare", [bare], bare_port),
            "peer": Side("peer", [peer], peer_port, {"x-api-key": peer_key}),
            "ours": Side(
                "ours", own.servers, own.gateway.port, headers, [f"/v1/images/{image_id}" for image_id in images]
            ),
        }


def _register(port: int, headers: dict[str, str]) -> str:
    request = Request(
        f"http://127.0.0.1:{port}/v1/images",
        data=_BODY.encode(),
        headers={**headers, "content-type": "application/json"},
    )
    deadline = time.monotonic() + 20
    while True:
        try:
            with urlopen(request, timeout=10) as answer:
                return str(json.load(answer)["image"]["id"])
        except HTTPError as error:  # the services behind may not be ready yet
            if error.code != 503 or time.monotonic() > deadline:
                raise RuntimeError(f"{error.code}: {error.read().decode()}") from error
            time.sleep(0.2)


def measure(by_name: dict[str, Side], load: Loader, rounds: int, scale: float) -> Results:
    """Every side in turn, round after round; fewer rounds than asked for where the machine is too slow for them."""
    results: Results = {}
    begun = time.monotonic()
    for name, method in _REQUESTS:
        for concurrency in CONCURRENCY:
            load.send(by_name[name].order(method, concurrency, 50 + concurrency))
    for number in range(rounds):
        started = time.monotonic()
        if number and started + (started - begun) / number > begun + _MOST_SECONDS:
            break
        for concurrency in CONCURRENCY:
            for (name, method), requests in _REQUESTS.items():
                side = by_name[name]
                count = max(int(requests[concurrency] * scale), concurrency)
                before = processes.cpu(side.servers)
                answer = load.send(side.order(method, concurrency, count))
                spent = processes.cpu(side.servers) - before
                figures = results.setdefault((name, method, concurrency), Figures())
                figures.micros.append(spent / answer.requests * 1e6)
                figures.p50.append(answer.p50_ms)
                figures.p99.append(answer.p99_ms)
        _say(f"round {number + 1} of {rounds}: {time.monotonic() - started:.0f} s")
    return results


def report(results: Results) -> bool:
    """Prints the tables; returns whether every target is met."""
    print("\nCPU microseconds a request: median (least-most of the rounds); p50/p99 in ms on this machine")
    print(f"{'':14}" + "".join(f"{f'concurrency {concurrency}':>34}" for concurrency in CONCURRENCY))
    for name, method in _REQUESTS:
        line = f"{name} {method:8}".ljust(14)
        for concurrency in CONCURRENCY:
            got = results[name, method, concurrency]
            latency = f"{statistics.median(got.p50):.1f}/{statistics.median(got.p99):.1f}"
            line += f"{f'{got.median:.0f} ({min(got.micros):.0f}-{max(got.micros):.0f})  {latency}':>34}"
        print(line)
    rounds = len(results["ours", "POST", 1].micros)
    spread = [max(figures.micros) / min(figures.micros) for (name, _, _), figures in results.items() if name == "bare"]
    print(f"\nnoise of this machine: the bare server's figures spread by up to {max(spread):.2f}x over {rounds} rounds")
    print("\nrequests per CPU second, ours to theirs")
    met = True
    for method, concurrency, other, least in _TARGETS:
        ratio = results[other, method, concurrency].median / results["ours", method, concurrency].median
        met &= ratio >= least
        verdict = "ok" if ratio >= least else "MISSED"
        print(f"  {method:4} at {concurrency:3} to {other}: {ratio:5.2f}x  (target {least}x)  {verdict}")
    return met


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main() -> None:
    """Command line; see the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="two short rounds: does it run, roughly what figures")
    parser.add_argument("--check", action="store_true", help="status 1 where a target is missed")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="darkroom-bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        with sides(folder) as by_name, loader() as load:
            results = measure(by_name, load, 2 if options.quick else 7, 0.3 if options.quick else 1.0)
    met = report(results)
    sys.exit(0 if met or not options.check else 1)


if __name__ == "__main__":
    main()
