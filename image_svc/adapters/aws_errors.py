"""Which errors of an AWS call mean that the service is away, and which that the call was wrong."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import aiohttp
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionError,  # noqa: A004 - botocore's own name
    CredentialRetrievalError,
    HTTPClientError,
    IncompleteReadError,
    NoCredentialsError,
)

from image_svc.ports import Unreachable
from runtime.aws_http import Refused

_AWAY: Final = (
    ConnectionError,
    HTTPClientError,  # also: time-outs, connections that broke
    IncompleteReadError,
    CredentialRetrievalError,  # the task's credential endpoint, as mortal as any other
    NoCredentialsError,
    aiohttp.ClientError,
    asyncio.TimeoutError,
)
# https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html and SQS's CommonErrors: theirs to get over, but
# with a 4xx status.
_THEIRS: Final = frozenset(
    {"RequestTimeout", "Throttling", "ThrottlingException", "RequestThrottled", "TooManyRequests", "ExpiredToken"}
)
_SERVER_ERROR: Final = 500


def code_of(error: ClientError | Refused) -> str:
    """AWS's name for the error, or the HTTP status where the answer had no body (HEAD)."""
    if isinstance(error, Refused):
        return error.code
    return str(error.response.get("Error", {}).get("Code", ""))


@contextmanager
def reaching(what: str) -> Iterator[None]:
    """Turns the errors of a call that did not get through into `Unreachable`; those of the call itself pass."""
    try:
        yield
    except _AWAY as error:
        raise Unreachable(f"{what}: {error or type(error).__name__}") from error
    except ClientError as error:
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        if status >= _SERVER_ERROR or code_of(error) in _THEIRS:
            raise Unreachable(f"{what}: {code_of(error)}") from error
        raise
    except Refused as error:
        if error.status >= _SERVER_ERROR or error.code in _THEIRS:
            raise Unreachable(f"{what}: {error}") from error
        raise


__all__ = ["BotoCoreError", "ClientError", "Refused", "code_of", "reaching"]
