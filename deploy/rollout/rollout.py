"""Carries the steps of a plan out, one after the other."""

from __future__ import annotations

import socket
import time
import urllib.request
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from deploy.cdk.settings import Environment
from deploy.images import catalogue, tools
from deploy.images.tools import Tool
from deploy.rollout.assembly import Stack
from deploy.rollout.errors import RolloutError
from deploy.rollout.plan import ORDER, Step
from deploy.rollout.registry import Registry
from deploy.rollout.stacks import Stacks
from deploy.rollout.tasks import Tasks

# The API's description: no key is needed, and the gateway itself answers it.
_PATH: Final = "/openapi.json"
_ANSWERS: Final = 120.0  # seconds; a new stage of API Gateway is known everywhere after some

Clients = Callable[[str], Any]  # botocore's client of a service, by its name


@dataclass
class Rollout:
    """One roll-out. `clients` makes the clients; `accepted`: see `Stacks.deploy`; `pause` in seconds."""

    env: Environment
    assembly: Sequence[Stack]
    tag: str
    base: str
    clients: Clients
    say: Callable[[str], None]
    accepted: Collection[str] = ()
    find: Callable[[], Tool] = tools.find
    pause: float = 5.0
    outputs: dict[str, dict[str, str]] = field(default_factory=dict)  # of the stacks that are up to date, by unit

    def check(self) -> None:
        """Whether this is the account that the settings name. Raises `RolloutError`."""
        caller = self.clients("sts").get_caller_identity()
        if caller["Account"] != self.env.account:
            raise RolloutError(
                f"these credentials are of account {caller['Account']}, and {self.env.stage} belongs in "
                f"{self.env.account} (setting `account`). Nothing was changed."
            )
        self.say(f"As {caller['Arn']}, to {self.env.account} in {self.env.region}")

    def run(self, order: Sequence[Step] = ORDER) -> None:
        """Every step. Raises `RolloutError` at the first that fails; the same command then goes on from there."""
        for number, step in enumerate(order, 1):
            self.say(f"{number:>2}/{len(order)} {step.name or step.kind}: {step.text}")
            started = time.monotonic()
            self._take(step)
            self.say(f"    done in {time.monotonic() - started:.0f} s")

    def preview(self) -> None:
        """What each stack's change set would do; executes none of them. Raises `RolloutError`."""
        stacks = self._formation()
        by_unit = {stack.unit: stack for stack in self.assembly}
        bucket = stacks.outputs(by_unit["Registry"].name).get("TemplatesBucket", "")
        for step in ORDER:
            if step.kind == "stack":
                stacks.preview(by_unit[step.name], self._parameters(by_unit[step.name]), bucket)

    def _take(self, step: Step) -> None:
        match step.kind:
            case "stack":
                self._stack(step.name)
            case "images":
                registry = Registry(self.clients("ecr"), self.env, self.say, self.pause)
                registry.ensure(self.find, self.tag, self.base, catalogue.revision())
            case "task":
                self._tasks().run(step.name)
            case "settled":
                self._tasks().settled()
            case "answers":
                self._answers(self.outputs["Edge"]["ApiUrl"])

    def _stack(self, unit: str) -> None:
        found = [stack for stack in self.assembly if stack.unit == unit]
        if not found:
            raise RolloutError(f"the synth of {self.env.stage} has no stack {unit}")
        stacks = self._formation()
        bucket = self.outputs.get("Registry", {}).get("TemplatesBucket", "")
        self.outputs[unit] = stacks.deploy(found[0], self._parameters(found[0]), bucket, self.accepted)

    def _formation(self) -> Stacks:
        return Stacks(self.clients("cloudformation"), self.clients("s3"), self.say, self.pause)

    def _parameters(self, stack: Stack) -> Mapping[str, str]:
        return {"ImageTag": self.tag} if "ImageTag" in stack.parameters else {}

    def _tasks(self) -> Tasks:
        return Tasks(
            self.clients("ecs"),
            self.clients("logs"),
            {**self.outputs["Network"], **self.outputs["Cluster"]},
            self.say,
            self.pause,
        )

    def _answers(self, url: str) -> None:
        """Waits until the API answers. Raises `RolloutError` where it does not.

        A name of one's own that nobody resolves yet is no failure: its entry can be made only now.
        """
        address = url.rstrip("/") + _PATH
        deadline = time.monotonic() + _ANSWERS
        while True:
            try:
                with urllib.request.urlopen(address, timeout=10):  # noqa: S310  # CloudFormation's own output
                    self.say(f"    {url.rstrip('/')} answers")
                    return
            except OSError as error:  # what urllib raises is one
                target = self.outputs["Edge"].get("DomainTarget")
                if target and isinstance(getattr(error, "reason", None), socket.gaierror):
                    self.say(f"    {url} does not resolve yet: make a DNS entry that leads to {target}")
                    return
                if time.monotonic() > deadline:
                    raise RolloutError(f"{address} does not answer: {error}") from None
            time.sleep(self.pause)
