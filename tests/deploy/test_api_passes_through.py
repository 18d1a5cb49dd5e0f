"""The REST API of the committed template on LocalStack, with a real HTTP server behind it: what goes through, and how.

The server behind stands for the gateway: it answers what the test asks for in the query, and says what reached it.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from aiobotocore.session import get_session
from aiohttp import web
from multidict import CIMultiDict
from yarl import URL

from deploy.cdk import api_document
from deploy.local import cloudformation
from tests.support import openapi
from tests.support.localstack import LocalStack

Answer = tuple[int, CIMultiDict[str], bytes]


@dataclass
class Behind:
    """The server behind API Gateway: the answer it is to give next, and the request that it saw last."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b"{}"
    seen: web.Request | None = None
    seen_body: bytes = b""

    def answers(self, status: int = 200, body: bytes = b"{}", headers: dict[str, str] | None = None) -> None:
        self.status, self.body, self.headers, self.seen = status, body, headers or {}, None

    async def handle(self, request: web.Request) -> web.Response:
        self.seen, self.seen_body = request, await request.read()
        return web.Response(status=self.status, body=self.body, headers=self.headers)

    @property
    def request(self) -> web.Request:
        assert self.seen is not None, "nothing reached the server behind"
        return self.seen


@dataclass(frozen=True)
class Api:
    """The API as a client sees it."""

    url: str
    key: str
    http: aiohttp.ClientSession

    async def call(
        self,
        method: str,
        path: str,
        *,
        keyed: bool = True,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
    ) -> Answer:
        """One request, no redirect followed; `path` is already quoted."""
        sent = {**(headers or {}), **({"x-api-key": self.key} if keyed else {})}
        target = URL(self.url + path, encoded=True)
        async with self.http.request(method, target, data=body, headers=sent, allow_redirects=False) as answer:
            return answer.status, CIMultiDict(answer.headers), await answer.read()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def behind() -> AsyncIterator[tuple[Behind, str]]:
    """The server behind, and its URL."""
    server = Behind()
    app = web.Application(client_max_size=20 * 1024**2)
    app.router.add_route("*", "/{path:.*}", server.handle)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield server, f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def deployed(localstack: LocalStack, behind: tuple[Behind, str]) -> AsyncIterator[Api]:
    """The API in front of it, with a key of the usage plan."""
    made = await cloudformation.apply(localstack.endpoint_url, localstack.region, behind[1])
    async with (
        get_session().create_client(
            "apigateway", region_name=localstack.region, endpoint_url=localstack.endpoint("apigateway")
        ) as gateway,
        # Nothing is added, decompressed or followed: what is seen is what came.
        aiohttp.ClientSession(auto_decompress=False, skip_auto_headers={"accept-encoding"}) as http,
    ):
        value = f"drk_{secrets.token_hex(8)}_{secrets.token_urlsafe(32)}"
        key = await gateway.create_api_key(name="pass-through", value=value, enabled=True)
        await gateway.create_usage_plan_key(usagePlanId=made.usage_plan_id, keyId=key["id"], keyType="API_KEY")
        yield Api(made.api_url, value, http)
        await gateway.delete_api_key(apiKey=key["id"])


@pytest.fixture
def api(deployed: Api, behind: tuple[Behind, str]) -> Api:
    behind[0].answers()
    return deployed


@pytest.fixture
def server(behind: tuple[Behind, str]) -> Behind:
    return behind[0]


def operations() -> list[tuple[str, str]]:
    """Every call of the document, with something for its parameters."""
    return [
        (
            method.upper(),
            path.replace("{id}", "0198c0de-0000-7000-8000-000000000001")
            .replace("{name}", "thumb")
            .replace("{file}", "swagger-ui.css"),
        )
        for path, item in openapi.DOCUMENT["paths"].items()
        for method in item
        if method in api_document.METHODS
    ]


@pytest.mark.parametrize(("method", "path"), operations())
async def test_every_call_of_the_document_reaches_the_gateway_as_it_was_sent(
    api: Api, server: Behind, method: str, path: str
) -> None:
    status, _, _ = await api.call(method, path, keyed=path.startswith("/v1/"))
    assert status == 200
    assert (server.request.method, server.request.path) == (method, path)


@pytest.mark.parametrize(("method", "path"), [call for call in operations() if call[1].startswith("/v1/")])
async def test_v1_is_closed_without_a_key_and_with_a_wrong_one(
    api: Api, server: Behind, method: str, path: str
) -> None:
    assert (await api.call(method, path, keyed=False))[0] in {401, 403}
    assert (await api.call(method, path, keyed=False, headers={"x-api-key": "drk_nobody_" + "x" * 43}))[0] in {401, 403}
    assert server.seen is None


async def test_what_is_not_in_the_document_does_not_reach_the_gateway(api: Api, server: Behind) -> None:
    for method, path in (("GET", "/v1/nothing"), ("POST", "/healthz"), ("GET", "/etc/passwd")):
        assert (await api.call(method, path))[0] in {403, 404}
    assert server.seen is None


