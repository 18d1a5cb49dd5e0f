"""The images in ECR: built and pushed where they are not there yet, scanned, and signed.

A tag names a version for ever (the repositories refuse to move one), so an image that is there is not built again. ECR
signs what is pushed (managed signing: the stack Registry holds the rule and the profile) and scans it; a roll-out goes
on when both have ended well. See ADR 0016.
"""

from __future__ import annotations

import base64
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from botocore.exceptions import ClientError

from deploy.cdk import names
from deploy.cdk.settings import Environment
from deploy.images import build, catalogue
from deploy.images.tools import Build, Tool, platform_of
from deploy.rollout.errors import RolloutError

_PATIENCE: Final = 900.0  # seconds; both take one or two minutes
# Findings of this severity stop a roll-out (ECR's own words).
REFUSED: Final = "CRITICAL"
_SCANNED: Final = frozenset({"COMPLETE", "ACTIVE"})  # basic; enhanced, which goes on for ever


@dataclass
class Registry:
    """The repositories of one environment."""

    ecr: Any  # botocore makes its clients at run time
    env: Environment
    say: Callable[[str], None]
    pause: float = 5.0
    sleep: Callable[[float], None] = time.sleep

    @property
    def host(self) -> str:
        """The registry's address."""
        return f"{self.env.account}.dkr.ecr.{self.env.region}.amazonaws.com"

    def missing(self, tag: str) -> list[str]:
        """Services whose image of that tag is not there."""
        return [service for service in catalogue.SERVICES if not self._there(service, tag)]

    def ensure(self, find: Callable[[], Tool], tag: str, base: str, revision: catalogue.Revision) -> None:
        """Builds and pushes what is missing, then waits for signature and scan. Raises `RolloutError`, `ImageError`.

        `find` looks for a builder: only where something is to be built.
        """
        if missing := self.missing(tag):
            tool = find()
            for service in missing:
                self._build(tool, service, Build(base, tag, revision, catalogue.PLATFORMS[service]))
            self._log_in(tool)
            for service in missing:
                target = f"{self.host}/{names.repository(self.env, service)}:{tag}"
                tool.push(catalogue.reference(service, tag), target)
                self.say(f"    pushed {target}")
        else:
            self.say(f"    all images of {tag} are there")
        for service in catalogue.SERVICES:
            self._signed(service, tag)
            self._scanned(service, tag)

    def _build(self, tool: Tool, service: str, options: Build) -> None:
        image = catalogue.reference(service, options.tag)
        if tool.exists(image) and platform_of(tool, image) == options.platform:
            self.say(f"    {image} is built")
            return
        build.build(tool, [service], options)

    def _log_in(self, tool: Tool) -> None:
        token = self.ecr.get_authorization_token()["authorizationData"][0]["authorizationToken"]
        user, _, password = base64.b64decode(token).decode().partition(":")
        tool.login(self.host, user, password)

    def _there(self, service: str, tag: str) -> bool:
        try:
            self.ecr.describe_images(**self._image(service, tag, several=True))
        except ClientError as error:
            if error.response["Error"]["Code"] == "ImageNotFoundException":
                return False
            raise
        return True

    def _signed(self, service: str, tag: str) -> None:
        """Waits until ECR has signed the image. Raises `RolloutError` where it failed or does not sign."""

        def status() -> tuple[str, str]:
            answer = self.ecr.describe_image_signing_status(**self._image(service, tag))
            found = answer.get("signingStatuses", [])
            reason = "; ".join(item["failureReason"] for item in found if item.get("failureReason"))
            states = {item["status"] for item in found}
            if "FAILED" in states:
                return "FAILED", reason
            return ("COMPLETE" if states == {"COMPLETE"} else "IN_PROGRESS"), "no signing rule matches the repository"

        state, reason = self._wait(status)
        if state != "COMPLETE":
            raise RolloutError(f"{names.repository(self.env, service)}:{tag} is not signed: {reason}")
        self.say(f"    {service}: signed")

    def _scanned(self, service: str, tag: str) -> None:
        """Waits for the scan. Raises `RolloutError` for findings that are refused, and where there is no scan."""

        def status() -> tuple[str, str]:
            try:
                answer = self.ecr.describe_image_scan_findings(**self._image(service, tag), maxResults=1)
            except ClientError as error:
                if error.response["Error"]["Code"] == "ScanNotFoundException":
                    return "PENDING", "scan on push is off"
                raise
            found = answer["imageScanStatus"]
            counts.update(answer.get("imageScanFindings", {}).get("findingSeverityCounts", {}))
            state = "COMPLETE" if found["status"] in _SCANNED else found["status"]
            return state, found.get("description", "")

        counts: dict[str, int] = {}
        state, reason = self._wait(status)
        if state != "COMPLETE":
            raise RolloutError(
                f"{names.repository(self.env, service)}:{tag} is not scanned: {state}, {reason or 'no reason given'}; "
                'rollout.image_scan = "enhanced" reads more kinds of images than "basic"'
            )
        self.say(f"    {service}: scanned, {_told(counts)}")
        if counts.get(REFUSED):
            repository = names.repository(self.env, service)
            raise RolloutError(
                f"{repository}:{tag} has {counts[REFUSED]} findings of severity {REFUSED}; see\n"
                f"  aws ecr describe-image-scan-findings --repository-name {repository} --image-id imageTag={tag}"
            )

    def _wait(self, status: Callable[[], tuple[str, str]]) -> tuple[str, str]:
        deadline = time.monotonic() + _PATIENCE
        while True:
            state, reason = status()
            if state not in {"IN_PROGRESS", "PENDING"} or time.monotonic() > deadline:
                return state, reason
            self.sleep(self.pause)

    def _image(self, service: str, tag: str, *, several: bool = False) -> dict[str, Any]:
        image = {"imageTag": tag}
        return {
            "repositoryName": names.repository(self.env, service),
            **({"imageIds": [image]} if several else {"imageId": image}),
        }


def _told(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {severity.lower()}" for severity, count in counts.items()) or "nothing found"
