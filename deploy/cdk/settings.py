"""The settings of one environment: `environments/<stage>.toml`, overridden by `DARKROOM_DEPLOY_<NAME>` and, for a
setting of a table, `DARKROOM_DEPLOY_<TABLE>__<NAME>`.

No setting has a default in code: what an environment is made of stands in its file, and a missing or wrong value stops
the synth with its name, what is allowed and an example. So prod differs from dev in values, not in code, and nothing
falls back to something weaker.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self, get_args, get_origin, overload

from pydantic import BaseModel, Field, StringConstraints, ValidationError, model_validator
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from deploy.cdk.tables.base import RULE, Table, wrong
from deploy.cdk.tables.database import Database
from deploy.cdk.tables.edge import Edge
from deploy.cdk.tables.network import Network
from deploy.cdk.tables.operation import LEAST_BAKE, Capacity, LoadBalancer, Rollout, ScheduledTasks
from deploy.cdk.tables.services import ApiTasks, GatewayTasks, WorkerTasks
from presign_svc.settings import Settings as Presign

Stage = Literal["local", "dev", "staging", "prod"]
STAGES: Final[tuple[str, ...]] = get_args(Stage)
ENVIRONMENTS: Final = Path(__file__).with_name("environments")
VARIABLE_PREFIX: Final = "DARKROOM_DEPLOY_"
# The account in which LocalStack puts everything that `test`/`test` makes.
EMULATOR_ACCOUNT: Final = "000000000000"

# Seconds that what presign_svc signs may live: a ticket; a download's URL, up to two windows (originals too).
_LONGEST_TICKET: Final[int] = Presign.model_fields["longest_ticket_seconds"].default
_LONGEST_DOWNLOAD: Final[int] = 2 * Presign.model_fields["download_window_seconds"].default

# As the gateway takes them, and with any port for pages on one machine.
Origin = Annotated[str, StringConstraints(pattern=r"^https?://[a-z0-9.-]+(:(\d{1,5}|\*))?$")]


class EnvironmentError(Exception):  # noqa: A001  # Python's own is an alias of OSError that nothing here uses
    """An environment's settings are missing or wrong; the text names each, what is allowed, and an example."""


class Environment(Table):
    """What every environment has, the emulator's too."""

    stage: Stage = Field(description="local, dev, staging or prod", examples=["dev"])
    account: str = Field(
        pattern=r"^\d{12}$",
        description="the AWS account's 12 digits; 000000000000 is the emulator's and local's alone",
        examples=["123456789012"],
    )
    region: str = Field(
        pattern=r"^[a-z]{2}(-[a-z]+)+-\d$", description="an AWS region's code", examples=["ap-northeast-2"]
    )
    browser_origins: tuple[Origin, ...] = Field(
        min_length=1,
        description="origins whose pages may upload and show images: scheme and host, https outside local, no wildcard "
        "but for a local port; in a variable separated by commas",
        examples=["https://photos.example.com"],
    )
    longest_ticket_seconds: int = Field(
        ge=120,
        le=43_200,
        description="seconds, 120 to 43200: no signature older than this writes to or reads from the incoming bucket; "
        "not below presign_svc's longest upload ticket (S3 may refuse at random below two minutes)",
        examples=["3600"],
    )
    longest_download_seconds: int = Field(
        ge=120,
        le=604_800,
        description="seconds, 120 to 604800: the same for the media bucket; not below the life of a variant's URL",
        examples=["7200"],
    )
    encryption: Literal["managed", "kms"] = Field(
        description="managed (SSE-S3, SSE-SQS; no cost) or kms (a key of our own: its use is logged and revocable, "
        "and whoever signs URLs needs grants on it); the emulator has managed only",
        examples=["managed"],
    )
    keep_data: bool = Field(
        description="true or false: whether buckets, secrets and the key outlive their stack; true in staging and prod",
        examples=["true"],
    )
    abort_multipart_days: int = Field(
        ge=1,
        le=30,
        description="days, 1 to 30: when S3 drops the parts of an upload that was never completed; above the life of "
        "a ticket, because a client may resume",
        examples=["2"],
    )
    colder_after_days: int = Field(
        ge=1,
        le=3650,
        description="days, 1 to 3650: when an object moves to the Intelligent-Tiering class, which is cheaper for what "
        "is seldom read and costs nothing to read",
        examples=["30"],
    )
    visibility_seconds: int = Field(
        ge=30,
        le=43_200,
        description="seconds, 30 to 43200: how long a received message stays hidden; the worker's heartbeat renews it, "
        "so that it bounds only the wait after a worker's sudden death",
        examples=["60"],
    )
    backlog_alarm_seconds: int = Field(
        ge=60,
        le=86_400,
        description="seconds, 60 to 86400: age of the oldest waiting message at which the alarm goes off",
        examples=["300"],
    )
    api_requests_per_second: int = Field(
        ge=1,
        le=10_000,
        description="requests a second, 1 to 10000 (an account's limit): the whole API",
        examples=["2000"],
    )
    api_burst: int = Field(ge=1, le=5_000, description="requests, 1 to 5000: the API's bucket size", examples=["1000"])
    key_requests_per_second: int = Field(
        ge=1, le=10_000, description="requests a second, 1 to 10000: one API key", examples=["200"]
    )
    key_burst: int = Field(ge=1, le=5_000, description="requests, 1 to 5000: one key's bucket size", examples=["400"])

    @property
    def local(self) -> bool:
        """Whether this is the emulator on one machine."""
        return self.stage == "local"

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.local != (self.account == EMULATOR_ACCOUNT):
            raise wrong("account", f"{EMULATOR_ACCOUNT} is the emulator's account: local has it, no other stage may")
        if not self.local:
            for origin in self.browser_origins:
                if not origin.startswith("https://") or "*" in origin:
                    raise wrong("browser_origins", f"{origin} is not https, or has a wildcard")
        if self.local and self.encryption == "kms":
            raise wrong("encryption", "the emulator cannot make KMS keys")
        if self.stage in {"staging", "prod"} and not self.keep_data:
            raise wrong("keep_data", f"{self.stage} keeps its data")
        if self.key_requests_per_second > self.api_requests_per_second:
            raise wrong("key_requests_per_second", "one key may not ask for more than the whole API serves")
        if self.longest_ticket_seconds < max(_LONGEST_TICKET, _LONGEST_DOWNLOAD):
            raise wrong("longest_ticket_seconds", _outlived(max(_LONGEST_TICKET, _LONGEST_DOWNLOAD)))
        if self.longest_download_seconds < _LONGEST_DOWNLOAD:
            raise wrong("longest_download_seconds", _outlived(_LONGEST_DOWNLOAD))
        if self.abort_multipart_days * 86_400 <= self.longest_ticket_seconds:
            raise wrong("abort_multipart_days", "parts would go while their ticket still holds")
        return self


