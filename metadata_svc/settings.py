"""Settings of metadata_svc: variables `METADATA_SVC_<NAME>`, or `<name>` under its folder in Parameter Store."""

from __future__ import annotations

from datetime import timedelta
from typing import ClassVar, Final, Literal, Self

from pydantic import Field, model_validator
from pydantic_settings import SettingsConfigDict

from metadata_svc.adapters.database import PoolOptions
from metadata_svc.domain.rules import Rules
from runtime.settings import ServiceSettings

_SLOWEST_SEND_SECONDS: Final = 30  # read time-out of the AWS clients: a claim must outlive the sending


class Settings(ServiceSettings):
    """Every limit, size, time and rate of the service."""

    model_config = SettingsConfigDict(env_prefix="METADATA_SVC_", extra="ignore", frozen=True)
    service: ClassVar[str] = "metadata_svc"

    queue_url: str = Field(description="URL of the image queue; the relay sends commands to it.")
    topic_arn: str = Field(description="ARN of the topic that image events are published to.")
    app_database_secret: str = Field(description="Name of the secret with the login of darkroom_app.")
    maintenance_database_secret: str = Field(description="Name of the secret with the login of darkroom_maintenance.")

    app_pool_size: int = Field(
        8, ge=1, description="Connections of the request path, per process. Batches keep few connections busy."
    )
    maintenance_pool_size: int = Field(
        8, ge=2, description="Connections of workers' calls, key checks, relay and sweeper, per process."
    )
    database_ssl: Literal["disable", "prefer", "require", "verify-full"] = Field(
        "prefer", description="TLS to the database; `verify-full` on AWS, with RDS's CA in PGSSLROOTCERT."
    )
    acquire_timeout_seconds: float = Field(2.0, gt=0, description="Longest wait for a free connection.")
    connect_timeout_seconds: float = Field(3.0, gt=0, description="Longest wait for a new connection.")
    statement_timeout_seconds: float = Field(
        5.0, gt=0, description="Longest statement. Batches take milliseconds; a search by likeness is the slowest."
    )
    connection_idle_seconds: float = Field(300.0, ge=0, description="An idle connection is closed after this.")
    unavailable_retry_seconds: float = Field(
        1.0, gt=0, description="What callers are told to wait when the database cannot be reached."
    )
    max_batch_items: int = Field(1000, ge=1, description="Most items of a batch call.")

    max_attempts: int = Field(5, ge=1, description="Attempts that count, before an image is FAILED.")
    first_retry_seconds: float = Field(
        2.0, gt=0, description="Wait after the first failed attempt; doubles from there."
    )
    longest_retry_seconds: float = Field(120.0, gt=0, description="Longest wait between two attempts.")
    upload_grace_seconds: float = Field(
        600.0,
        ge=0,
        description="From a ticket's end to the check whether bytes came: a slow PUT may still be under way.",
    )
    removal_margin_seconds: float = Field(
        300.0, ge=0, description="From a ticket's end to the earliest removal of its original."
    )
    stuck_after_seconds: float = Field(
        900.0, gt=0, description="From the end of an attempt's lease to a new message, if nobody took the image up."
    )
    late_write_margin_seconds: float = Field(
        60.0, ge=0, description="From the end of an overtaken attempt's lease to the last purge of a deleted image."
    )
    reorder_after_seconds: float = Field(900.0, gt=0, description="An order that is not reported is given again.")
    superseded_after_seconds: float = Field(
        3600.0,
        gt=0,
        description="How long a variant stays that another one has replaced: signed URLs for it live up to twice "
        "presign_svc's download_window_seconds.",
    )
    reconcile_rows: int = Field(1000, ge=1, description="Most rows that one call of the reconciler compares.")
    tombstone_days: float = Field(7.0, ge=1, description="How long a purged image is known as deleted; then 404.")
    request_life_hours: float = Field(24.0, gt=0, description="How long an Idempotency-Key is kept.")

    page_size_default: int = Field(50, ge=1, description="Images of a page where the caller names no size.")
    page_size_max: int = Field(100, ge=1, description="Most images of a page.")
    similar_distance: int = Field(
        10,
        ge=0,
        le=15,
        description="Images whose perceptual hashes differ in at most this many of 64 bits look alike. The index "
        "reads 430 slots for 10 and 2,800 for 15.",
    )

    relay_interval_seconds: float = Field(
        5.0, gt=0, description="How often the outbox is looked at unasked; a local change wakes the relay at once."
    )
    relay_batch: int = Field(100, ge=1, description="Most messages taken from the outbox at a time.")
    relay_claim_seconds: float = Field(60.0, gt=0, description="After this, another relay may send what one took.")
    relay_first_retry_seconds: float = Field(1.0, gt=0, description="Wait after a failed send; doubles from there.")
    relay_longest_retry_seconds: float = Field(300.0, gt=0, description="Longest wait between two sends.")
    sweep_interval_seconds: float = Field(5.0, gt=0, description="How often the sweeper looks for what is due.")
    sweep_batch: int = Field(500, ge=1, description="Most rows that one statement of the sweeper takes.")
    fold_interval_seconds: float = Field(
        2.0, gt=0, description="How often usage is folded: quota checks add up what was appended since."
    )
    fold_batch: int = Field(10_000, ge=1, description="Most usage rows folded in one statement.")

    prune_batch: int = Field(1000, ge=1, description="Most rows that one statement of the prune command deletes.")
    prune_pause_seconds: float = Field(
        0.1, ge=0, description="Between two of its statements: the request path and replication come first."
    )
    prune_seconds: float = Field(
        900.0, gt=0, description="Longest run of the prune command; what is left then fails it, and waits for the next."
    )

    health_interval_seconds: float = Field(1.0, gt=0, description="How often the database is asked for a sign of life.")
    unready_after_seconds: float = Field(
        3.0, ge=0, description="Not ready once the database has been silent this long; shorter gaps are retried over."
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        """A replay of an Idempotency-Key must still find its image, if only as a tombstone."""
        if self.tombstone_days * 24 < self.request_life_hours:
            raise ValueError("tombstone_days must be at least request_life_hours")
        if self.relay_claim_seconds < _SLOWEST_SEND_SECONDS:
            raise ValueError(f"relay_claim_seconds must be at least {_SLOWEST_SEND_SECONDS}")
        return self

    def rules(self) -> Rules:
        """What the state machine goes by."""
        return Rules(
            max_attempts=self.max_attempts,
            first_retry=timedelta(seconds=self.first_retry_seconds),
            longest_retry=timedelta(seconds=self.longest_retry_seconds),
            upload_grace=timedelta(seconds=self.upload_grace_seconds),
            removal_margin=timedelta(seconds=self.removal_margin_seconds),
            stuck_after=timedelta(seconds=self.stuck_after_seconds),
            late_write_margin=timedelta(seconds=self.late_write_margin_seconds),
            reorder_after=timedelta(seconds=self.reorder_after_seconds),
            superseded_after=timedelta(seconds=self.superseded_after_seconds),
            tombstone_life=timedelta(days=self.tombstone_days),
        )

    def pool(self, size: int) -> PoolOptions:
        """A pool of that many connections."""
        return PoolOptions(
            size=size,
            acquire_timeout=self.acquire_timeout_seconds,
            connect_timeout=self.connect_timeout_seconds,
            statement_timeout=self.statement_timeout_seconds,
            idle_seconds=self.connection_idle_seconds,
            retry_after=self.unavailable_retry_seconds,
            ssl=self.database_ssl,
        )
