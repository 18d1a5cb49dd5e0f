"""Settings of presign_svc."""

from __future__ import annotations

import re
from typing import Annotated, ClassVar, Final, Self

from pydantic import Field, StringConstraints, field_validator, model_validator
from pydantic_settings import SettingsConfigDict

from runtime.settings import ServiceSettings

# S3's rules for names, less the dot: a dotted name breaks TLS for virtual-hosted addresses.
BucketName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{1,61}[a-z0-9]$")]

_ORIGIN: Final = re.compile(r"https?://(\[[0-9A-Fa-f:]+\]|[A-Za-z0-9.-]+)(:[0-9]{1,5})?/?")

_WEEK: Final = 7 * 24 * 3600  # the longest life that SigV4 in query parameters allows, in seconds


class Settings(ServiceSettings):
    """What presign_svc needs to know."""

    service: ClassVar[str] = "presign_svc"
    model_config = SettingsConfigDict(env_prefix="PRESIGN_SVC_", extra="ignore", frozen=True)

    incoming_bucket: BucketName = Field(description="Bucket where uploads arrive.")
    media_bucket: BucketName = Field(description="Bucket where variants lie.")
    s3_public_endpoint_url: str | None = Field(
        None,
        description="Origin (scheme://host[:port]) under which clients reach S3; AWS_ENDPOINT_URL where not set, and "
        "S3's regional endpoint where neither is. The host is signed: it must be the one that clients use.",
    )
    ticket_seconds: int = Field(
        900,
        ge=1,
        le=_WEEK,
        description="Life of a ticket when the caller asks for none: time for a slow line to start.",
    )
    shortest_ticket_seconds: int = Field(
        60,
        ge=1,
        le=_WEEK,
        description="Least life that a ticket or download URL is handed out with, also when its credentials near their "
        "end. Clocks of clients and a first try that fails need some of it.",
    )
    longest_ticket_seconds: int = Field(
        3600,
        ge=1,
        le=_WEEK,
        description="Longest life that a caller may ask for; credentials are refreshed ahead of it.",
    )
    largest_put_bytes: int = Field(
        5 * 1024**3, ge=1, le=5 * 1024**3, description="Largest upload by PUT; S3's own limit is 5 GiB."
    )
    download_window_seconds: int = Field(
        900,
        ge=1,
        le=_WEEK // 2,
        description="Signing window of downloads: the same request yields the same URL for this long, and a URL lives "
        "once to twice as long.",
    )
    max_batch_items: int = Field(1000, ge=1, le=10_000, description="Most items of one call.")
    credentials_margin_seconds: float = Field(
        300.0,
        ge=0,
        description="Credentials are refreshed this long before less than the longest life is left to them.",
    )
    credentials_retry_seconds: float = Field(
        10.0, gt=0, le=60, description="Pause between two attempts to refresh; also the Retry-After when none is left."
    )
    credentials_timeout_seconds: float = Field(
        10.0, gt=0, le=60, description="Longest time that one attempt to fetch credentials may take."
    )

    @field_validator("s3_public_endpoint_url")
    @classmethod
    def _is_an_origin(cls, value: str | None) -> str | None:
        if value is None:
            return None
        if not _ORIGIN.fullmatch(value):
            raise ValueError("must be an origin: scheme://host[:port]")
        return value

    @model_validator(mode="after")
    def _lives_are_in_order(self) -> Self:
        if not self.shortest_ticket_seconds <= self.ticket_seconds <= self.longest_ticket_seconds:
            raise ValueError("shortest_ticket_seconds <= ticket_seconds <= longest_ticket_seconds must hold")
        if self.shortest_ticket_seconds > self.download_window_seconds:
            raise ValueError("download_window_seconds must not be below shortest_ticket_seconds")
        return self

    @property
    def credentials_lead_seconds(self) -> float:
        """How long before their end credentials are refreshed: nothing that is signed outlives them."""
        longest = max(self.longest_ticket_seconds, 2 * self.download_window_seconds)
        return longest + self.credentials_margin_seconds
