"""The four images: what each is called, how large it may get, which processor it is for, what goes into it."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from platform import machine
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
# Logs and bills of materials of the last build.
OUT: Final = ROOT / ".cache" / "images"
DOCKERFILE: Final = "deploy/images/Dockerfile"
DEFAULT_BASE: Final = "debian:bookworm-slim"
DEFAULT_TAG: Final = "local"

# Most bytes uncompressed: a task's start is mostly the pull of its image.
SIZE_LIMITS: Final = {
    "gateway": 150_000_000,
    "presign_svc": 150_000_000,
    "metadata_svc": 150_000_000,
    "image_svc": 220_000_000,
}
SERVICES: Final = tuple(SIZE_LIMITS)
# What a roll-out builds for. ARM64 costs a fifth less; pillow-simd has vector code for x86-64 only.
PLATFORMS: Final = {
    "gateway": "linux/arm64",
    "presign_svc": "linux/arm64",
    "metadata_svc": "linux/arm64",
    "image_svc": "linux/amd64",
}
# Libraries that the bill of materials of each must name: without them it would not be that service's.
CORE_LIBRARIES: Final = {
    "gateway": ("aiohttp", "grpcio", "libc6", "libpython3.11-stdlib", "uvloop"),
    "presign_svc": ("aiobotocore", "grpcio", "libc6", "libpython3.11-stdlib"),
    "metadata_svc": ("asyncpg", "grpcio", "libc6", "libpython3.11-stdlib"),
    "image_svc": ("grpcio", "libc6", "libjpeg62-turbo", "libpython3.11-stdlib", "numpy", "pillow-heif", "zlib1g"),
}
# Everything that an image is made from: what .dockerignore lets through.
_INPUTS: Final = (
    ".dockerignore",
    "deploy/__init__.py",
    "deploy/images/Dockerfile",
    "deploy/images/__init__.py",
    "deploy/images/assemble.py",
    "deploy/images/bill.py",
    "deploy/images/rds-ca.pem",
    "deploy/setup/__init__.py",
    "deploy/setup/bootstrap.lock",
    "deploy/setup/native.py",
    "gateway",
    "image_svc",
    "metadata_svc",
    "presign_svc",
    "protos",
    "pyproject.toml",
    "requirements.lock",
    "runtime",
)


# Processors as OCI and Debian call them, by what the kernel says.
_MACHINES: Final = {"x86_64": "amd64", "aarch64": "arm64"}


def foreign(platform: str) -> str:
    """The processor of a platform (linux/arm64) where it is another than this machine's, else nothing."""
    architecture = platform.rpartition("/")[2]
    return "" if architecture == _MACHINES.get(machine(), machine()) else architecture


def base_for(base: str, platform: str) -> str:
    """The base image for a platform. One of a registry has all; of those made here, each processor has its own."""
    other = foreign(platform)
    return f"{base}-{other}" if other and base.startswith("localhost/") else base


def reference(service: str, tag: str) -> str:
    """The image's name on the machine that builds."""
    return f"darkroom/{service}:{tag}"


@dataclass(frozen=True)
class Revision:
    """The last change of what the images are made from. `epoch`: seconds since 1970, for SOURCE_DATE_EPOCH."""

    commit: str
    epoch: int
    clean: bool

    @property
    def labels(self) -> dict[str, str]:
        """The labels that say so (OCI image specification, "Annotations")."""
        return {
            "org.opencontainers.image.revision": self.commit if self.clean else f"{self.commit}-changed",
            "org.opencontainers.image.created": datetime.fromtimestamp(self.epoch, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        }


def revision(root: Path = ROOT) -> Revision:
    """What the working tree is at; of a tree without history: no commit, 1970."""
    log = _git(root, "log", "-1", "--format=%H %ct", "--", *_INPUTS)
    if not log:
        return Revision("unknown", 0, clean=True)
    commit, seconds = log.split()
    return Revision(commit, int(seconds), clean=not _git(root, "status", "--porcelain", "--", *_INPUTS))


def _git(root: Path, *arguments: str) -> str:
    """What git says; nothing where there is no git, or no history."""
    if shutil.which("git") is None:
        return ""
    done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else ""
