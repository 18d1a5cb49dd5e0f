"""Every limit, size and time of the worker. Times are seconds."""

from __future__ import annotations

import os
from pathlib import Path
from typing import ClassVar

from pydantic import Field, model_validator
from pydantic_settings import SettingsConfigDict

from runtime.settings import ServiceSettings


class Settings(ServiceSettings):
    """The settings of image_svc, from `IMAGE_SVC_*`, Parameter Store, or here."""

    model_config = SettingsConfigDict(env_prefix="IMAGE_SVC_", extra="ignore", frozen=True)
    service: ClassVar[str] = "image_svc"

    incoming_bucket: str = Field(min_length=3, description="Bucket where uploads arrive.")
    media_bucket: str = Field(min_length=3, description="Bucket of the variants.")
    queue_url: str = Field(min_length=1, description="Queue of S3's events and of our own commands.")
    dlq_url: str = Field(min_length=1, description="Its dead-letter queue.")
    metadata_target: str = Field(min_length=1, description="gRPC name of metadata_svc.")
    presets: str = Field(
        default_factory=(Path(__file__).parent / "presets.json").read_text,
        description="The presets as JSON text; those that come with the code where it is not set.",
    )

    presets_seconds: float = Field(
        30,
        gt=0,
        le=3600,
        description="How often the parameter is looked at for changed presets. Two calls of Parameter Store's 40 a "
        "second for an account.",
    )

    render_slots: int = Field(
        1,
        ge=1,
        le=16,
        description="Variants that are rendered on demand at a time, beside the slots: somebody waits for them, so a "
        "backlog of uploads must not.",
    )
    render_waiting: int = Field(
        32, ge=0, le=10_000, description="Renderings that may wait for a slot: 20 s of work, as long as a caller waits."
    )
    render_waiting_of_one: int = Field(
        8, ge=0, le=10_000, description="How many of them may be one tenant's. Tenants take turns."
    )
    render_seconds: float = Field(
        60, gt=0, le=600, description="Longest time for one rendering from the moment it has a slot."
    )
    render_retry_seconds: float = Field(
        5, gt=0, description="What a caller is told to wait when too much is waiting already: a quarter of the queue."
    )

    slots: int = Field(
        default_factory=lambda: len(os.sched_getaffinity(0)),
        ge=1,
        le=64,
        description="Images that are developed at a time. Developing is CPU alone: one for each vCPU.",
    )
    prefetch: int = Field(
        3,
        ge=0,
        le=64,
        description="Messages in hand beyond the slots, so that one's transfers overlap another's developing. Of a "
        "backlog, half as many are received at a time.",
    )
    receive_wait_seconds: float = Field(20, ge=0, le=20, description="How long a receive waits; SQS's longest.")
    poll_grace_seconds: float = Field(
        1,
        ge=0,
        le=2,
        description="How long a receive under way may still answer after SIGTERM. Cutting it at once could lose the "
        "message it was about to bring for a whole lease.",
    )
    lease_seconds: float = Field(
        30,
        ge=3,
        le=3600,
        description="How long a message and its attempt are ours without a heartbeat. What a killed worker had in "
        "hand waits this long, and must be READY within 60 s.",
    )
    heartbeat_seconds: float = Field(
        10, gt=0, description="How often both are extended: two of three heartbeats may fail."
    )
    hand_back_seconds: float = Field(
        2, gt=0, le=10, description="Longest time to give back, during a drain, what will not be finished."
    )
    decode_wall_seconds: float = Field(
        30,
        gt=0,
        description="Longest time on the clock for one file in the sandbox; then once more, alone. Well beyond its CPU "
        "limit (8 s), because a busy machine is not the file's fault.",
    )
    job_seconds: float = Field(
        600, gt=0, description="Longest time for one attempt, outages of its dependencies included."
    )
    outage_patience_seconds: float = Field(
        120,
        gt=0,
        description="How long a message in hand waits for a dependency that does not answer, before it goes back to "
        "the queue. Waiting costs neither an attempt nor one of SQS's receives.",
    )
    rpc_seconds: float = Field(5, gt=0, description="Deadline of one call to metadata_svc; it answers in milliseconds.")
    unreadable_seconds: float = Field(
        900,
        gt=0,
        le=43200,
        description="How long a message rests that this release cannot read: another release may. 20 receives, "
        "then the dead-letter queue: 5 h.",
    )
    retry_first_seconds: float = Field(2, gt=0, description="Rest of a message whose handling failed without attempt.")
    retry_longest_seconds: float = Field(300, gt=0, le=43200, description="The same, at most.")
    dead_letter_interval_seconds: float = Field(
        60, gt=0, description="How often the dead-letter queue is looked at; a request costs as much as a message."
    )
    dead_letter_hidden_seconds: float = Field(
        20, gt=0, description="How long a look hides what it saw: one round; the redrive tool moves only what is seen."
    )
    dead_letter_batches: int = Field(10, ge=1, description="Receives in one look, of at most 10 messages each.")
    ecs_agent_uri: str | None = Field(
        None,
        validation_alias="ECS_AGENT_URI",
        pattern=r"^http://[^/]+(/.*)?$",
        description="The ECS agent of the task, which sets it: where it is, a busy task asks not to be scaled in.",
    )
    protection_look_seconds: float = Field(
        10, gt=0, le=60, description="How often it is looked at whether messages are in hand: bounds the calls to ECS."
    )
    protection_minutes: int = Field(
        2, ge=1, le=2880, description="How long one request protects; a killed worker's protection lasts no longer."
    )
    protection_longest_seconds: float = Field(
        600, gt=0, description="After this a busy task may be stopped all the same: no roll-out waits longer for it."
    )
    protection_pause_seconds: float = Field(
        60, gt=0, description="For how long it may then be stopped; ECS looks again within seconds."
    )
    hung_seconds: float = Field(
        90,
        gt=0,
        description="Silence of the consumer or of the event loop after which the process ends itself. The longest "
        "rightful one is a receive of 30 s that is given up, and the pause of 20 s after it.",
    )

    @model_validator(mode="after")
    def _fits(self) -> Settings:
        if self.heartbeat_seconds * 2 > self.lease_seconds:
            raise ValueError("heartbeat_seconds must be at most half of lease_seconds")
        if self.drain_seconds <= self.hand_back_seconds:
            raise ValueError("drain_seconds must be longer than hand_back_seconds")
        return self

    @property
    def in_hand(self) -> int:
        """Most messages that are in hand at a time."""
        return self.slots + self.prefetch
