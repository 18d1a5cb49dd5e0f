"""Settings: environment variables over Parameter Store over defaults; secret values from Secrets Manager.

A service declares a subclass of `ServiceSettings`. `load` reads `/darkroom/<stage>/shared/*` and
`/darkroom/<stage>/<service>/*` from Parameter Store and lets environment variables override them: the setting
`pool_size` of metadata_svc is the variable `METADATA_SVC_POOL_SIZE` and the parameter
`/darkroom/<stage>/metadata_svc/pool_size`; what every service shares (`AWS_REGION`, `AWS_ENDPOINT_URL`,
`DARKROOM_STAGE`, `LOG_LEVEL`) has no prefix. A setting holds a secret's *name*, never its value; the value is
fetched with `read_secret` where it is used.
"""

from __future__ import annotations

import os
from contextlib import AsyncExitStack
from typing import Any, ClassVar, Literal, TypeVar

import msgspec
from aiobotocore.session import AioSession
from botocore.exceptions import BotoCoreError, ClientError
from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict


class SettingsError(Exception):
    """A setting is missing or wrong; the text names each one, and where it is set."""


class AwsSettings(BaseSettings):
    """Where AWS is. These come from the environment alone: they are needed to read everything else."""

    model_config = SettingsConfigDict(extra="ignore", frozen=True)

    stage: str = Field("local", validation_alias="DARKROOM_STAGE", description="Deployment: local, dev, staging, prod.")
    aws_region: str = Field("ap-northeast-2", validation_alias="AWS_REGION", description="AWS region.")
    aws_endpoint_url: str | None = Field(
        None, validation_alias="AWS_ENDPOINT_URL", description="Endpoint of an emulator; AWS's own where not set."
    )
    s3_addressing_style: Literal["virtual", "path"] = Field(
        "virtual", validation_alias="S3_ADDRESSING_STYLE", description="`path` for emulators without wildcard DNS."
    )


class ServiceSettings(AwsSettings):
    """What every service has. Subclasses name themselves in `service` and their `env_prefix`."""

    service: ClassVar[str]

    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", validation_alias="LOG_LEVEL", description="Least level that is logged."
    )
    listen_host: str = Field("127.0.0.1", description="Address to listen on; 0.0.0.0 in a container.")
    listen_port: int = Field(0, ge=0, le=65535, description="Port to listen on; 0 for any free one.")
    drain_seconds: float = Field(
        25.0, gt=0, le=110, description="Longest time for work in hand to end after SIGTERM; ECS kills after 120 s."
    )


_Settings = TypeVar("_Settings", bound=ServiceSettings)


async def load(cls: type[_Settings], aws: AioSession) -> _Settings:
    """Reads the settings of one service. Raises `SettingsError` with the name of every setting that is wrong."""
    try:
        stored = await _parameters(cls, aws, AwsSettings())
        return cls(**stored)
    except (BotoCoreError, ClientError) as error:
        where = AwsSettings().aws_endpoint_url or "AWS"
        raise SettingsError(f"{cls.service}: cannot read Parameter Store of {where}: {error}") from None
    except ValidationError as error:
        lines = [f"{_variable(cls, str(e['loc'][0]))}: {e['msg']} (got {e['input']!r})" for e in error.errors()]
        raise SettingsError(
            f"{cls.service}: {len(lines)} setting(s) missing or wrong; set the variable, or the parameter of that "
            f"name under /darkroom/<stage>/{cls.service}/:\n  " + "\n  ".join(lines)
        ) from None


async def read_secret(secrets_manager: Any, name: str) -> dict[str, Any]:
    """The current value of a secret that holds a JSON object."""
    answer = await secrets_manager.get_secret_value(SecretId=name)
    value: dict[str, Any] = msgspec.json.decode(answer["SecretString"], type=dict[str, Any])
    return value


def _variable(cls: type[ServiceSettings], name: str) -> str:
    """The environment variable of a field, given by its name or its alias."""
    field = cls.model_fields.get(name)
    if field is None:
        return name
    if isinstance(field.validation_alias, str):
        return field.validation_alias
    return f"{cls.model_config.get('env_prefix', '')}{name}".upper()


async def _parameters(cls: type[ServiceSettings], aws: AioSession, where: AwsSettings) -> dict[str, Any]:
    """What Parameter Store has for the service's fields, as keyword arguments, less what the environment overrides."""
    from runtime.aws import client  # the two modules need each other: clients are made from settings

    values: dict[str, str] = {}
    async with AsyncExitStack() as stack:
        ssm = await client(stack, aws, "ssm", where)
        for folder in ("shared", cls.service):
            prefix = f"/darkroom/{where.stage}/{folder}/"
            async for page in ssm.get_paginator("get_parameters_by_path").paginate(Path=prefix):
                values |= {item["Name"].removeprefix(prefix): item["Value"] for item in page["Parameters"]}
    return {
        str(field.validation_alias or name): values[name]
        for name, field in cls.model_fields.items()
        if name in values and _variable(cls, name) not in os.environ
    }
