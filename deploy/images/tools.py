"""The programs that build images: docker, buildah or podman, whichever is there and works.

A docker client without its engine is there and does not work; so each is asked before it is taken. buildah and podman
build with chroot isolation, which works as root on machines where namespaces of other kinds do not.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final, cast

from deploy.images import catalogue, contents

# Where Debian keeps the certificates: given to the build, for networks that have an authority of their own. They are
# mounted beside the image's own, which must not change: it goes into the image that runs.
_CERTIFICATES: Final = Path("/etc/ssl/certs/ca-certificates.crt")
_MOUNTED: Final = "/run/builder-certificates.crt"
_LAST_LINES: Final = 15
# In this order; each with the question whether it works.
_KNOWN: Final[Mapping[str, tuple[str, ...]]] = {
    "docker": ("docker", "info"),
    "buildah": ("buildah", "info"),
    "podman": ("podman", "info"),
}
# Where the kernel lists what runs foreign programs, and QEMU's names of processors.
_HANDLERS: Final = Path("/proc/sys/fs/binfmt_misc")
_QEMU: Final = {"amd64": "x86_64", "arm64": "aarch64"}
_PATIENCE: Final = 60.0  # seconds for that question; an engine that hangs does not work

REMEDY: Final = (
    "No container builder works here: images need docker (with its engine running), buildah or podman.\n"
    "On Debian or Ubuntu: apt-get install buildah podman runc"
)


# What builders say of a base that they cannot pull.
_PULL_FAILED: Final = ("initializing source docker://", "failed to resolve source metadata", "pull access denied")
_NO_REGISTRY: Final = (
    "\nThe base image cannot be pulled. Where no registry can be reached:\n"
    "  make images-base && make images BASE=localhost/darkroom-base:bookworm"
)


class ImageError(Exception):
    """An image cannot be made, read or pushed; the text says why, and what to do."""


@dataclass(frozen=True)
class Tool:
    """One of the builders."""

    name: str

    def build(self, service: str, options: Build, log: Path) -> None:
        """Builds one image; what the builder prints goes to the log. Raises `ImageError`."""
        if self.name != "docker":  # an engine may run elsewhere, or bring its own emulation
            check_emulation(options.platform)
        with log.open("wb") as out:
            done = subprocess.run(
                self.command(service, options), cwd=catalogue.ROOT, stdout=out, stderr=subprocess.STDOUT, check=False
            )
        if done.returncode:
            tail = "\n".join(log.read_text(errors="replace").splitlines()[-_LAST_LINES:])
            hint = _NO_REGISTRY if any(words in tail for words in _PULL_FAILED) else ""
            raise ImageError(f"{service}: the build failed; the end of {log}:\n{tail}{hint}")

    def command(self, service: str, options: Build) -> list[str]:
        """The command that builds one image."""
        command = [self.name, "build", "--build-arg", f"BASE={catalogue.base_for(options.base, options.platform)}"]
        command += ["--build-arg", f"SOURCE_DATE_EPOCH={options.revision.epoch}"]
        for name, value in options.revision.labels.items():
            command += ["--label", f"{name}={value}"]
        if options.platform:
            command += ["--platform", options.platform]
        if self.name != "docker":
            command += ["--isolation", "chroot", "--network", "host", "--format", "docker", "--layers"]
            command += ["--timestamp", str(options.revision.epoch)]
            if _CERTIFICATES.exists():
                command += ["-v", f"{_CERTIFICATES}:{_MOUNTED}:ro", "--build-arg", f"CERTIFICATES={_MOUNTED}"]
        image = catalogue.reference(service, options.tag)
        return [*command, "--target", service, "-t", image, "-f", catalogue.DOCKERFILE, "."]

    def contents(self, image: str) -> contents.Contents:
        """What is in an image. Raises `ImageError`."""
        with self._file_system(image) as stream:
            return contents.read(stream)

    def exists(self, image: str) -> bool:
        """Whether an image of that name is here."""
        inspect = ["buildah", "inspect", "--type", "image"] if self.name == "buildah" else [self.name, "inspect"]
        return subprocess.run([*inspect, image], capture_output=True, check=False).returncode == 0

    def push(self, image: str, target: str) -> None:
        """Pushes an image under another name. The registry must have been logged in to. Raises `ImageError`."""
        if self.name == "docker":
            self.text("tag", image, target)
            self.text("push", "--quiet", target)
        else:
            self.text("push", "--quiet", image, f"docker://{target}")

    def login(self, registry: str, user: str, password: str) -> None:
        """Logs in to a registry; the password goes through standard input, never through an argument."""
        self.text("login", "--username", user, "--password-stdin", registry, given=password)

    def text(self, *arguments: str, given: str | None = None) -> str:
        """Runs one of the builder's commands and returns what it prints. Raises `ImageError`."""
        done = subprocess.run([self.name, *arguments], input=given, capture_output=True, text=True, check=False)
        if done.returncode:
            raise ImageError(f"{self.name} {arguments[0]} failed: {done.stderr.strip()}")
        return done.stdout.strip()

    @contextmanager
    def _file_system(self, image: str) -> Iterator[IO[bytes]]:
        """The root file system as a tar stream."""
        buildah = self.name == "buildah"
        container = self.text("from", "--pull-never", image) if buildah else self.text("create", image)
        try:
            source = ["tar", "-C", self.text("mount", container), "-c", "."]
            with _output(source if buildah else [self.name, "export", container]) as stream:
                yield stream
        finally:
            self.text("rm", container)


@dataclass(frozen=True)
class Build:
    """What a build is given. `platform`: as OCI writes it (linux/arm64); empty for the builder's own."""

    base: str
    tag: str
    revision: catalogue.Revision
    platform: str = ""


def find(known: Mapping[str, Sequence[str]] = _KNOWN) -> Tool:
    """The first builder that is there and works. Raises `ImageError` with the remedy where none does."""
    for name, question in known.items():
        if shutil.which(name) is None:
            continue
        try:
            asked = subprocess.run(question, capture_output=True, check=False, timeout=_PATIENCE)
        except subprocess.TimeoutExpired:
            continue
        if asked.returncode == 0:
            return Tool(name)
    raise ImageError(REMEDY)


def check_emulation(platform: str, handlers: Path = _HANDLERS) -> None:
    """Raises `ImageError` where this machine cannot run programs of the platform."""
    other = catalogue.foreign(platform)
    if other and not (handlers / f"qemu-{_QEMU.get(other, other)}").exists():
        raise ImageError(
            f"this machine cannot run programs for {platform}: QEMU's user emulation is missing.\n"
            "On Debian or Ubuntu: apt-get install qemu-user-static binfmt-support"
        )


def platform_of(tool: Tool, image: str) -> str:
    """The processor that an image is for, as OCI writes it."""
    if tool.name == "buildah":
        shown = json.loads(tool.text("inspect", "--type", "image", image))["OCIv1"]
        return f"{shown['os']}/{shown['architecture']}"
    return tool.text("inspect", "--format", "{{.Os}}/{{.Architecture}}", image)


@contextmanager
def _output(command: list[str]) -> Iterator[IO[bytes]]:
    with (
        tempfile.TemporaryFile() as errors,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors) as process,
    ):
        stream = cast("IO[bytes]", process.stdout)  # it is a pipe
        yield stream
        while stream.read(1 << 20):  # padding after the archive's end: its writer must not find the pipe closed
            pass
        if process.wait():
            errors.seek(0)
            raise ImageError(f"{command[0]} failed: {errors.read().decode(errors='replace').strip()}")
