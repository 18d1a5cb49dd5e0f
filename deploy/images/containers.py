"""Runs images the way ECS does: read-only root, no capability, no account of root, nothing writable.

On the host's network, because what they talk to listens on loopback. docker and podman are tried with what they have;
where neither can run a container, runc takes a bundle that is made from buildah's mount.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

from deploy.images.contents import USER
from deploy.images.tools import ImageError, Tool

PYTHON: Final = "/usr/bin/python3"
_FILES: Final = 4096  # open files and processes of one container: what Fargate gives at least is 1024 of files
_REMEDY: Final = (
    "No container can be run here: `make images-test` needs docker, podman or runc, as root where they need it.\n"
    "On Debian or Ubuntu: apt-get install podman runc"
)


class Engine(Protocol):
    """What runs containers. Every name given is this run's own."""

    @property
    def name(self) -> str:
        """The program."""

    def command(self, name: str, image: str, variables: Mapping[str, str], arguments: Sequence[str]) -> list[str]:
        """The command that runs a container in the foreground; `arguments` replace those of the image.

        It must be given the variables in its own environment: what is in a command line, everyone on the machine sees.
        """

    def inside(self, name: str, arguments: Sequence[str]) -> list[str]:
        """The command that runs one more program in a running container."""

    def terminate(self, name: str) -> None:
        """SIGTERM to the container's first process."""

    def remove(self, name: str) -> None:
        """Ends a container if it still runs, and removes it."""


@dataclass(frozen=True)
class Client:
    """docker or podman. `runtime`: the OCI runtime that podman takes; its own choice where empty."""

    name: str
    runtime: str = ""

    def command(self, name: str, image: str, variables: Mapping[str, str], arguments: Sequence[str]) -> list[str]:
        """See `Engine`."""
        command = [self.name, *self._runtime(), "run", "--name", name, "--network", "host", "--read-only"]
        command += [
            "--cap-drop",
            "all",
            "--ulimit",
            f"nofile={_FILES}:{_FILES}",
            "--ulimit",
            f"nproc={_FILES}:{_FILES}",
        ]
        if self.name == "podman":
            command += ["--read-only-tmpfs=false", "--pull", "never"]  # a task on Fargate has no tmpfs either
        for variable in variables:
            command += ["--env", variable]
        if arguments:
            command += ["--entrypoint", arguments[0]]
        return [*command, image, *arguments[1:]]

    def inside(self, name: str, arguments: Sequence[str]) -> list[str]:
        """See `Engine`."""
        return [self.name, *self._runtime(), "exec", name, *arguments]

    def terminate(self, name: str) -> None:
        """See `Engine`."""
        _run([self.name, *self._runtime(), "kill", "--signal", "TERM", name])

    def remove(self, name: str) -> None:
        """See `Engine`."""
        wait = ["--time", "0"] if self.name == "podman" else []  # else it waits for SIGTERM to be heeded
        subprocess.run([self.name, *self._runtime(), "rm", "-f", *wait, name], capture_output=True, check=False)

    def _runtime(self) -> list[str]:
        return ["--runtime", self.runtime] if self.runtime else []


@dataclass
class Runc:
    """runc alone, with the file system that buildah mounts."""

    tool: Tool
    name: str = "runc"
    _made: dict[str, tuple[str, Path]] = field(default_factory=dict)  # buildah's container and the bundle, by name

    def command(self, name: str, image: str, variables: Mapping[str, str], arguments: Sequence[str]) -> list[str]:
        """See `Engine`."""
        mounted = self.tool.text("from", "--pull-never", image)
        bundle = Path(tempfile.mkdtemp(prefix="darkroom-runc-"))
        self._made[name] = (mounted, bundle)
        settings = json.loads(self.tool.text("inspect", "--type", "image", image))["OCIv1"]["config"]
        environment = [*settings["Env"], *(f"{variable}={value}" for variable, value in variables.items())]
        root = self.tool.text("mount", mounted)
        bundle.joinpath("config.json").write_text(
            json.dumps(_bundle(root, environment, [*(arguments or settings["Entrypoint"])], settings["WorkingDir"]))
        )
        return ["runc", "run", "--bundle", str(bundle), name]

    def inside(self, name: str, arguments: Sequence[str]) -> list[str]:
        """See `Engine`."""
        return ["runc", "exec", name, *arguments]

    def terminate(self, name: str) -> None:
        """See `Engine`."""
        _run(["runc", "kill", name, "TERM"])

    def remove(self, name: str) -> None:
        """See `Engine`."""
        subprocess.run(["runc", "delete", "--force", name], capture_output=True, check=False)
        if name in self._made:
            mounted, bundle = self._made.pop(name)
            self.tool.text("rm", mounted)
            shutil.rmtree(bundle)


def find(tool: Tool, image: str, name: str) -> Engine:
    """The first engine that really runs the image. Raises `ImageError` with what each said where none does."""
    candidates: list[Engine] = [Client("docker")] if tool.name == "docker" else []
    if tool.name != "docker":
        candidates += [Client("podman"), Client("podman", "runc"), Runc(tool)]
    said = []
    for engine in candidates:
        if shutil.which(engine.name) is None:
            said.append(f"{engine.name}: not here")
            continue
        try:
            done = subprocess.run(
                engine.command(name, image, {}, [PYTHON, "-c", ""]), capture_output=True, text=True, check=False
            )
        finally:
            engine.remove(name)
        if done.returncode == 0:
            return engine
        said.append(f"{engine.name}: {done.stderr.strip().splitlines()[-1:]}")
    raise ImageError("\n".join([_REMEDY, *said]))


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ImageError(f"{' '.join(command[:3])} failed: {done.stderr.strip()}")


def _bundle(root: str, environment: list[str], arguments: list[str], folder: str) -> dict[str, Any]:
    """The configuration of runc (OCI runtime specification 1.0) for what `Client` asks of docker and podman."""
    limits = [{"type": kind, "hard": _FILES, "soft": _FILES} for kind in ("RLIMIT_NOFILE", "RLIMIT_NPROC")]
    nothing = ["nosuid", "noexec", "nodev"]
    devices = ["nosuid", "mode=755", "size=65536k"]
    return {
        "ociVersion": "1.0.2",
        "root": {"path": root, "readonly": True},
        "process": {
            "terminal": False,
            "user": {"uid": USER, "gid": USER},
            "args": arguments,
            "env": environment,
            "cwd": folder,
            "capabilities": {"bounding": [], "effective": [], "permitted": [], "ambient": []},
            "rlimits": limits,
        },
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {
                "destination": "/dev",
                "type": "tmpfs",
                "source": "tmpfs",
                "options": devices,
            },
            {"destination": "/dev/shm", "type": "tmpfs", "source": "shm", "options": [*nothing, "mode=1777"]},  # noqa: S108
            {"destination": "/sys", "type": "none", "source": "/sys", "options": ["rbind", *nothing, "ro"]},
        ],
        # The host's network: no namespace of that type.
        "linux": {"namespaces": [{"type": kind} for kind in ("pid", "ipc", "uts", "mount")]},
    }
