"""Builds the container images: `make images [BASE=image] [SERVICES="gateway …"]`.

Takes docker, podman or buildah, whichever it finds; rootful chroot isolation works where nothing else does. Prints
each image's size, fails where one is over its limit, and writes its bill of materials to `.cache/images/`.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
OUT: Final = ROOT / ".cache" / "images"
DEFAULT_BASE: Final = "debian:bookworm-slim"
# Where Debian keeps the certificates: given to the build, for networks that have an authority of their own.
_CERTIFICATES: Final = Path("/etc/ssl/certs/ca-certificates.crt")
# Most megabytes (10^6 bytes) uncompressed: a task's start is mostly the pull of its image.
SIZE_LIMITS: Final = {"gateway": 150, "presign_svc": 150, "metadata_svc": 150, "image_svc": 220}


def builder() -> str:
    """The first of docker, podman and buildah that works here. Raises SystemExit where none does."""
    checks = {"docker": ["docker", "info"], "buildah": ["buildah", "info"], "podman": ["podman", "info"]}
    for name, check in checks.items():
        if shutil.which(name) and subprocess.run(check, capture_output=True, check=False).returncode == 0:
            return name
    raise SystemExit(
        "No container builder works here: images need docker (with its engine running), podman or buildah. "
        "On Debian: apt-get install buildah podman runc"
    )


def build(tool: str, service: str, base: str, log: Path) -> None:
    """Builds one image as `darkroom/<service>`; what the builder prints goes to the log. Raises SystemExit."""
    common = [
        "--build-arg",
        f"BASE={base}",
        "--target",
        service,
        "-t",
        f"darkroom/{service}",
        "-f",
        "deploy/images/Dockerfile",
    ]
    if tool == "docker":
        command = ["docker", "build", *common, "."]
    else:
        isolation = ["--isolation", "chroot", "--network", "host", "--format", "docker", "--layers"]
        if _CERTIFICATES.exists():
            isolation += ["-v", f"{_CERTIFICATES}:{_CERTIFICATES}:ro"]
        command = [tool, "build", *isolation, *common, "."]
    with log.open("wb") as out:
        if subprocess.run(command, cwd=ROOT, stdout=out, stderr=subprocess.STDOUT, check=False).returncode:
            tail = "\n".join(log.read_text(errors="replace").splitlines()[-15:])
            raise SystemExit(f"{service}: the build failed; the end of {log}:\n{tail}")


def size(tool: str, service: str) -> int:
    """The image's uncompressed size in bytes."""
    if tool == "buildah":
        listing = subprocess.run(
            ["buildah", "images", "--json", f"darkroom/{service}"], capture_output=True, text=True, check=True
        ).stdout
        text = json.loads(listing)[0]["size"]  # as people read it: "101 MB"
        number, unit = text.split()
        return int(float(number) * {"KB": 1e3, "MB": 1e6, "GB": 1e9}[unit])
    answer = subprocess.run(
        [tool, "image", "inspect", "-f", "{{.Size}}", f"darkroom/{service}"], capture_output=True, text=True, check=True
    )
    return int(answer.stdout)


def extract_sbom(tool: str, service: str) -> Path:
    """Copies the bill of materials out of the image."""
    target = OUT / f"{service}.cdx.json"
    if tool == "buildah":
        container = _text("buildah", "from", f"localhost/darkroom/{service}")
        mounted = Path(_text("buildah", "mount", container))
        shutil.copy2(mounted / "sbom.cdx.json", target)
        _text("buildah", "rm", container)
    else:
        container = _text(tool, "create", f"darkroom/{service}")
        _text(tool, "cp", f"{container}:/sbom.cdx.json", str(target))
        _text(tool, "rm", container)
    return target


def _text(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def main() -> None:
    """Builds what was asked for and prints a line an image."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base", default=DEFAULT_BASE, help=f"a Debian 12 image ({DEFAULT_BASE})")
    parser.add_argument("services", nargs="*", default=list(SIZE_LIMITS), metavar="SERVICE")
    options = parser.parse_args()
    unknown = set(options.services) - set(SIZE_LIMITS)
    if unknown:
        parser.error(f"no such service: {', '.join(sorted(unknown))}; there are {', '.join(SIZE_LIMITS)}")
    tool = builder()
    OUT.mkdir(parents=True, exist_ok=True)
    print(f"building with {tool} on {options.base}", flush=True)
    too_large = []
    for service in options.services:
        started = time.monotonic()
        print(f"  {service:<13} …", end="", flush=True)
        build(tool, service, options.base, OUT / f"{service}.log")
        megabytes, limit = size(tool, service) / 1e6, SIZE_LIMITS[service]
        bill = json.loads(extract_sbom(tool, service).read_text())
        print(
            f" {megabytes:4.0f} MB of at most {limit}, {len(bill['components'])} components,"
            f" {time.monotonic() - started:.0f} s",
            flush=True,
        )
        if megabytes > limit:
            too_large.append(service)
    if too_large:
        sys.exit(f"over the size limit: {', '.join(too_large)}")
    print(f"bills of materials (CycloneDX) are in {OUT.relative_to(ROOT)}/")


if __name__ == "__main__":
    main()
