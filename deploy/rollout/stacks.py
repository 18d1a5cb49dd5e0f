"""Brings one CloudFormation stack to what its template says: by a change set that is shown before it is executed.

Whatever state an earlier attempt has left is dealt with first: what is under way is waited for, a first creation that
was rolled back is deleted (nothing of it is left), an update that was rolled back is simply repeated.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final

from botocore.exceptions import ClientError

from deploy.cdk.synth import INLINE_LIMIT
from deploy.local.cloudformation import failures, outputs
from deploy.rollout import changes
from deploy.rollout.assembly import Stack
from deploy.rollout.errors import RolloutError

Say = Callable[[str], None]

# Roles with names of ours; the transform that makes the rotation functions of the secrets.
CAPABILITIES: Final = ("CAPABILITY_NAMED_IAM", "CAPABILITY_AUTO_EXPAND")
# Seconds. A database takes 15 minutes; services take their bake, and as long again where they are rolled back.
_PATIENCE: Final = 3 * 3600.0
_LARGEST: Final = 1_000_000  # bytes of a template in a bucket
_UNCHANGED: Final = ("didn't contain changes", "No updates are to be performed", "NoStackChanges")
_NEVER_MADE: Final = frozenset({"ROLLBACK_COMPLETE", "ROLLBACK_FAILED", "CREATE_FAILED"})
_STUCK: Final = frozenset({"UPDATE_ROLLBACK_FAILED", "IMPORT_ROLLBACK_FAILED"})
_WHOLE: Final = frozenset({"CREATE_COMPLETE", "UPDATE_COMPLETE", "IMPORT_COMPLETE"})


@dataclass
class Stacks:
    """The stacks of one account and region. `pause`: seconds between two looks."""

    formation: Any  # botocore makes its clients at run time
    s3: Any
    say: Say
    pause: float = 5.0
    sleep: Callable[[float], None] = time.sleep

    def deploy(
        self, stack: Stack, parameters: Mapping[str, str], bucket: str, accepted: Collection[str] = ()
    ) -> dict[str, str]:
        """Brings a stack up to date and returns its outputs; does nothing where it is.

        `bucket` takes a template that is too large to be sent along; empty where there is none yet. `accepted`:
        logical ids that may be removed or replaced though they hold state. Raises `RolloutError`.
        """
        kind = self._prepare(stack.name)
        change_set = self._propose(stack, parameters, bucket, kind)
        if change_set is None:
            self.say(f"    {stack.name}: nothing to change")
        else:
            self._refuse_losses(stack, change_set, accepted)
            self._execute(stack, change_set["ChangeSetName"])
        if stack.protected:
            self.formation.update_termination_protection(StackName=stack.name, EnableTerminationProtection=True)
        found = self._describe(stack.name)
        if found is None:
            raise RolloutError(f"{stack.name} is gone: somebody has deleted it meanwhile")
        return outputs(found)

    def preview(self, stack: Stack, parameters: Mapping[str, str], bucket: str) -> None:
        """Says what `deploy` would change, and changes nothing. Raises `RolloutError`."""
        found = self._describe(stack.name)
        if found is None or found["StackStatus"] in {"REVIEW_IN_PROGRESS", *_NEVER_MADE}:
            self.say(f"    {stack.name}: would be made, with {stack.resources} resources")
            return
        if found["StackStatus"].endswith("_IN_PROGRESS"):
            raise RolloutError(f"{stack.name} is {found['StackStatus']}: try again when that is over")
        change_set = self._propose(stack, parameters, bucket, "UPDATE")
        if change_set is None:
            self.say(f"    {stack.name}: nothing to change")
            return
        self._show(stack, change_set)
        self.formation.delete_change_set(StackName=stack.name, ChangeSetName=change_set["ChangeSetName"])

    def outputs(self, name: str) -> dict[str, str]:
        """The outputs of a stack as it is; none where it is not."""
        found = self._describe(name)
        return {} if found is None else outputs(found)

    def _prepare(self, name: str) -> str:
        """The type of change set that the stack's state asks for, once it is in one that takes a change set."""
        found = self._settled(name)
        if found is None or found["StackStatus"] == "REVIEW_IN_PROGRESS":
            return "CREATE"
        state = found["StackStatus"]
        if state in _NEVER_MADE:
            self.say(f"    {name}: its first creation had failed; what is left of it is deleted")
            self.formation.delete_stack(StackName=name)
            left = self._settled(name)
            if left is not None:
                raise RolloutError(f"{name} cannot be deleted ({left['StackStatus']}):\n{self._failures(name)}")
            return "CREATE"
        if state == "DELETE_FAILED":  # somebody wanted it gone, and it may still hold data: not for us to finish
            raise RolloutError(f"{name} is half deleted. Delete it, or keep what hinders that:\n{self._failures(name)}")
        if state in _STUCK:
            raise RolloutError(
                f"{name} is {state}: its way back failed too. See what hinders it below, then\n"
                f"  aws cloudformation continue-update-rollback --stack-name {name}\n{self._failures(name)}"
            )
        return "UPDATE"

    def _propose(self, stack: Stack, parameters: Mapping[str, str], bucket: str, kind: str) -> dict[str, Any] | None:
        """A change set that can be executed, with its changes; None where there are none."""
        # Never the same twice: one that was executed keeps its name as long as its stack.
        name = f"darkroom-{hashlib.sha256(stack.body.encode()).hexdigest()[:12]}-{secrets.token_hex(6)}"
        self.formation.create_change_set(
            StackName=stack.name,
            ChangeSetName=name,
            ChangeSetType=kind,
            Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()],
            Tags=[{"Key": key, "Value": value} for key, value in stack.tags.items()],
            Capabilities=list(CAPABILITIES),
            **self._template(stack, bucket),
        )
        found = self._wait_for_change_set(stack.name, name)
        if found["Status"] == "FAILED":
            reason = found.get("StatusReason", "")
            self.formation.delete_change_set(StackName=stack.name, ChangeSetName=name)
            if any(text in reason for text in _UNCHANGED):
                return None
            raise RolloutError(f"{stack.name}: CloudFormation refuses the change: {reason}")
        return found

    def _template(self, stack: Stack, bucket: str) -> dict[str, str]:
        if stack.size <= INLINE_LIMIT:
            return {"TemplateBody": stack.body}
        if stack.size > _LARGEST:
            raise RolloutError(f"{stack.name}: the template has {stack.size} bytes; CloudFormation takes {_LARGEST}")
        if not bucket:
            raise RolloutError(f"{stack.name}: the template has {stack.size} bytes, and Registry's bucket is not there")
        key = f"{stack.name}/{hashlib.sha256(stack.body.encode()).hexdigest()}.json"
        self.s3.put_object(Bucket=bucket, Key=key, Body=stack.body.encode(), ContentType="application/json")
        region = self.s3.meta.region_name
        return {"TemplateURL": f"https://{bucket}.s3.{region}.amazonaws.com/{key}"}

    def _wait_for_change_set(self, stack: str, name: str) -> dict[str, Any]:
        """The change set with all its changes, once CloudFormation has made or refused it."""
        deadline = time.monotonic() + _PATIENCE
        while True:
            found: dict[str, Any] = self.formation.describe_change_set(StackName=stack, ChangeSetName=name)
            if found["Status"] in {"CREATE_COMPLETE", "FAILED"}:
                break
            if time.monotonic() > deadline:
                raise RolloutError(f"{stack}: CloudFormation does not say what would change")
            self.sleep(min(self.pause, 2))
        page = found
        while token := page.get("NextToken"):
            page = self.formation.describe_change_set(StackName=stack, ChangeSetName=name, NextToken=token)
            found["Changes"] += page["Changes"]
        return {**found, "Changes": found.get("Changes", []), "ChangeSetName": name}

    def _show(self, stack: Stack, change_set: Mapping[str, Any]) -> None:
        self.say(f"    {stack.name}: {len(change_set['Changes'])} change(s)")
        for line in changes.lines(change_set["Changes"]):
            self.say(f"      {line}")

    def _refuse_losses(self, stack: Stack, change_set: Mapping[str, Any], accepted: Collection[str]) -> None:
        self._show(stack, change_set)
        if lost := sorted(set(changes.losses(change_set["Changes"])) - set(accepted)):
            self.formation.delete_change_set(StackName=stack.name, ChangeSetName=change_set["ChangeSetName"])
            raise RolloutError(
                f"{stack.name}: {', '.join(lost)} would be removed or replaced, and what it holds would be lost.\n"
                f'Nothing of this stack was changed. If that is meant: make deploy … ACCEPT_LOSS="{" ".join(lost)}"'
            )

    def _execute(self, stack: Stack, change_set: str) -> None:
        since = self._newest_event(stack.name)
        self.formation.execute_change_set(StackName=stack.name, ChangeSetName=change_set)
        found = self._settled(stack.name, after=since)
        if found is None or found["StackStatus"] not in _WHOLE:
            state = found["StackStatus"] if found else "gone"
            raise RolloutError(
                f"{stack.name} is {state}:\n{self._failures(stack.name, since)}\n"
                "CloudFormation has brought back what was there before. Mend the cause and run the same command again."
            )

    def _settled(self, name: str, after: str | None = None) -> dict[str, Any] | None:
        """The stack once nothing is under way; None where there is none. Prints what happens to its resources."""
        deadline = time.monotonic() + _PATIENCE
        seen = after
        told = False
        while True:
            found = self._describe(name)
            state = "" if found is None else found["StackStatus"]
            under_way = state.endswith("_IN_PROGRESS") and state != "REVIEW_IN_PROGRESS"
            if after is not None:
                seen = self._tell(name, seen)
            elif under_way and not told:
                self.say(f"    {name} is {state}: waiting for it")
                told = True
            if not under_way:
                return found
            if time.monotonic() > deadline:
                raise RolloutError(f"{name} is still {state} after {_PATIENCE / 3600:.0f} hours")
            self.sleep(self.pause)

    def _tell(self, name: str, seen: str | None) -> str | None:
        """Prints the events that came after `seen`, oldest first; returns the newest one's id."""
        new = self._events(name, seen)
        for event in reversed(new):
            state = event.get("ResourceStatus", "")
            if state.endswith(("_COMPLETE", "_FAILED")):
                reason = event.get("ResourceStatusReason", "") if state.endswith("_FAILED") else ""
                self.say(f"      {state:<24} {event['LogicalResourceId']}{': ' if reason else ''}{reason}")
        return new[0]["EventId"] if new else seen

    def _events(self, name: str, since: str | None) -> list[dict[str, Any]]:
        """Events newer than `since`, newest first."""
        new: list[dict[str, Any]] = []
        for page in self.formation.get_paginator("describe_stack_events").paginate(StackName=name):
            for event in page["StackEvents"]:
                if event["EventId"] == since:
                    return new
                new.append(event)
        return new

    def _newest_event(self, name: str) -> str:
        events = self.formation.describe_stack_events(StackName=name)["StackEvents"]
        return str(events[0]["EventId"]) if events else ""

    def _failures(self, name: str, since: str | None = None) -> str:
        return failures(self._events(name, since))

    def _describe(self, name: str) -> dict[str, Any] | None:
        try:
            found: dict[str, Any] = self.formation.describe_stacks(StackName=name)["Stacks"][0]
        except ClientError as error:
            if "does not exist" in str(error):
                return None
            raise
        return None if found["StackStatus"] == "DELETE_COMPLETE" else found
