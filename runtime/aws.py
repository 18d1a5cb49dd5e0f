"""Where AWS is, and one way to make its clients, with bounded time-outs."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any, Final, Literal, TypeVar

from aiobotocore.config import AioConfig
from aiobotocore.session import AioSession, get_session
from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

# Seconds. Within a region a connection takes milliseconds; SQS long polling holds an answer for up to 20 s.
CONNECT_TIMEOUT: Final = 3
READ_TIMEOUT: Final = 30
_ATTEMPTS: Final = 3
# botocore composes its own anew for every request, which is a tenth of all that a call costs.
USER_AGENT: Final = "darkroom"

_T = TypeVar("_T")


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


def session() -> AioSession:
    """A session with the process's own credentials (task role, profile or environment)."""
    return get_session()


async def client(
    stack: AsyncExitStack,
    aws: AioSession,
    service: str,
    settings: AwsSettings,
    *,
    connections: int = 10,
    also: AioConfig | None = None,
) -> Any:  # aiobotocore makes its clients at run time: they have no static type
    """A client that closes with the stack. `connections` bounds its pool: size it to the caller's concurrency.

    `also` overrides what is set here.
    """
    config = AioConfig(
        connect_timeout=CONNECT_TIMEOUT,
        read_timeout=READ_TIMEOUT,
        max_pool_connections=connections,
        user_agent=USER_AGENT,
        retries={"mode": "standard", "total_max_attempts": _ATTEMPTS},
        signature_version="s3v4" if service == "s3" else None,
        s3={"addressing_style": settings.s3_addressing_style} if service == "s3" else None,
    )
    return await stack.enter_async_context(
        aws.create_client(
            service,
            region_name=settings.aws_region,
            endpoint_url=settings.aws_endpoint_url,
            config=config if also is None else config.merge(also),
        )
    )


async def on_first_use(
    stack: AsyncExitStack, make: Callable[[AsyncExitStack], Awaitable[_T]]
) -> Callable[[], Awaitable[_T]]:
    """What `make` makes, once it is asked for: a client of a rare call costs megabytes. It closes in the place on
    `stack` where this stands, whenever it was made.
    """
    inner = await stack.enter_async_context(AsyncExitStack())
    lock = asyncio.Lock()
    made: list[_T] = []

    async def get() -> _T:
        async with lock:
            if not made:
                made.append(await make(inner))
        return made[0]

    return get
