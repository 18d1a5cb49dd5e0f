"""Makes a base image from Debian's packages alone: `make images-base`, where no registry can be reached.

Needs root and debootstrap (`apt-get install debootstrap`); the packages come from the mirror that MIRROR names, or from
debootstrap's own choice. Then `make images BASE=localhost/darkroom-base:bookworm`. Only build stages are made on it:
what runs starts from scratch, with the few files of it that are needed.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from deploy.images import catalogue
from deploy.images.tools import ImageError, Tool, check_emulation, find
from deploy.setup.console import SetupError, run, say, step

SUITE: Final = "bookworm"
NAME: Final = f"localhost/darkroom-base:{SUITE}"
# Debian's names of the processors that OCI calls so.
_ARCHITECTURES: Final = {"linux/amd64": "amd64", "linux/arm64": "arm64"}


def make(tool: Tool, name: str, mirror: str, platform: str) -> None:
    """Makes the image. Raises `ImageError` or `SetupError`."""
    if shutil.which("debootstrap") is None:
        raise ImageError("debootstrap is not here. On Debian or Ubuntu: apt-get install debootstrap")
    if os.geteuid() != 0:
        raise ImageError("debootstrap makes a root file system: run `make images-base` as root, e.g. with sudo")
    if platform and platform not in _ARCHITECTURES:
        raise ImageError(f"PLATFORM={platform}: there are {', '.join(_ARCHITECTURES)}")
    check_emulation(platform)
    architecture = [f"--arch={_ARCHITECTURES[platform]}"] if platform else []
    with tempfile.TemporaryDirectory(prefix="darkroom-base-") as folder:
        root, archive = Path(folder, "root"), Path(folder, "root.tar")
        command = ["debootstrap", "--variant=minbase", *architecture, SUITE, root, *([mirror] if mirror else [])]
        with step(f"Debian {SUITE}, by debootstrap"):
            run([str(part) for part in command], catalogue.OUT / "debootstrap.log")
        for leftover in (root / "var/cache/apt/archives").glob("*.deb"):
            leftover.unlink()
        with step(f"{name}, by {tool.name}"):
            subprocess.run(["tar", "-C", root, "--one-file-system", "-cf", archive, "."], check=True)
            _import(tool, archive, name, platform)


def _import(tool: Tool, archive: Path, name: str, platform: str) -> None:
    if tool.name == "buildah":
        container = tool.text("from", *(["--platform", platform] if platform else []), "scratch")
        try:
            tool.text("add", "--quiet", container, str(archive), "/")
            tool.text("commit", "--quiet", container, name)
        finally:
            tool.text("rm", container)
    else:
        tool.text("import", *(["--platform", platform] if platform else []), str(archive), name)


def main() -> int:
    """Command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m deploy.images.base", description=__doc__)
    parser.add_argument("--name", default=NAME, help="default: %(default)s")
    parser.add_argument("--mirror", default="", help="URL of a Debian mirror; default: debootstrap's")
    parser.add_argument("--platform", default="", help="e.g. linux/arm64; default: this machine's")
    options = parser.parse_args()
    catalogue.OUT.mkdir(parents=True, exist_ok=True)
    name = catalogue.base_for(options.name, options.platform)
    try:
        make(find(), name, options.mirror, options.platform)
    except (ImageError, SetupError) as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    say(f"Then: make images BASE={options.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
