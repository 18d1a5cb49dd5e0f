"""Signed requests to one AWS service, for the few calls of a hot path.

botocore spends 2 ms of CPU on a call (endpoint rules, hooks, serialisers, parsers), this a third of that, and less on a
body that is hashed anyway. Whatever is not hot goes through aiobotocore's clients (`runtime.aws`).
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import math
import os
import random
import re
import ssl
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

import aiohttp
import msgspec
from aiobotocore.session import AioSession
from botocore.httpsession import get_cert_path
from yarl import URL

from runtime.aws import CONNECT_TIMEOUT, READ_TIMEOUT, USER_AGENT, AwsSettings

NO_BODY: Final = hashlib.sha256(b"").digest()
_ALGORITHM: Final = "AWS4-HMAC-SHA256"
_REFUSED: Final = 300
_SERVER_ERROR: Final = 500
# A kept connection that the other side has closed meanwhile shows with the next request, and a server that is about to
# go says 5xx: one more try finds another one. Whoever calls has patience of its own beyond that.
_TRIES: Final = 2
_PAUSE: Final = 0.1  # seconds, before a server that refused is asked again
_UNASKED: Final = ("Accept", "Accept-Encoding", "Content-Type", "User-Agent")
_answers: Final = msgspec.json.Decoder(dict[str, Any])
_FORM: Final = MappingProxyType({"content-type": "application/x-www-form-urlencoded"})
_XML_CODE: Final = re.compile(rb"<Code>([^<]*)</Code>")


class Refused(Exception):  # noqa: N818 - what AWS answers
    """AWS answered with another status than one of success. `code` is its name for the error; the status where the
    answer had no body (HEAD).
    """

    def __init__(self, status: int, code: str) -> None:
        super().__init__(f"{code} ({status})" if code else str(status))
        self.status = status
        self.code = code or str(status)


@dataclass(frozen=True, slots=True)
class Keys:
    """What signs."""

    access: str
    secret: str = field(repr=False)
    token: str | None = field(default=None, repr=False)


class Signer:
    """Signature Version 4 in headers: https://docs.aws.amazon.com/IAM/latest/UserGuide/create-signed-request.html."""

    def __init__(self, service: str, region: str) -> None:
        self._parts = (region, service, "aws4_request")
        self._known: tuple[str, str, bytes] | None = None

    def sign(
        self,
        keys: Keys,
        method: str,
        host: str,
        path: str,
        *,
        headers: Mapping[str, str],
        digest: bytes,
        moment: float,
    ) -> dict[str, str]:
        """The headers with everything that signs them. `path` is percent-encoded and has no query; names are lower
        case, values without space at the ends; `digest` is the body's SHA-256.
        """
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(moment))
        scope = "/".join((stamp[:8], *self._parts))
        content = digest.hex()
        signed = {**headers, "host": host, "x-amz-content-sha256": content, "x-amz-date": stamp}
        if keys.token is not None:
            signed["x-amz-security-token"] = keys.token
        names = sorted(signed)
        listed = ";".join(names)
        lines = "".join(f"{name}:{signed[name]}\n" for name in names)
        request = hashlib.sha256(f"{method}\n{path}\n\n{lines}\n{listed}\n{content}".encode()).hexdigest()
        to_sign = f"{_ALGORITHM}\n{stamp}\n{scope}\n{request}"
        signature = hmac.digest(self._key(keys.secret, stamp[:8]), to_sign.encode(), "sha256").hex()
        signed["authorization"] = (
            f"{_ALGORITHM} Credential={keys.access}/{scope}, SignedHeaders={listed}, Signature={signature}"
        )
        return signed

    def _key(self, secret: str, day: str) -> bytes:
        if self._known is None or self._known[:2] != (secret, day):
            key = f"AWS4{secret}".encode()
            for part in (day, *self._parts):
                key = hmac.digest(key, part.encode(), "sha256")
            self._known = secret, day, key
        return self._known[2]


