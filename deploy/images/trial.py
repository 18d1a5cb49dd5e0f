"""Tries the built images out: `make images-test`.

Looks into each, then runs all four as ECS would (read-only root, no capability, user 10001) against a LocalStack and a
PostgreSQL of its own on loopback. The product's own commands make the schema, the tenants and the keys, in the image of
metadata_svc. One photograph goes all the way to READY; then each container must end cleanly and in time on SIGTERM.
Everything that was started is ended, also after a failure.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import aiohttp
from botocore.exceptions import BotoCoreError, ClientError

from deploy.demo.client import CallFailed, Client
from deploy.images import catalogue, containers, contents
from deploy.images.containers import PYTHON, Engine
from deploy.images.tools import ImageError, Tool, find
from deploy.local import cloudformation, cluster, localstack, postgres, provision
from deploy.local.layout import SERVICES, Layout, State, choose_ports
from deploy.setup.console import say, step

_PHOTO: Final = catalogue.ROOT / "deploy" / "demo" / "photos" / "Canon_EOS_7D.jpg"
_HEALTHY: Final = 60.0  # seconds until a service answers its health command, on a busy machine
_STOPPED: Final = 30.0  # seconds from SIGTERM to the end; ECS gives 120, a service drains for up to 25
_COMMAND: Final = 60.0  # seconds for one of the product's commands
_LAST_WORDS: Final = 500  # characters
# What a process in the container is and may, as JSON. Status fields: proc(5).
_RIGHTS: Final = """
import json, os
status = dict(line.split(":\\t", 1) for line in open("/proc/self/status").read().splitlines() if ":\\t" in line)
def writable(path):
    try:
        open(path, "w").close()
    except OSError:
        return False
    os.unlink(path)
    return True
