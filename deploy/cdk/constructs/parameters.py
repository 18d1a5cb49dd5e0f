"""Parameter Store: the entries of the one list (`deploy.cdk.parameters`) that a stack makes."""

from __future__ import annotations

from collections.abc import Mapping

from aws_cdk import aws_ssm
from constructs import Construct

from deploy.cdk import names
from deploy.cdk.parameters import Parameter
from deploy.cdk.settings import Environment


class Parameters(Construct):
    """Makes each parameter with its value from `sources`; a source that the stack does not have is a KeyError."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        env: Environment,
        *,
        entries: tuple[Parameter, ...],
        sources: Mapping[str, str],
    ) -> None:
        super().__init__(scope, construct_id)
        for entry in entries:
            logical = "".join(word.capitalize() for word in f"{entry.folder}_{entry.name}".split("_"))
            aws_ssm.CfnParameter(
                self,
                logical,
                name=names.parameter(env, entry.folder, entry.name),
                type="String",
                value=sources[f"text:{entry.name}" if entry.source == "text" else entry.source],
                description=f"{entry.description} ({entry.type}); read by {', '.join(entry.readers)}",
            )
