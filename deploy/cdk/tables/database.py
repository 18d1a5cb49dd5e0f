"""`[database]`: Aurora's size, backups, logs, and how many connections may reach it."""

from __future__ import annotations

from typing import Final, Literal, Self

from pydantic import Field, model_validator

from deploy.cdk.tables.base import RETENTIONS, RetentionDays, Table, wrong

# Connections that Aurora PostgreSQL admits by maximum ACUs (Aurora user guide, "Maximum connections for Aurora
# Serverless v2"): from the memory of the maximum, not of the moment. Between two entries the lower one counts here.
_CONNECTIONS: Final = ((1, 189), (4, 823), (8, 1_669), (16, 3_360), (32, 5_000))
# The same section: with a minimum of half an ACU or less it admits no more than this.
_CONNECTIONS_OF_SMALLEST: Final = 2_000
_SMALLEST: Final = 0.5
_TIME: Final = r"([01]\d|2[0-3]):[0-5]\d"
_WEEKDAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_DAY_AND_TIME: Final = f"({'|'.join(_WEEKDAYS)}):{_TIME}"
# Days that Performance Insights keeps its history: free of charge, and what the advanced mode requires (Aurora user
# guide, "Database Insights").
INSIGHTS_DAYS: Final = {"standard": 7, "advanced": 465}
_SHORTEST_WINDOW: Final = 30  # minutes; RDS takes no shorter one
_DAY: Final = 24 * 60  # minutes


class Database(Table):
    """Aurora PostgreSQL Serverless v2."""

    engine_version: str = Field(
        pattern=r"^16\.\d{1,2}$",
        description="a version 16.x that Aurora PostgreSQL has; AWS raises it in the maintenance window when it must",
        examples=["16.11"],
    )
    min_acu: float = Field(
        ge=_SMALLEST,
        le=128,
        multiple_of=0.5,
        description="ACUs, 0.5 to 128 in halves, to which each instance shrinks (0.20 USD/h an ACU in Seoul); above "
        "0.5 for what more than 2000 connections are needed for, and for Database Insights, which takes 2",
        examples=["1"],
    )
    max_acu: float = Field(
        ge=1,
        le=256,
        multiple_of=0.5,
        description="ACUs, 1 to 256 in halves, to which each instance grows; it also sets how many connections there "
        "may be (189 with 1, 823 with 4, 1669 with 8, 3360 with 16, 5000 from 32)",
        examples=["16"],
    )
    readers: int = Field(
        ge=0,
        le=2,
        description="0 to 2 instances beside the writer, each in a zone of its own; with one a failover takes less "
        "than a minute, without one up to ten; 1 or more in staging and prod",
        examples=["1"],
    )
    storage: Literal["aurora", "aurora-iopt1"] = Field(
        description="aurora (each I/O is paid) or aurora-iopt1 (none is, storage and ACUs cost more: cheaper once I/O "
        "is a quarter of the bill)",
        examples=["aurora"],
    )
    backup_days: int = Field(
        ge=1,
        le=35,
        description="days, 1 to 35, to any second of which the database can be restored; 7 or more in prod",
        examples=["14"],
    )
    backup_window: str = Field(
        pattern=f"^{_TIME}-{_TIME}$",
        description="hh:mm-hh:mm, UTC, at least half an hour, apart from the maintenance window",
        examples=["17:00-18:00"],
    )
    maintenance_window: str = Field(
        pattern=f"^{_DAY_AND_TIME}-{_DAY_AND_TIME}$",
        description="ddd:hh:mm-ddd:hh:mm, UTC, at least half an hour; not at the end of a month's busiest day",
        examples=["sun:18:30-sun:19:30"],
    )
    deletion_protection: bool = Field(
        description="true or false: whether the cluster refuses to be deleted; true in staging and prod",
        examples=["true"],
    )
    insights: Literal["off", "standard", "advanced"] = Field(
        description="off, standard (load by statement for 7 days, free) or advanced (465 days, execution plans, by "
        "vCPU and hour); Performance Insights keeps an instance from shrinking below 2 ACUs",
        examples=["standard"],
    )
    monitoring_seconds: Literal[1, 5, 10, 15, 30, 60] = Field(
        description="seconds between two samples of the operating system: 1, 5, 10, 15, 30 or 60", examples=["60"]
    )
    log_days: RetentionDays = Field(description=f"days that PostgreSQL's log is kept: {RETENTIONS}", examples=["90"])
    slow_statement_milliseconds: int = Field(
        ge=10,
        le=60_000,
        description="milliseconds, 10 to 60000: a statement that takes longer is logged, without its values",
        examples=["500"],
    )
    idle_in_transaction_seconds: int = Field(
        ge=1,
        le=3_600,
        description="seconds, 1 to 3600, after which a transaction in which nothing happens is ended, with its locks",
        examples=["30"],
    )
    rotation_days: int = Field(
        ge=1,
        le=365,
        description="days, 1 to 365, between two rotations of each password; a password lives for two of them",
        examples=["30"],
    )
    app_pool_size: int = Field(
        ge=1, le=200, description="connections, 1 to 200, of a metadata_svc process's request path", examples=["8"]
    )
    maintenance_pool_size: int = Field(
        ge=2,
        le=200,
        description="connections, 2 to 200, of a metadata_svc process's work for queue, key checks, relay and sweeper",
        examples=["8"],
    )
    reserved_connections: int = Field(
        ge=10,
        le=1_000,
        description="connections, 10 to 1000, kept free for migrations, rotation, operators and RDS itself",
        examples=["30"],
    )

    @property
    def max_connections(self) -> int:
        """Connections that an instance of the cluster admits."""
        most = max(connections for acu, connections in _CONNECTIONS if acu <= self.max_acu)
        return min(most, _CONNECTIONS_OF_SMALLEST) if self.min_acu <= _SMALLEST else most

    def connections(self, tasks: int) -> int:
        """Connections that so many tasks of metadata_svc hold at most, and what is reserved.

        Twice the pools: during a roll-out the tasks of the old and of the new version are all connected.
        """
        return 2 * tasks * (self.app_pool_size + self.maintenance_pool_size) + self.reserved_connections

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.min_acu > self.max_acu:
            raise wrong("min_acu", f"{self.min_acu:g} is above max_acu, {self.max_acu:g}")
        backup = _minutes(self.backup_window, _DAY)
        maintenance = _minutes(self.maintenance_window, 7 * _DAY)
        if len(backup) < _SHORTEST_WINDOW:
            raise wrong("backup_window", f"{self.backup_window} is shorter than half an hour")
        if not _SHORTEST_WINDOW <= len(maintenance) < _DAY:
            raise wrong("maintenance_window", f"{self.maintenance_window} is not half an hour to a day")
        if any(minute % _DAY in backup for minute in maintenance):
            raise wrong("backup_window", f"{self.backup_window} and the maintenance window overlap")
        if self.insights == "advanced" and self.min_acu < 2:
            raise wrong("min_acu", "Database Insights in the advanced mode takes 2 ACUs")
        return self


def _minutes(window: str, period: int) -> frozenset[int]:
    """The minutes of a window, counted from the start of the day or the week that it recurs in (`period`, minutes)."""
    start, end = map(_moment, window.split("-"))
    return frozenset(minute % period for minute in range(start, end if end > start else end + period))


def _moment(text: str) -> int:
    *day, hour, minute = text.split(":")
    return sum(_WEEKDAYS.index(name) * _DAY for name in day) + int(hour) * 60 + int(minute)