class AwsEnvironment(Environment):
    """An environment on AWS: what the emulator has, and a table for each part that only AWS has."""

    network: Network = Field(description="the table [network]", examples=["[network]"])
    database: Database = Field(description="the table [database]", examples=["[database]"])
    edge: Edge = Field(description="the table [edge]", examples=["[edge]"])
    load_balancer: LoadBalancer = Field(description="the table [load_balancer]", examples=["[load_balancer]"])
    rollout: Rollout = Field(description="the table [rollout]", examples=["[rollout]"])
    capacity: Capacity = Field(description="the table [capacity]", examples=["[capacity]"])
    tasks: ScheduledTasks = Field(description="the table [tasks]", examples=["[tasks]"])
    gateway: GatewayTasks = Field(description="the table [gateway]", examples=["[gateway]"])
    presign_svc: ApiTasks = Field(description="the table [presign_svc]", examples=["[presign_svc]"])
    metadata_svc: ApiTasks = Field(description="the table [metadata_svc]", examples=["[metadata_svc]"])
    image_svc: WorkerTasks = Field(description="the table [image_svc]", examples=["[image_svc]"])

    @model_validator(mode="after")
    def _tables_agree(self) -> Self:
        rules = [*self._everywhere()]
        if self.stage != "dev":
            rules += self._outside_dev()
        if self.stage == "prod":
            rules += self._in_prod()
        for holds, name, reason in rules:
            if not holds:
                raise wrong(name, reason)
        return self

    def _everywhere(self) -> Iterator[tuple[bool, str, str]]:
        """Rules between tables: whether one holds, which setting to change where it does not, and why."""
        for zone in self.network.zones:
            yield zone.startswith(self.region), "network.zones", f"{zone} is not in {self.region}"
        for table, arn in (
            ("edge", self.edge.certificate_arn),
            ("load_balancer", self.load_balancer.certificate_arn),
        ):
            here = not arn or arn.split(":")[3:5] == [self.region, self.account]
            yield here, f"{table}.certificate_arn", f"{arn} is not of {self.region} and {self.account}"
        wanted, there = self.database.connections(self.metadata_svc.max_tasks), self.database.max_connections
        yield (
            wanted <= there,
            "database.max_acu",
            f"{wanted} connections are wanted (metadata_svc.max_tasks, twice, by the pools), {there} are there",
        )

    def _outside_dev(self) -> Iterator[tuple[bool, str, str]]:
        stage, balancer, database = self.stage, self.load_balancer, self.database
        yield bool(balancer.certificate_arn), "load_balancer.certificate_arn", f"{stage} speaks TLS to it"
        yield balancer.access_log_days > 0, "load_balancer.access_log_days", f"{stage} keeps its access log"
        for service in ("gateway", "presign_svc", "metadata_svc", "image_svc"):
            enough = getattr(self, service).min_tasks >= 2
            yield enough, f"{service}.min_tasks", f"{stage} outlives the death of a task"
        yield database.readers > 0, "database.readers", f"{stage} outlives the loss of the writer"
        bakes = self.rollout.bake_minutes >= LEAST_BAKE
        yield bakes, "rollout.bake_minutes", f"{stage} bakes until an alarm can speak, {LEAST_BAKE} minutes at least"
        yield self.edge.firewall, "edge.firewall", f"{stage} has a firewall"
        yield database.deletion_protection, "database.deletion_protection", f"{stage} protects its database"

    def _in_prod(self) -> Iterator[tuple[bool, str, str]]:
        network = self.network
        yield self.load_balancer.deletion_protection, "load_balancer.deletion_protection", "prod protects it"
        yield self.database.backup_days >= 7, "database.backup_days", "prod can go back a week"
        yield self.capacity.month_end, "capacity.month_end", "prod raises its capacity ahead of month-end"
        zones = not network.interface_endpoints or network.endpoint_zones > 1
        yield zones, "network.endpoint_zones", "prod outlives the loss of a zone"
        # With two, the third zone leaves through one of theirs.
        each = network.nat_gateways in {0, len(network.zones)}
        yield each, "network.nat_gateways", "prod outlives the loss of a zone: one in each, or none"


