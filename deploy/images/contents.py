"""What an image holds, and what is wrong with it: too large, a tool that nothing needs, a right that nobody needs.

The listing comes from the image's own file system (`export` of docker or podman, or a mount), as a tar stream, so that
what is checked is what runs.
"""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import IO, Final

from cyclonedx.exception import MissingOptionalDependencyException
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from deploy.images.bill import canonical

SBOM: Final = "sbom.cdx.json"
USER: Final = 10001  # as in assemble.py and the Dockerfile

# Programs that someone who got in would look for: shells, package managers, compilers, fetchers.
_PROGRAMS: Final = frozenset(
    {"apt", "apt-get", "ash", "bash", "busybox", "c++", "cc", "clang", "cpp", "curl", "dash", "dpkg", "easy_install"}
    | {"g++", "gcc", "git", "ld", "ld.bfd", "ld.gold", "make", "nc", "perl", "pip", "pip3", "sh", "ssh", "su", "sudo"}
    | {"tar", "toybox", "uv", "wget", "zsh"}
)
# Python packages that install or build others; `ensurepip` would bring pip back.
_PACKAGES: Final = frozenset({"ensurepip", "pip", "setuptools", "uv", "wheel"})


@dataclass(frozen=True)
class Entry:
    """One file, folder or link. `path` has no leading slash; `mode` has the permission bits; sizes are bytes."""

    path: str
    mode: int
    size: int
    regular: bool
    link: str = ""


@dataclass(frozen=True)
class Contents:
    """Everything in an image, and the text of its bill of materials (empty where there is none)."""

    entries: tuple[Entry, ...]
    bill: str

    @property
    def size(self) -> int:
        """Uncompressed bytes of all files."""
        return sum(entry.size for entry in self.entries)


def read(stream: IO[bytes]) -> Contents:
    """Reads a tar stream of a root file system."""
    entries = []
    bill = ""
    with tarfile.open(fileobj=stream, mode="r|") as archive:
        for member in archive:
            path = str(PurePosixPath(member.name.lstrip("/")))
            if path == ".":
                continue
            entries.append(Entry(path, member.mode & 0o7777, member.size, member.isreg(), member.linkname))
            if path == SBOM and (found := archive.extractfile(member)):
                bill = found.read().decode()
    return Contents(tuple(entries), bill)


def faults(contents: Contents, limit: int) -> list[str]:
    """What is wrong with an image of at most `limit` bytes; empty where nothing is."""
    found = []
    if contents.size > limit:
        found.append(f"{contents.size / 1e6:.0f} MB uncompressed; at most {limit / 1e6:.0f}")
    found += [f"/{entry.path} is in it" for entry in contents.entries if _unwanted(entry)]
    found += [f"/{entry.path} runs with the rights of its owner" for entry in contents.entries if _privileged(entry)]
    found += [f"/{entry.path} can be written by everyone" for entry in contents.entries if _open(entry)]
    return found + bill_faults(contents.bill)


def bill_faults(text: str) -> list[str]:
    """What is wrong with a bill of materials."""
    if not text:
        return [f"there is no bill of materials /{SBOM}"]
    try:
        error = JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)
    except MissingOptionalDependencyException as missing:
        raise RuntimeError(
            "the extra json-validation of cyclonedx-python-lib is not installed: make setup"
        ) from missing
    if error is None and (version := json.loads(text)["specVersion"]) != "1.6":  # any text is valid to the schema
        return [f"/{SBOM} is not CycloneDX 1.6: it says {version}"]
    return [] if error is None else [f"/{SBOM} is not CycloneDX 1.6: {error}"]


def missing_from_bill(contents: Contents, names: Iterable[str]) -> list[str]:
    """Those names that the bill of materials does not list."""
    listed = {canonical(component["name"]) for component in json.loads(contents.bill)["components"]}
    return sorted(name for name in names if canonical(name) not in listed)


def _unwanted(entry: Entry) -> bool:
    path = PurePosixPath(entry.path)
    runs = entry.regular and bool(entry.mode & 0o111)
    program = path.name in _PROGRAMS and (runs or path.parent.name in {"bin", "sbin"})
    package = path.name in _PACKAGES and path.parent.name in {"site", "dist-packages", "python3.11"}
    return program or package


def _privileged(entry: Entry) -> bool:
    return entry.regular and bool(entry.mode & 0o6000)


def _open(entry: Entry) -> bool:
    return entry.regular and bool(entry.mode & 0o002)
