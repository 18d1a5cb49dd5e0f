"""Every limit, size and rate of the reconciler, beside where its things are. Times are seconds."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from image_svc.reconcile.compare import Limits
from runtime.settings import ServiceSettings


class ReconcileSettings(ServiceSettings):
    """From `IMAGE_SVC_*` or Parameter Store, as the service's own."""

    model_config = SettingsConfigDict(env_prefix="IMAGE_SVC_", extra="ignore", frozen=True)
    service: ClassVar[str] = "image_svc"

    incoming_bucket: str = Field(min_length=3, description="Bucket where uploads arrive.")
    media_bucket: str = Field(min_length=3, description="Bucket of the variants.")
    queue_url: str = Field(min_length=1, description="Queue whose length says if images may be given to the workers.")
    metadata_target: str = Field(min_length=1, description="gRPC name of metadata_svc.")

    reconcile_page: int = Field(
        500,
        ge=1,
        le=900,
        description="Versions of one listing. With the last image of the page before, that is at most the 1,000 "
        "objects of one call (metadata_svc's max_batch_items).",
    )
    reconcile_rate: float = Field(
        2000,
        gt=0,
        description="Versions looked at in a second, at most: a million objects in nine minutes, and a database that "
        "does not notice.",
    )
    reconcile_minimum_age_seconds: float = Field(
        3600,
        gt=0,
        description="What is younger is left alone, objects and rows: longer than any attempt, any ticket and the "
        "sweeper's own repairs take.",
    )
    reconcile_deletions: int = Field(
        10_000,
        ge=0,
        description="Removals of one run, at most; then it stops and fails. A sound system leaves a few: more means a "
        "wrong setting, or presets that changed, which an operator lets through with --deletions.",
    )
    reconcile_repairs: int = Field(
        1000,
        ge=0,
        description="Images of one run that are made again or corrected because objects of theirs are missing, at "
        "most; then it stops and fails.",
    )
    reconcile_backlog: int = Field(
        1000,
        ge=0,
        description="While more messages wait than this, no image is given to the workers: its message may be among "
        "them, and another one would only make the queue longer.",
    )
    reconcile_rpc_seconds: float = Field(10, gt=0, description="Deadline of one call to metadata_svc.")
    outage_patience_seconds: float = Field(120, gt=0, description="How long a dependency may not answer.")

    def limits(self, deletions: int | None) -> Limits:
        """What the reconciler goes by; `deletions` overrides the setting for one run."""
        return Limits(
            page=self.reconcile_page,
            rate=self.reconcile_rate,
            minimum_age=self.reconcile_minimum_age_seconds,
            deletions=self.reconcile_deletions if deletions is None else deletions,
            repairs=self.reconcile_repairs,
            backlog=self.reconcile_backlog,
            patience=self.outage_patience_seconds,
        )
