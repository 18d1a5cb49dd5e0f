"""Parameter Store, read without a client of botocore's: the model of its service alone takes 13 MB."""

from __future__ import annotations

import asyncio
import random
from contextlib import AsyncExitStack
from typing import Any, Final

import aiohttp
from aiobotocore.session import AioSession
from botocore.exceptions import BotoCoreError

from runtime import aws_http
from runtime.aws import AwsSettings
from runtime.aws_http import AwsHttp, Refused
from runtime.watched import Stored

_TARGET: Final = "AmazonSSM.GetParametersByPath"
_CONTENT: Final = "application/x-amz-json-1.1"
# A whole account has 40 reads a second: when many tasks start at once, some are asked to come again.
_TRIES: Final = 4
_FIRST_WAIT: Final = 0.2  # seconds; doubles from there
_SERVER_ERROR: Final = 500
_LATER: Final = frozenset({"ThrottlingException", "TooManyUpdates", "ExpiredTokenException"})


class ParametersUnavailable(Exception):  # noqa: N818 - says what is the matter
    """Parameter Store cannot be read: it does not answer, or does not let us."""


class ParameterStore:
    """Reads folders of parameters."""

    def __init__(self, http: AwsHttp) -> None:
        self._http = http

    async def folder(self, path: str) -> dict[str, Stored]:
        """What lies directly under `path` (with a slash at its end), by name. Raises `ParametersUnavailable`."""
        found: dict[str, Stored] = {}
        more: dict[str, str] = {}
        while True:
            page = await self._page({"Path": path, **more})
            for item in page["Parameters"]:
                found[item["Name"].removeprefix(path)] = Stored(item["Value"], int(item.get("Version", 0)))
            if not page.get("NextToken"):
                return found
            more = {"NextToken": page["NextToken"]}

    async def _page(self, parameters: dict[str, str]) -> dict[str, Any]:
        wait = _FIRST_WAIT
        for left in reversed(range(_TRIES)):
            try:
                return await self._http.call(_TARGET, parameters, content_type=_CONTENT)
            except (aiohttp.ClientError, TimeoutError, Refused, BotoCoreError) as error:
                final = isinstance(error, Refused) and error.status < _SERVER_ERROR and error.code not in _LATER
                if final or not left:
                    raise ParametersUnavailable(str(error) or type(error).__name__) from error
            await asyncio.sleep(wait * random.uniform(0.5, 1.0))  # noqa: S311 - spreads load, protects nothing
            wait *= 2
        raise AssertionError("the last try returns or raises")


async def opened(stack: AsyncExitStack, aws: AioSession, where: AwsSettings) -> ParameterStore:
    """Parameter Store, over a connection that closes with the stack. Raises `ParametersUnavailable`."""
    try:
        return ParameterStore(await aws_http.opened(stack, aws, "ssm", where, connections=1))
    except (LookupError, BotoCoreError) as error:
        raise ParametersUnavailable(str(error)) from error
