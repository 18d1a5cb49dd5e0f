"""Builds the container images: `make images [SERVICES="gateway …"] [BASE=image] [TAG=tag] [PLATFORM=linux/arm64]`.

Takes docker, buildah or podman, whichever works here. Looks into each image that it built: size, bill of materials, and
that no shell, compiler or package manager came along. Bills and the builders' logs go to `.cache/images/`.
"""

from __future__ import annotations

import argparse
import sys
import time

from deploy.images import catalogue, contents
from deploy.images.tools import Build, ImageError, Tool, find
from deploy.setup.console import say


def build(tool: Tool, services: list[str], options: Build) -> None:
    """Builds and checks images, and prints a line for each.

    Raises `ImageError` at once where one cannot be built, after the last where one is at fault.
    """
    catalogue.OUT.mkdir(parents=True, exist_ok=True)
    wrong: list[str] = []
    for service in services:
        started = time.monotonic()
        tool.build(service, options, catalogue.OUT / f"{service}.log")
        found = tool.contents(catalogue.reference(service, options.tag))
        limit = catalogue.SIZE_LIMITS[service]
        (catalogue.OUT / f"{service}.cdx.json").write_text(found.bill)
        say(
            f"  {catalogue.reference(service, options.tag):<32} {found.size / 1e6:4.0f} MB of at most {limit / 1e6:.0f}"
            f"  {time.monotonic() - started:4.0f} s"
        )
        wrong += [f"{service}: {fault}" for fault in contents.faults(found, limit)]
    if wrong:
        raise ImageError("\n".join(wrong))


def main() -> int:
    """Command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m deploy.images.build", description=__doc__)
    parser.add_argument("--base", default=catalogue.DEFAULT_BASE, help="a Debian 12 image; default: %(default)s")
    parser.add_argument("--tag", default=catalogue.DEFAULT_TAG, help="default: %(default)s")
    parser.add_argument("--platform", default="", help="e.g. linux/arm64; default: this machine's")
    parser.add_argument("services", nargs="*", default=list(catalogue.SERVICES), metavar="SERVICE")
    options = parser.parse_args()
    if unknown := sorted(set(options.services) - set(catalogue.SERVICES)):
        parser.error(f"there is no {', '.join(unknown)}; there are {', '.join(catalogue.SERVICES)}")
    revision = catalogue.revision()
    try:
        tool = find()
        say(f"Building with {tool.name} on {options.base}, at {revision.labels['org.opencontainers.image.revision']}")
        build(tool, options.services, Build(options.base, options.tag, revision, options.platform))
    except ImageError as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    say(f"Bills of materials (CycloneDX) and logs are in {catalogue.OUT.relative_to(catalogue.ROOT)}/")
    return 0


if __name__ == "__main__":
    sys.exit(main())
