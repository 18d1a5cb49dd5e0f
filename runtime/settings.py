"""Settings: environment variables over Parameter Store over defaults; secret values from Secrets Manager.

A service declares a subclass of `ServiceSettings`. `load` reads `/darkroom/<stage>/shared/*` and
`/darkroom/<stage>/<service>/*` from Parameter Store and lets environment variables override them: the setting
`pool_size` of metadata_svc is the variable `METADATA_SVC_POOL_SIZE` and the parameter
`/darkroom/<stage>/metadata_svc/pool_size`; what every service shares (`AWS_REGION`, `AWS_ENDPOINT_URL`,
`DARKROOM_STAGE`, `LOG_LEVEL`) has no prefix. A setting holds a secret's *name*, never its value; the value is
fetched with `read_secret` where it is used.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import Any, ClassVar, Literal, TypeVar

import msgspec
from aiobotocore.session import AioSession
from pydantic import Field, ValidationError
from pydantic_settings import EnvSettingsSource
from pydantic_settings import SettingsError as SourceError

from runtime import logs, parameters
from runtime.aws import AwsSettings
from runtime.parameters import ParameterStore, ParametersUnavailable
from runtime.watched import LookAgain, Read, Stored


class SettingsError(Exception):
    """A setting is missing or wrong; the text names each one, and where it is set."""


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
    """Reads the settings of one service, and sets the log level they ask for.

    Raises `SettingsError` with the name of every setting that is wrong, and the places where it can be set.
    """
    where = _of_environment()
    try:
        known = await _parameters(cls, aws, where)
    except ParametersUnavailable as error:
        raise SettingsError(
            f"{cls.service}: cannot read Parameter Store of {where.aws_endpoint_url or 'AWS'}: {error}"
        ) from None
    try:
        set_here = EnvSettingsSource(cls)()
        stored = _Parameters(cls, known)()
        settings = cls(**{name: value for name, value in stored.items() if name not in set_here})
    except SourceError as error:  # a list or an object that is not JSON
        raise SettingsError(f"{cls.service}: {error}: {error.__cause__}") from None
    except ValidationError as error:
        raise SettingsError(_told(cls, where.stage, error)) from None
    logs.set_level(settings.log_level)
    return settings


async def reader(stack: AsyncExitStack, settings: ServiceSettings, aws: AioSession, name: str) -> Read | None:
    """How to read the parameter of one setting anew, with a client that closes with the stack; None where the
    environment sets it, so that nothing changes while the process runs.
    """
    cls = type(settings)
    if name in EnvSettingsSource(cls)():
        return None
    store = await parameters.opened(stack, aws, settings)

    async def read() -> Stored | None:
        # By folder, as at the start: that is what the roles of the services allow.
        try:
            return (await _stored(store, cls, settings.stage)).get(name)
        except ParametersUnavailable as error:
            raise LookAgain(f"Parameter Store: {error}") from None

    return read


async def read_secret(secrets_manager: Any, name: str) -> dict[str, Any]:
    """The current value of a secret that holds a JSON object."""
    answer = await secrets_manager.get_secret_value(SecretId=name)
    value: dict[str, Any] = msgspec.json.decode(answer["SecretString"], type=dict[str, Any])
    return value


class _Parameters(EnvSettingsSource):
    """Reads parameters as if they were the environment variables of the same settings: same names, same forms."""

    def __init__(self, cls: type[ServiceSettings], parameters: Mapping[str, str]) -> None:
        super().__init__(cls)
        self.env_vars = {
            _variable(cls, name).lower(): parameters[name] for name in cls.model_fields if name in parameters
        }


def _of_environment() -> AwsSettings:
    try:
        return AwsSettings()
    except ValidationError as error:
        raise SettingsError(_told(AwsSettings, "", error)) from None


def _told(cls: type[AwsSettings], stage: str, error: ValidationError) -> str:
    lines = []
    for found in error.errors():
        if not found["loc"]:  # two settings that do not fit together
            lines.append(found["msg"])
            continue
        name = _name(cls, str(found["loc"][0]))
        places = _variable(cls, name)
        if issubclass(cls, ServiceSettings) and name not in AwsSettings.model_fields:
            places += f" (or parameter /darkroom/{stage}/{cls.service}/{name})"
        given = "" if found["type"] == "missing" else f" (got {found['input']!r})"
        lines.append(f"{places}: {found['msg']}{given}")
    who = cls.service if issubclass(cls, ServiceSettings) else "environment"
    return f"{who}: {len(lines)} setting(s) missing or wrong:\n  " + "\n  ".join(lines)


def _name(cls: type[AwsSettings], location: str) -> str:
    """The field that a validation error is about, which names it by its alias where it has one."""
    for name, field in cls.model_fields.items():
        if location in {name, field.validation_alias}:
            return name
    return location


def _variable(cls: type[AwsSettings], name: str) -> str:
    """The environment variable of a field."""
    field = cls.model_fields.get(name)
    if field is not None and isinstance(field.validation_alias, str):
        return field.validation_alias
    return f"{cls.model_config.get('env_prefix', '')}{name}".upper()


async def _parameters(cls: type[ServiceSettings], aws: AioSession, where: AwsSettings) -> dict[str, str]:
    """What Parameter Store holds for the service; its own folder over the shared one."""
    async with AsyncExitStack() as stack:
        store = await parameters.opened(stack, aws, where)
        return {name: stored.text for name, stored in (await _stored(store, cls, where.stage)).items()}


async def _stored(store: ParameterStore, cls: type[ServiceSettings], stage: str) -> dict[str, Stored]:
    values: dict[str, Stored] = {}
    for folder in ("shared", cls.service):
        values |= await store.folder(f"/darkroom/{stage}/{folder}/")
    return values