places = [path for path in ("/", "/app", "/etc", "/site", "/tmp", "/usr/bin", "/var") if writable(path + "/.trial")]
capabilities = int(status["CapEff"], 16)
print(json.dumps({"uid": os.getuid(), "gid": os.getgid(), "capabilities": capabilities, "writable": places}))
"""


class Trial:
    """One run. Names of containers, the folder and the ports are its own."""

    def __init__(self, tool: Tool, engine: Engine, tag: str, folder: Path, stack: ExitStack) -> None:
        self._tool = tool
        self._engine = engine
        self._tag = tag
        self._stack = stack
        self._name = f"darkroom-trial-{secrets.token_hex(4)}"
        self._layout = Layout(folder, prefer_defaults=False)
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def commands(self) -> None:
        """Every command that a scheduled or one-off task runs is there, with all that it imports."""
        for service, module in (
            ("metadata_svc", "metadata_svc.migrate"),
            ("metadata_svc", "metadata_svc.admin"),
            ("metadata_svc", "metadata_svc.prune"),
            ("image_svc", "image_svc.reconcile"),
        ):
            self._once(service, [PYTHON, "-m", module, "--help"], {})

    def rights(self) -> None:
        """No right that is not needed. Raises `ImageError`."""
        expected = {"uid": contents.USER, "gid": contents.USER, "capabilities": 0, "writable": []}
        for service in catalogue.SERVICES:
            found = json.loads(self._once(service, [PYTHON, "-c", _RIGHTS], {}))
            if found != expected:
                raise ImageError(f"{service}: a process in it is {found}; expected {expected}")

    def stores(self) -> provision.Provisioned:
        """LocalStack and PostgreSQL, with everything in them that the services need."""
        layout = self._layout
        layout.make()
        state = State(ports=choose_ports({}, prefer_defaults=False))
        layout.save(state)
        log = layout.logs / "localstack.log"
        emulator = localstack.start(state.ports["localstack"], layout.data / "localstack", log)
        self._stack.callback(localstack.stop, emulator)
        # A database of this run's own, whatever DATABASE_URL says: keys and tenants are made in it.
        quiet = {**postgres.VOLATILE, "log_min_messages": "panic"}
        server = postgres.start(layout.data / "postgres", state.ports["postgres"], quiet)
        self._stack.callback(postgres.stop, server)
        localstack.wait(provision.endpoint(state), alive=lambda: emulator.poll() is None)
        localstack.keep_caches(layout.data / "localstack")
        return provision.ensure(layout, self._command)

    def start(self) -> None:
        """The four containers, until each says that it is well. Raises `ImageError`."""
        ports = self._layout.load().ports
        for service in SERVICES:
            # On the host's network: loopback only, where the image says every address.
            variables = {**cluster.environment(service, 0, ports), f"{service.upper()}_LISTEN_HOST": "127.0.0.1"}
            command = self._engine.command(self._container(service), self._image(service), variables, [])
            self._stack.callback(self._engine.remove, self._container(service))
            log = self._log(service).open("wb")
            self._stack.callback(log.close)
            self._running[service] = subprocess.Popen(
                command, env={**os.environ, **variables}, stdout=log, stderr=subprocess.STDOUT
            )
        for service in SERVICES:
            url = (
                f"http://127.0.0.1:{ports[service]}/healthz"
                if service == "gateway"
                else f"grpc://127.0.0.1:{ports[service]}"
            )
            self._healthy(service, [PYTHON, "-m", "runtime.probe", url])

    async def upload(self, made: provision.Provisioned) -> str:
        """One photograph through all four. Returns what came of it; raises `ImageError`."""
        content = _PHOTO.read_bytes()
        async with aiohttp.ClientSession() as http:
            client = Client(http, made.api_url, made.api_key)
            started = time.monotonic()
            try:
                registered = await client.register(_PHOTO.name, "image/jpeg", content, key=secrets.token_hex(8))
                await client.upload(registered["upload"], content)
                image = await client.settled(registered["image"]["id"])
                if image["state"] != "READY":
                    raise ImageError(f"the photograph ended {image['state']}: {image['problem']}")
                sizes = [len((await client.fetch(variant["url"])).body) for variant in image["variants"]]
            except CallFailed as error:
                raise ImageError(f"{error}\n{self._ends()}") from None
        if not sizes or not all(sizes):
            raise ImageError(f"READY with variants of {sizes} bytes")
        return f"READY with {len(sizes)} variants after {time.monotonic() - started:.1f} s"

    def end(self) -> None:
        """SIGTERM to each, callers first: status 0, and in time. Raises `ImageError`."""
        for service in reversed(SERVICES):
            started = time.monotonic()
            self._engine.terminate(self._container(service))
            try:
                status = self._running[service].wait(_STOPPED)
            except subprocess.TimeoutExpired:
                raise ImageError(f"{service} still runs {_STOPPED:.0f} s after SIGTERM\n{self._end(service)}") from None
            if status:
                raise ImageError(f"{service} ended with status {status} on SIGTERM\n{self._end(service)}")
            say(f"    {service:<13} ended with status 0 after {time.monotonic() - started:.1f} s")

    def _command(self, module: str, arguments: Sequence[str], variables: Mapping[str, str]) -> str:
        return self._once("metadata_svc", [PYTHON, "-m", module, *arguments], variables)

    def _once(self, service: str, arguments: Sequence[str], variables: Mapping[str, str]) -> str:
        """What a command in a container of its own prints. Raises `ImageError`."""
        name = f"{self._name}-once-{secrets.token_hex(4)}"
        command = self._engine.command(name, self._image(service), variables, arguments)
        try:
            done = subprocess.run(
                command, env={**os.environ, **variables}, capture_output=True, text=True, check=False, timeout=_COMMAND
            )
        except subprocess.TimeoutExpired:
            raise ImageError(f"{' '.join(arguments[1:3])} in {service} did not end within {_COMMAND:.0f} s") from None
        finally:
            self._engine.remove(name)
        if done.returncode:
            what = f"{' '.join(arguments[1:3])} in {service}"
            raise ImageError(f"{what} ended with status {done.returncode}:\n{done.stdout}{done.stderr}")
        return done.stdout.strip()

    def _healthy(self, service: str, probe: list[str]) -> None:
        deadline = time.monotonic() + _HEALTHY
        inside = self._engine.inside(self._container(service), probe)
        while subprocess.run(inside, capture_output=True, check=False).returncode:
            if self._running[service].poll() is not None:
                raise ImageError(f"{service} ended before it was well:\n{self._end(service)}")
            if time.monotonic() > deadline:
                raise ImageError(f"{service} is not well after {_HEALTHY:.0f} s:\n{self._end(service)}")
            time.sleep(0.2)

    def _image(self, service: str) -> str:
        return catalogue.reference(service, self._tag)

    def _container(self, service: str) -> str:
        return f"{self._name}-{service}"

    def _log(self, service: str) -> Path:
        return self._layout.logs / f"{service}.log"

    def _end(self, service: str) -> str:
        return "\n".join(self._log(service).read_text(errors="replace").splitlines()[-12:])

    def _ends(self) -> str:
        return "\n".join(f"the end of {service}'s log:\n{self._end(service)}" for service in SERVICES)


def check_contents(tool: Tool, tag: str) -> None:
    """Size, programs, rights and bill of materials of each image. Raises `ImageError` with all that is wrong."""
    wrong: list[str] = []
    for service in catalogue.SERVICES:
        image = catalogue.reference(service, tag)
        if not tool.exists(image):
            raise ImageError(f"there is no image {image}: run `make images`{'' if tag == 'local' else f' TAG={tag}'}")
        found = tool.contents(image)
        say(f"    {image:<32} {found.size / 1e6:4.0f} MB in {len(found.entries)} files")
        faults = contents.faults(found, catalogue.SIZE_LIMITS[service])
        faults += [
            f"its bill of materials does not name {name}"
            for name in contents.missing_from_bill(found, catalogue.CORE_LIBRARIES[service])
        ]
        wrong += [f"{service}: {fault}" for fault in faults]
    if wrong:
        raise ImageError("\n".join(wrong))


def run(tag: str) -> None:
    """The whole trial. Raises `ImageError`, or what LocalStack, PostgreSQL and provisioning raise."""
    tool = find()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="darkroom-trial-")))
        with step(f"what is in the images ({tool.name})"):
            check_contents(tool, tag)
        engine = containers.find(
            tool, catalogue.reference("presign_svc", tag), f"darkroom-trial-{secrets.token_hex(4)}"
        )
        trial = Trial(tool, engine, tag, folder, stack)
        with step(f"rights in a running container ({engine.name})"):
            trial.rights()
        with step("the commands of one-off and scheduled tasks"):
            trial.commands()
        with step("LocalStack, PostgreSQL; schema, tenants and keys by commands in the image"):
            made = trial.stores()
        with step("four containers, until they are well"):
            trial.start()
        with step("one photograph through them"):
            say(f"    {asyncio.run(trial.upload(made))}")
        with step("SIGTERM to each"):
            trial.end()


def main() -> int:
    """Command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m deploy.images.trial", description=__doc__)
    parser.add_argument("--tag", default=catalogue.DEFAULT_TAG, help="of the images; default: %(default)s")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # ends what was started, too
    failures = (
        ImageError,
        cloudformation.StackError,
        postgres.PostgresError,
        provision.ProvisionError,
        RuntimeError,
        TimeoutError,
    )
    try:
        run(options.tag)
    except (BotoCoreError, ClientError) as error:  # some repeat the whole request before they say what is wrong
        print(f"\n{str(error)[-_LAST_WORDS:]}", file=sys.stderr)
        return 1
    except failures as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    say("The images are well.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