@overload
def load(
    stage: Literal["dev", "staging", "prod"], variables: Mapping[str, str] | None = None, folder: Path = ENVIRONMENTS
) -> AwsEnvironment: ...


@overload
def load(stage: str, variables: Mapping[str, str] | None = None, folder: Path = ENVIRONMENTS) -> Environment: ...


def load(stage: str, variables: Mapping[str, str] | None = None, folder: Path = ENVIRONMENTS) -> Environment:
    """The settings of a stage: an `AwsEnvironment` for every stage but local. `variables` are the process's own unless
    given. Raises `EnvironmentError` with a line for each setting that is missing or wrong.
    """
    variables = os.environ if variables is None else variables
    if stage not in STAGES:
        raise EnvironmentError(f"stage: there is no {stage!r}; allowed: {', '.join(STAGES)}; e.g. DARKROOM_STAGE=dev")
    model = Environment if stage == "local" else AwsEnvironment
    path = folder / f"{stage}.toml"
    try:
        values: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise EnvironmentError(
            f"{path}: {error}; allowed: a file of tables and settings, name = value; e.g. that of dev"
        ) from None
    values["stage"] = stage
    for name, field in model.model_fields.items():
        if _table(field) is not None:
            values.setdefault(name, {})  # so that each of its settings is missed by name
    for variable, text in variables.items():
        if variable.startswith(VARIABLE_PREFIX):
            _override(values, model, variable.removeprefix(VARIABLE_PREFIX).lower().split("__"), text)
    if values["stage"] != stage:
        raise EnvironmentError(
            f"stage: {values['stage']} is set where {stage} was asked for; {VARIABLE_PREFIX}STAGE is no setting, unset "
            f"it; allowed: {', '.join(STAGES)}, to the command; e.g. make synth STAGE=dev"
        )
    try:
        return model.model_validate(values)
    except ValidationError as error:
        lines = "\n".join(f"  {_explain(model, detail)}" for detail in error.errors())
        raise EnvironmentError(
            f"the settings of {stage} (deploy/cdk/environments/{stage}.toml, or {VARIABLE_PREFIX}<NAME>, or "
            f"{VARIABLE_PREFIX}<TABLE>__<NAME>) are wrong:\n{lines}"
        ) from None


def _outlived(seconds: int) -> str:
    return f"S3 would refuse what presign_svc signs, which lives for {seconds} s"


def _override(values: dict[str, Any], model: type[BaseModel], path: list[str], text: str) -> None:
    """Puts a variable's text where its setting is; what is unknown is put there too, for the model to refuse."""
    field = model.model_fields.get(path[0])
    table = None if field is None else _table(field)
    if len(path) > 1:
        inner = values.get(path[0])
        if table is not None and isinstance(inner, dict):
            _override(inner, table, path[1:], text)
        else:
            values[".".join(path)] = text
    elif field is not None and get_origin(field.annotation) is tuple:
        values[path[0]] = tuple(part for part in re.split(r"\s*,\s*", text.strip()) if part)
    elif field is not None and text.isdecimal() and any(type(choice) is int for choice in get_args(field.annotation)):
        values[path[0]] = int(text)  # one of some numbers: pydantic compares them, it does not read them
    else:
        values[path[0]] = text


def _table(field: FieldInfo) -> type[BaseModel] | None:
    kind = field.annotation
    return kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None


def _explain(model: type[BaseModel], detail: ErrorDetails) -> str:
    """One wrong setting in one line."""
    path = [part for part in detail["loc"] if isinstance(part, str)]
    if detail["type"] == RULE:
        path += str(detail["ctx"]["name"]).split(".")
    dotted = ".".join(path)
    while (field := model.model_fields.get(path[0])) is not None and len(path) > 1:
        table = _table(field)
        if table is None:
            break
        model, path = table, path[1:]
    if field is None:
        return f"{dotted}: there is no such setting; allowed: {', '.join(sorted(model.model_fields))}"
    example = (field.examples or [""])[0]
    got = "" if detail["type"] in {"missing", RULE} else f" (got {detail['input']!r})"
    reason = "it is not set" if detail["type"] == "missing" else detail["msg"]
    variable = f"{VARIABLE_PREFIX}{dotted.upper().replace('.', '__')}"
    return f"{dotted}: {reason}{got}; allowed: {field.description}; e.g. {variable}={example}"