class AwsHttp:
    """One service. `credentials` are aiobotocore's, which refresh themselves; `endpoint` is scheme and host; where
    nothing comes for `read_timeout` seconds, a request is given up with a TimeoutError.
    """

    def __init__(
        self,
        http: aiohttp.ClientSession,
        credentials: Any,
        *,
        service: str,
        region: str,
        endpoint: str,
        read_timeout: float = READ_TIMEOUT,
    ) -> None:
        self._http = http
        self._credentials = credentials
        self._signer = Signer(service, region)
        parts = urlsplit(endpoint)
        self._scheme, self._host = parts.scheme, parts.netloc
        self._read_timeout = read_timeout

    @asynccontextmanager
    async def send(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str],
        body: bytes = b"",
        digest: bytes = NO_BODY,
        *,
        subdomain: str = "",
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Sends a request and opens its answer. Raises `Refused`, and aiohttp's errors where there is none.

        `path` is percent-encoded; `digest` is the body's SHA-256; `subdomain` stands in front of the service's host.
        """
        host = f"{subdomain}.{self._host}" if subdomain else self._host
        frozen = await self._credentials.get_frozen_credentials()
        keys = Keys(frozen.access_key, frozen.secret_key, frozen.token or None)
        signed = self._signer.sign(keys, method, host, path, headers=headers, digest=digest, moment=time.time())
        response = await self._sent(method, URL(f"{self._scheme}://{host}{path}", encoded=True), signed, body)
        async with response:
            if response.status >= _REFUSED:
                raise Refused(response.status, _code(response.headers, await self._read(response)))
            yield response

    async def pieces(self, response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
        """A large body as it comes. Raises as `send`.

        With one timer; aiohttp's own time-out sets one anew with each piece of a photo, a twentieth of a worker's CPU.
        """
        content, loop, waiting_since = response.content, asyncio.get_running_loop(), math.inf
        timer: asyncio.TimerHandle

        def look() -> None:
            nonlocal timer
            left = waiting_since + self._read_timeout - loop.time()
            if left <= 0:
                content.set_exception(TimeoutError(f"nothing came for {self._read_timeout} s"))
            else:
                timer = loop.call_later(min(left, self._read_timeout), look)

        timer = loop.call_later(self._read_timeout, look)
        try:
            while True:
                waiting_since = loop.time()
                piece, _ = await content.readchunk()
                waiting_since = math.inf  # how long the reader takes is its own affair
                if not piece:  # a length is known: an empty one is the end
                    return
                yield piece
        finally:
            timer.cancel()

    async def call(self, target: str, parameters: Mapping[str, Any], *, content_type: str) -> dict[str, Any]:
        """One operation of a service that speaks JSON; its answer. Raises as `send`."""
        body = msgspec.json.encode(parameters)
        headers = {"content-type": content_type, "x-amz-target": target}
        async with self.send("POST", "/", headers, body, hashlib.sha256(body).digest()) as response:
            content = await self._read(response)
        return _answers.decode(content) if content else {}

    async def query(self, parameters: Mapping[str, str]) -> bytes:
        """One operation of a service that speaks the older query protocol, named by `Action` and `Version` among the
        parameters; the XML of its answer. Raises as `send`.
        """
        body = urlencode(parameters).encode()
        async with self.send("POST", "/", _FORM, body, hashlib.sha256(body).digest()) as response:
            return await self._read(response)

    async def _read(self, response: aiohttp.ClientResponse) -> bytes:
        async with asyncio.timeout(self._read_timeout):
            return await response.read()

    async def _sent(self, method: str, url: URL, headers: Mapping[str, str], body: bytes) -> aiohttp.ClientResponse:
        for left in reversed(range(_TRIES)):
            try:
                async with asyncio.timeout(self._read_timeout):
                    response = await self._http.request(
                        method,
                        url,
                        data=body or None,
                        headers=headers,
                        allow_redirects=False,
                    )
            except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError):
                if not left:
                    raise
                continue
            if response.status < _SERVER_ERROR or not left:
                return response
            response.release()
            await asyncio.sleep(_PAUSE * random.uniform(0.5, 1.0))  # noqa: S311 - spreads load, protects nothing
        raise AssertionError("the last try returns or raises")


async def opened(
    stack: AsyncExitStack, aws: AioSession, service: str, settings: AwsSettings, *, connections: int
) -> AwsHttp:
    """One service's requests over a pool of connections that closes with the stack."""
    credentials = await aws.get_credentials()
    if credentials is None:
        raise LookupError("there are no AWS credentials: neither task role, profile nor environment offers any")
    secure = ssl.create_default_context(cafile=os.environ.get("AWS_CA_BUNDLE") or get_cert_path(True))
    http = await stack.enter_async_context(
        aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=connections, ssl=secure),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT),  # the rest: see `AwsHttp`
            headers={"user-agent": USER_AGENT},
            skip_auto_headers=_UNASKED,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
        )
    )
    endpoint = settings.aws_endpoint_url or regional(service, settings.aws_region)
    return AwsHttp(http, credentials, service=service, region=settings.aws_region, endpoint=endpoint)


def regional(service: str, region: str) -> str:
    """Scheme and host of a regional service. China's partition has a domain of its own, GovCloud has AWS's."""
    domain = "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"
    return f"https://{service}.{region}.{domain}"


def _code(headers: Mapping[str, str], body: bytes) -> str:
    """AWS's name for an error: S3 puts it into XML; SQS into JSON, and its older name into a header."""
    if query_error := headers.get("x-amzn-query-error"):
        return query_error.partition(";")[0]
    if found := _XML_CODE.search(body):
        return found[1].decode()
    try:
        return str(msgspec.json.decode(body)["__type"]).rpartition("#")[2]
    except (msgspec.DecodeError, KeyError, TypeError):
        return ""
