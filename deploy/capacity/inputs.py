"""What goes into the planner: one frozen model per data file, checked when read.

Every figure is in a TOML file with its unit and its source, so that another business replaces files, not code. A
missing or wrong value stops with the file's and the value's name, what is allowed and what was given.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from datetime import date, time
from math import isclose
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

DATA = Path(__file__).parent / "data"

Positive = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(ge=0, le=1)]
NotNegative = Annotated[float, Field(ge=0)]
DayShape = Annotated[tuple[NotNegative, ...], Field(min_length=24, max_length=24)]


class InputError(Exception):
    """A data file is missing or holds a wrong value; the text names every one."""


class Model(BaseModel):
    """An unknown name is an error: a typing mistake must not leave a default in place."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Holiday(Model):
    """A day on which no office works."""

    date: date
    name: str
    basis: Literal["law", "substitute", "temporary", "custom"] = Field(
        description="fixed by the act; its rule for weekends; named by the cabinet; offices close whatever the act says"
    )


class Calendar(Model):
    """The business calendar: which days are worked, and until when we know that."""

    time_zone: str
    rest_weekdays: frozenset[Annotated[int, Field(ge=0, le=6)]] = Field(description="Monday is 0")
    peak_working_days: int = Field(ge=1, le=10, description="the month's last N working days carry the peak")
    horizon: date = Field(description="last day for which the holidays are complete")
    horizon_alarm_days: int = Field(ge=1, le=365)
    source: str
    holidays: tuple[Holiday, ...]

    @field_validator("time_zone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (KeyError, ValueError, OSError):
            raise ValueError("not an IANA time zone, e.g. Asia/Seoul") from None
        return value

    @model_validator(mode="after")
    def _ordered(self) -> Calendar:
        days = [holiday.date for holiday in self.holidays]
        if days != sorted(set(days)):
            raise ValueError("holidays must be in order, each date once")
        if days and days[-1] > self.horizon:
            raise ValueError(f"a holiday ({days[-1]}) lies beyond the horizon ({self.horizon})")
        if len(self.rest_weekdays) == 7:
            raise ValueError("rest_weekdays leaves no working day")
        return self


class Forecast(Model):
    """What is expected to come in, and how wrong that may be."""

    source: str
    images_per_month: int = Field(ge=1)
    peak_factor: float = Field(ge=1, description="a peak day against an ordinary working day")
    rest_day_factor: float = Field(ge=0, description="a day of rest against an ordinary working day")
    ramp_minutes: int = Field(ge=1, le=60, description="the rate moves between two hours' levels within this time")
    working_hours: DayShape = Field(description="weights of the hours of a working day, 0 to 23, local time")
    rest_hours: DayShape
    day_error_sigma: float = Field(ge=0, le=1, description="sigma of a day's log-normal error")

    @model_validator(mode="after")
    def _some_load(self) -> Forecast:
        if sum(self.working_hours) <= 0 or sum(self.rest_hours) <= 0:
            raise ValueError("working_hours and rest_hours need a positive sum")
        return self


class ImageClass(Model):
    """One kind of upload: how common it is, and what it costs."""

    name: str
    share: Share = Field(description="of the images")
    cpu_ms: Positive = Field(description="CPU of the pipeline alone, ms per image")


class Measured(Model):
    """CPU of one image on the worker."""

    source: str
    overhead_share: float = Field(ge=0, le=2, description="CPU beside the pixels, as a share of theirs")
    vcpu_speed: float = Field(gt=0, le=4, description="one Fargate vCPU against one core of the measured machine")
    class_variation: float = Field(ge=0, le=2, description="coefficient of variation within a class")
    images_per_second_per_vcpu: Positive | None = Field(
        None, description="measured as a whole on Fargate: scales the mix so that its mean says just this"
    )
    classes: tuple[ImageClass, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _whole_mix(self) -> Measured:
        total = sum(c.share for c in self.classes)
        if not isclose(total, 1.0, abs_tol=1e-6):
            raise ValueError(f"the shares of the classes add up to {total:g}, not to 1")
        return self

    @property
    def class_seconds(self) -> tuple[float, ...]:
        """CPU seconds of one image on a Fargate vCPU, by class, all overhead included."""
        factor = (1 + self.overhead_share) / self.vcpu_speed / 1000
        plain = [c.cpu_ms * factor for c in self.classes]
        if self.images_per_second_per_vcpu is not None:
            mean = sum(c.share * s for c, s in zip(self.classes, plain, strict=True))
            plain = [s / mean / self.images_per_second_per_vcpu for s in plain]
        return tuple(plain)

    @property
    def seconds_per_image(self) -> float:
        """Mean vCPU seconds of one image."""
        return sum(c.share * s for c, s in zip(self.classes, self.class_seconds, strict=True))

    @property
    def rate_per_vcpu(self) -> float:
        """Images per second that one busy vCPU finishes."""
        return 1 / self.seconds_per_image


class Sizing(Model):
    """How capacity follows from load."""

    forecast_margin: float = Field(ge=1, description="capacity is planned for the forecast times this")
    max_utilisation: float = Field(gt=0, lt=1)
    max_utilisation_less_one: float = Field(gt=0, lt=1, description="with one task lost, at the forecast itself")
    max_over_peak: float = Field(ge=1, description="autoscaling's maximum against the planned peak")
    steps_per_day: int = Field(ge=1, le=24, description="levels of minimum capacity that a peak day may have")
    lead_minutes: int = Field(ge=0, le=240)
    lag_minutes: int = Field(ge=0, le=240)


class Fallback(Model):
    """The recurring window that serves when the calendar has run out."""

    first_day: int = Field(ge=1, le=25, description="day of the month; before any day on which a peak can begin")
    opens: time
    closes: time


class Tracking(Model):
    """Target tracking on backlog per task, as Application Auto Scaling does it."""

    target_backlog_per_task: Positive
    period_seconds: int = Field(ge=1)
    metric_delay_seconds: NotNegative
    out_datapoints: int = Field(ge=1)
    in_datapoints: int = Field(ge=1)
    in_threshold: Share
    out_cooldown_seconds: NotNegative
    in_cooldown_seconds: NotNegative
    in_step_share: Share


class Delays(Model):
    """What takes how long on AWS, in the worker, and between the two."""

    scheduled_action_seconds: NotNegative
    task_start_seconds: NotNegative
    task_start_variation: NotNegative
    launch_burst: int = Field(ge=1)
    launch_rate: Positive = Field(description="tasks per second after the burst")
    event_median_seconds: Positive
    event_sigma: NotNegative
    io_seconds: NotNegative
    handback_seconds: NotNegative


class Spot(Model):
    """How much of the workers is Spot, and how often AWS takes one."""

    interruptions_per_task_hour: NotNegative
    on_demand_base: int = Field(ge=0, description="tasks of the capacity provider strategy's base")
    on_demand_share: Share = Field(description="of the tasks above the base (the strategy's weights)")


class TaskSize(Model):
    """A Fargate task."""

    architecture: Literal["x86_64", "arm64"]
    vcpu: Positive
    memory_gb: Positive
    minimum: int = Field(ge=1, description="tasks, however idle")


class WorkerSize(TaskSize):
    """A task of image_svc."""

    vcpu: int = Field(ge=1, le=16, description="whole vCPUs: one worker process each")


class ApiSize(TaskSize):
    """A task of gateway, presign_svc or metadata_svc."""

    usable_vcpu: Positive = Field(description="what Envoy leaves to the service")
    target_utilisation: float = Field(gt=0, lt=1, description="CPU target of its target tracking")


class Aurora(Model):
    """The database's capacity range, and what an image asks of it."""

    minimum_acu: float = Field(ge=0, le=256, multiple_of=0.5)
    maximum_acu: float = Field(ge=1, le=256, multiple_of=0.5)
    instances: int = Field(ge=1, le=16)
    statements_per_image: Positive
    statements_per_second_per_acu: Positive
    target_utilisation: float = Field(gt=0, lt=1)
    lead_minutes: int = Field(ge=0, le=240)

    @model_validator(mode="after")
    def _range(self) -> Aurora:
        if self.minimum_acu > self.maximum_acu:
            raise ValueError(f"minimum_acu {self.minimum_acu} exceeds maximum_acu {self.maximum_acu}")
        return self


class Call(Model):
    """One kind of API call: how many an image causes, and their CPU in each service."""

    name: str
    per_image: NotNegative
    gateway_us: NotNegative
    presign_svc_us: NotNegative
    metadata_svc_us: NotNegative


class Policy(Model):
    """How the services scale."""

    sizing: Sizing
    fallback: Fallback
    tracking: Tracking
    delays: Delays
    spot: Spot
    image_svc: WorkerSize
    gateway: ApiSize
    presign_svc: ApiSize
    metadata_svc: ApiSize
    aurora: Aurora
    calls: tuple[Call, ...]


class Prices(Model):
    """USD, by the unit in the name."""

    region: str
    as_of: date
    source: str
    fargate_x86_vcpu_hour: Positive
    fargate_x86_gb_hour: Positive
    fargate_arm_vcpu_hour: Positive
    fargate_arm_gb_hour: Positive
    fargate_spot_share: float = Field(gt=0, le=1, description="share of the on-demand price")
    aurora_acu_hour: Positive
    aurora_storage_gb_month: Positive
    aurora_io_million: Positive
    alb_hour: Positive
    alb_lcu_hour: Positive
    nat_hour: Positive
    nat_gb: Positive
    endpoint_hour: Positive
    endpoint_gb: Positive
    s3_gb_month: Positive
    s3_put_thousand: Positive
    s3_get_ten_thousand: Positive
    sqs_million: Positive
    sns_million: Positive
    api_gateway_million: Positive
    logs_gb: Positive
    alarm_month: Positive
    secret_month: Positive
    kms_key_month: Positive
    ecr_gb_month: Positive
    public_address_hour: Positive
    waf_acl_month: Positive
    waf_rule_month: Positive
    waf_million: Positive
    metric_month: Positive
    insights_metric_month: Positive


class ImageUsage(Model):
    """What one image uses."""

    api_calls: NotNegative
    s3_puts: NotNegative
    s3_gets: NotNegative
    original_mb: NotNegative
    variants_mb: NotNegative
    stored_months: NotNegative
    sqs_requests: NotNegative
    sns_publishes: NotNegative
    aurora_ios: NotNegative
    database_kb: NotNegative
    log_kb: NotNegative


class FixedUsage(Model):
    """What stands there in an idle month, beside the minimum tasks and ACUs."""

    zones: int = Field(ge=1, le=6)
    interface_endpoints: int = Field(ge=0)
    nat_gateways: int = Field(ge=0)
    albs: int = Field(ge=0)
    alarms: int = Field(ge=0)
    secrets: int = Field(ge=0)
    kms_keys: int = Field(ge=0)
    ecr_gb: NotNegative
    idle_log_gb: NotNegative
    metrics_a_service: int = Field(ge=0)
    metrics_a_family: int = Field(ge=0)
    metrics_a_cluster: int = Field(ge=0)
    metrics_enhanced: int = Field(ge=0)


class Usage(Model):
    """Quantities for the price list."""

    source: str
    image: ImageUsage
    fixed: FixedUsage


class Quota(Model):
    """One AWS quota and what one million images a month need of it at the peak."""

    service: str
    name: str
    code: str = Field("", description="Service Quotas code, where known")
    limit: Positive
    unit: str
    adjustable: bool
    demand: str = Field(description="which computed demand meets it, see quotas.DEMANDS")
    remedy: str


class Quotas(Model):
    """The table of quotas."""

    source: str
    quotas: tuple[Quota, ...]


class Inputs(Model):
    """Everything: one field per data file."""

    calendar: Calendar
    forecast: Forecast
    measured: Measured
    policy: Policy
    prices: Prices
    usage: Usage
    quotas: Quotas


_Model = TypeVar("_Model", bound=Model)


def load(directory: Path | None = None, measured: Path | None = None) -> Inputs:
    """Reads the data files; a file that `directory` has replaces the one beside this module, whole.

    `measured` is a benchmark's JSON: any of `source`, `overhead_share`, `vcpu_speed`, `images_per_second_per_vcpu`, and
    `classes` as an object of class name to CPU ms. Raises `InputError`.
    """
    parts = {name: _read(name, directory) for name in Inputs.model_fields}
    if measured is not None:
        parts["measured"] = _with_benchmark(parts["measured"], measured)
    return Inputs(
        calendar=_model(Calendar, parts),
        forecast=_model(Forecast, parts),
        measured=_model(Measured, parts),
        policy=_model(Policy, parts),
        prices=_model(Prices, parts),
        usage=_model(Usage, parts),
        quotas=_model(Quotas, parts),
    )


def _read(name: str, directory: Path | None) -> dict[str, Any]:
    path = DATA / f"{name}.toml"
    if directory is not None:
        if not directory.is_dir():
            raise InputError(f"--inputs: {directory} is not a directory; it holds files such as forecast.toml")
        if (directory / path.name).is_file():
            path = directory / path.name
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{path}: not TOML: {error}") from None


def _with_benchmark(base: Mapping[str, Any], path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError) as error:
        raise InputError(f"--measured: {path}: {error}") from None
    if not isinstance(found, dict):
        raise InputError(f"--measured: {path}: an object is wanted, e.g. {{'classes': {{'jpeg_12mp': 194.0}}}}")
    cpu_ms = found.pop("classes", {})
    known = [c["name"] for c in base["classes"]]
    if not isinstance(cpu_ms, dict) or not set(cpu_ms) <= set(known):
        raise InputError(f"--measured: {path}: classes: an object of CPU ms by class is wanted, of {', '.join(known)}")
    classes = [c | {"cpu_ms": cpu_ms.get(c["name"], c["cpu_ms"])} for c in base["classes"]]
    return {**base, **found, "classes": classes}


def _model(model: type[_Model], parts: Mapping[str, Mapping[str, Any]]) -> _Model:
    name = model.__name__.lower()
    try:
        return model.model_validate(parts[name])
    except ValidationError as error:
        lines = [
            f"  {'.'.join(map(str, e['loc'])) or '(whole file)'}: {e['msg']} (got {_short(e['input'])})"
            for e in error.errors()
        ]
        raise InputError(f"{name}.toml: {len(lines)} wrong value(s):\n" + "\n".join(lines)) from None


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