@pytest.mark.parametrize("status", [200, 201, 202, 400, 401, 403, 404, 409, 410, 412, 413, 415, 422, 429, 500, 503])
async def test_a_status_comes_back_as_the_gateway_gave_it(api: Api, server: Behind, status: int) -> None:
    problem = json.dumps({"type": "urn:darkroom:problem:x", "status": status}).encode()
    server.answers(status, problem, {"content-type": "application/problem+json"})
    got, headers, body = await api.call("GET", "/v1/usage")
    assert (got, headers["content-type"], body) == (status, "application/problem+json", problem)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_reaches_the_client_and_is_not_followed(api: Api, server: Behind, status: int) -> None:
    target = "http://127.0.0.1:9/media/t/i/thumb.webp?X-Amz-Signature=abc&X-Amz-Expires=900"
    server.answers(status, b"", {"location": target})
    got, headers, _ = await api.call("GET", "/v1/images/0198c0de/variants/thumb")
    assert (got, headers["location"]) == (status, target)


async def test_headers_of_the_request_go_through(api: Api, server: Behind) -> None:
    sent = {
        "Idempotency-Key": "order 17, second try",
        "If-Match": '"v3"',
        "If-None-Match": '"v2"',
        "Content-Type": "application/json",
        "Authorization": "Bearer a.b.c",
        "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "x-request-id": "from-the-client",
    }
    await api.call("PATCH", "/v1/images/0198c0de", body=b"{}", headers=sent)
    reached = server.request.headers
    assert {name: reached.get(name) for name in sent} == sent
    assert reached["x-api-key"] == api.key


async def test_headers_of_the_answer_come_back(api: Api, server: Behind) -> None:
    given = {
        "Location": "/v1/images/0198c0de",
        "ETag": '"v3"',
        "Retry-After": "2",
        "x-request-id": "0af7651916cd43dd",
        "Cache-Control": "private, max-age=60",
        "Vary": "origin",
    }
    server.answers(201, headers=given)
    _, headers, _ = await api.call("POST", "/v1/images", body=b"{}", headers={"content-type": "application/json"})
    assert {name: headers.get(name) for name in given} == given


async def test_a_query_goes_through_with_repetitions_and_what_is_quoted(api: Api, server: Behind) -> None:
    await api.call("GET", "/v1/images?tag=album:may&tag=place%3ASeoul%20%2B%26&state=READY&page_token=a%2Fb%3D%3D")
    assert server.request.query.getall("tag") == ["album:may", "place:Seoul +&"]
    assert server.request.query["state"] == "READY"
    assert server.request.query["page_token"] == "a/b=="


async def test_a_head_request_is_one_to_the_gateway_too(api: Api, server: Behind) -> None:
    server.answers(200, b"body", {"etag": '"v3"'})
    status, headers, body = await api.call("HEAD", "/v1/images/0198c0de")
    assert (status, headers["etag"], body) == (200, '"v3"', b"")
    assert server.request.method == "HEAD"
    server.answers()
    assert (await api.call("HEAD", "/v1/images/0198c0de", keyed=False))[0] in {401, 403}
    assert server.seen is None


async def test_a_browsers_preflight_needs_no_key_and_the_gateway_answers_it(api: Api, server: Behind) -> None:
    server.answers(204, b"", {"access-control-allow-origin": "https://photos.example.com"})
    asked = {"origin": "https://photos.example.com", "access-control-request-method": "POST"}
    status, headers, _ = await api.call("OPTIONS", "/v1/images", keyed=False, headers=asked)
    assert (status, headers.getall("access-control-allow-origin")) == (204, ["https://photos.example.com"])
    assert server.request.method == "OPTIONS"


async def test_a_quoted_slash_in_a_path_stays_inside_its_segment(api: Api, server: Behind) -> None:
    await api.call("GET", "/v1/images/a%2Fb")
    assert server.request.raw_path == "/v1/images/a%2Fb"


@pytest.mark.parametrize("size", [0, 1, 65_537, 900_000])
async def test_bytes_come_through_unchanged_in_both_directions(api: Api, server: Behind, size: int) -> None:
    up, down = os.urandom(size), os.urandom(size)
    server.answers(200, down, {"content-type": "image/png"})
    _, headers, body = await api.call(
        "POST", "/v1/images", body=up, headers={"content-type": "application/octet-stream"}
    )
    assert hashlib.sha256(server.seen_body).digest() == hashlib.sha256(up).digest()
    assert hashlib.sha256(body).digest() == hashlib.sha256(down).digest()
    assert headers["content-type"] == "image/png"


async def test_a_gateway_that_is_away_is_a_5xx_and_not_a_hang(localstack: LocalStack, api: Api, behind: Any) -> None:
    made = await cloudformation.apply(localstack.endpoint_url, localstack.region, "http://127.0.0.1:9")
    status, _, _ = await Api(made.api_url, api.key, api.http).call("GET", "/healthz", keyed=False)
    assert 500 <= status < 600
    await cloudformation.apply(localstack.endpoint_url, localstack.region, behind[1])
