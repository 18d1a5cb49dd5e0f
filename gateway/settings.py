"""Settings of the gateway."""

from __future__ import annotations

import re
from typing import Annotated, ClassVar, Final

from pydantic import Field, field_validator
from pydantic_settings import NoDecode, SettingsConfigDict

from gateway.presets import parse_names
from runtime.settings import ServiceSettings

_ORIGIN: Final = re.compile(r"https?://[a-z0-9.-]+(:[0-9]{1,5})?|\*")


class Settings(ServiceSettings):
    """What the gateway needs to know. Times are in seconds, sizes in bytes; every limit is one process's own."""

    service: ClassVar[str] = "gateway"
    model_config = SettingsConfigDict(env_prefix="GATEWAY_", extra="ignore", frozen=True)

    presign_target: str = Field(min_length=1, description="gRPC target of presign_svc; every address it names is used.")
    metadata_target: str = Field(
        min_length=1, description="gRPC target of metadata_svc; every address it names is used."
    )
    image_target: str = Field(min_length=1, description="gRPC target of image_svc, which renders on demand.")
    presets: str = Field(description="The presets as JSON text; the gateway needs their names.")
    presets_seconds: float = Field(
        30,
        gt=0,
        le=3600,
        description="How often the parameter is looked at for changed presets. Two calls of Parameter Store's 40 a "
        "second for an account.",
    )

    # Time
    request_seconds: float = Field(
        10.0,
        gt=0,
        le=28,
        description="Longest time for a request; handed on to every RPC. API Gateway gives up after 29.",
    )
    body_seconds: float = Field(5.0, gt=0, le=28, description="Longest time for a request's body to arrive.")
    linger_seconds: float = Field(
        2.0,
        ge=0,
        le=28,
        description="A refused body is read away for this long, so that its sender gets to see the answer.",
    )
    keepalive_seconds: float = Field(
        75.0,
        gt=0,
        description="An idle connection is closed after this; above the 60 of an ALB, which then closes first.",
    )
    unready_seconds: float = Field(
        3.0,
        ge=0,
        le=60,
        description="From readiness failing to the intake closing: time for a load balancer to notice.",
    )

    # Size
    max_body_bytes: int = Field(
        65_536, ge=1024, description="Largest body; 20 tags of 128 characters in four-byte UTF-8 escapes are 31 KiB."
    )
    max_header_bytes: int = Field(8_190, ge=1024, description="Longest request line and longest header field.")

    # Admission
    max_requests: int = Field(
        256, ge=1, description="Most requests in hand; more are refused at once. A quarter second's work of one core."
    )
    max_waiting: int = Field(
        2_000, ge=0, description="Most held requests, by `wait` or for events; about 10 KiB each, and no CPU."
    )
    retry_after_seconds: int = Field(1, ge=1, description="What a refused or unlucky client is told to wait.")

    # Credentials
    key_cache_seconds: float = Field(
        20.0,
        gt=0,
        le=25,
        description="A checked key is trusted this long, from the start of the check: a revoked one is "
        "refused within 30 s, the request's own time included.",
    )
    bad_key_cache_seconds: float = Field(2.0, ge=0, le=30, description="A refused key is remembered this long.")
    key_cache_entries: int = Field(10_000, ge=1, description="Most keys in the cache; as many refused ones beside it.")

    # Request rate
    lease_requests: int = Field(
        16, ge=1, description="Least number of requests that is leased at once: what a quiet tenant needs in a second."
    )
    lease_entries: int = Field(10_000, ge=1, description="Most tenants whose leases are kept.")

    # Uploads and downloads
    ticket_seconds: int = Field(900, ge=60, le=3_600, description="Life of an upload ticket.")
    ticket_margin_seconds: int = Field(
        30,
        ge=1,
        le=600,
        description="The bytes are awaited this much longer than the first ticket lives, so that it gets its "
        "whole life.",
    )
    url_cache_entries: int = Field(
        10_000, ge=0, description="Most signed download URLs that are kept for their window; about 1 KiB each."
    )

    # Waiting
    wait_poll_seconds: float = Field(
        0.25, gt=0, le=5, description="Pause between two looks at all waited-for images: one call for all of them."
    )

    events_comment_seconds: float = Field(
        15.0,
        gt=0,
        le=25,
        description="A stream of events says at least this often that it lives; proxies cut what is silent for 30 s.",
    )
    events_seconds: float = Field(
        840.0,
        gt=0,
        le=890,
        description="Longest life of a stream of events; API Gateway cuts it after 900. Its client opens it again.",
    )

    # Rendering
    render_seconds: float = Field(
        20.0,
        gt=0,
        le=26,
        description="A client is kept this long for a variant that is made for it, then told to come again.",
    )
    render_retry_seconds: int = Field(
        2, ge=1, description="When to come again: most renderings are done by then, all but the slowest."
    )

    # Services behind
    batch_items: int = Field(256, ge=1, le=1_000, description="Most items of one batch RPC; the services take 1,000.")
    batches_in_flight: int = Field(
        2,
        ge=1,
        le=64,
        description="Batches of one kind under way at once: fewer make larger batches, more use more servers.",
    )
    health_seconds: float = Field(
        1.0, gt=0, le=60, description="Pause between two health checks, and the time-out of one."
    )

    # HTTP
    backlog: int = Field(1_024, ge=1, description="Connections that may wait to be accepted.")
    cors_origins: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="Origins whose pages may call the API, comma-separated; `*` for all; none by default."
    )
    access_log: bool = Field(True, description="One line a request.")

    @field_validator("cors_origins", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @field_validator("cors_origins")
    @classmethod
    def _are_origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for origin in value:
            if not _ORIGIN.fullmatch(origin):
                raise ValueError(f"{origin!r} is not an origin: scheme://host[:port], or *")
        return value

    @field_validator("presets")
    @classmethod
    def _are_presets(cls, value: str) -> str:
        parse_names(value)
        return value
