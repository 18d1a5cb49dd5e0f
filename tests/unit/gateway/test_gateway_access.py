"""Who may do what; what answers without a key; what the document says."""

from __future__ import annotations

import asyncio
import hashlib
from typing import Any

import pytest
from darkroom.metadata.v1 import metadata_pb2 as pb
from openapi_spec_validator import validate

from gateway import ids
from gateway.auth import Authenticator
from gateway.problems import Refusal
from gateway.routes import router
from runtime.errors import DarkroomError, Kind
from tests.support import openapi
from tests.support.gateway_fakes import SCOPES, FakeMetadata, api_key, ready_image
from tests.unit.gateway.conftest import KEY, TENANT, Gateway, Starter

ID = "01980a3e-7b1c-7c3a-9d52-3f6a1c2b4d5e"
NEW = {"filename": "a.jpg", "content_type": "image/jpeg", "size": 1000}
# Every call that needs a key: its scope, its body, and the status with that scope.
CALLS: dict[tuple[str, str], tuple[str, Any, int]] = {
    ("POST", "/v1/images"): ("images:write", NEW, 201),
    ("GET", "/v1/images"): ("images:read", None, 200),
    ("GET", f"/v1/images/{ID}"): ("images:read", None, 200),
    ("PATCH", f"/v1/images/{ID}"): ("images:write", {"tags": {}}, 200),
    ("DELETE", f"/v1/images/{ID}"): ("images:write", None, 202),
    ("GET", f"/v1/images/{ID}/events"): ("images:read", None, 200),
    ("POST", f"/v1/images/{ID}/upload"): ("images:write", None, 409),
    ("POST", f"/v1/images/{ID}/reprocess"): ("images:write", None, 202),
    ("GET", f"/v1/images/{ID}/variants/thumb"): ("images:read", None, 302),
    ("GET", f"/v1/images/{ID}/original"): ("originals:read", None, 302),
    ("GET", "/v1/usage"): ("images:read", None, 200),
}


@pytest.mark.parametrize(("method", "path"), CALLS)
@pytest.mark.parametrize("scope", [*SCOPES, "admin"])
async def test_each_call_asks_for_its_scope_and_no_other(gateway: Gateway, method: str, path: str, scope: str) -> None:
    needed, body, status = CALLS[method, path]
    key = api_key(7)
    gateway.metadata.add_key(key, TENANT, scope)
    gateway.metadata.put(ready_image(TENANT, ID))
    answer = await gateway.call(method, path, key=key, json=body)
    assert answer.status == (status if scope == needed else 403)
    if scope != needed:
        assert needed in answer.json["detail"]


def test_the_matrix_names_every_call_of_the_document_that_needs_a_key() -> None:
    keyed = {
        (method.upper(), path)
        for path, item in openapi.DOCUMENT["paths"].items()
        for method, operation in item.items()
        if method in {"get", "post", "patch", "delete", "put"} and operation.get("security") != []
    }
    assert {(method, openapi.template(path)) for method, path in CALLS} == keyed


@pytest.mark.parametrize(
    "key",
    [None, "", "drk_", "drk_x_y", api_key(9), KEY[:-1], KEY + "x", KEY.upper(), "drk_0000000000000001_" + "é" * 43],
)
@pytest.mark.parametrize(("method", "path"), CALLS)
async def test_without_a_valid_key_nothing_is_answered(
    gateway: Gateway, method: str, path: str, key: str | None
) -> None:
    answer = await gateway.call(method, path, key=key, json=CALLS[method, path][1])
    assert answer.status == 401
    assert "www-authenticate" in answer.headers
    assert key is None or key not in answer.body.decode() or len(key) < 5


async def test_a_publishable_key_needs_a_token_and_there_are_none_yet(gateway: Gateway) -> None:
    gateway.metadata.add_key(api_key(8), TENANT, kind=pb.Credential.PUBLISHABLE)
    assert (await gateway.call("GET", "/v1/usage", key=api_key(8))).status == 401


async def test_a_key_is_asked_for_once_in_a_while_and_a_wrong_one_too(gateway: Gateway) -> None:
    await asyncio.gather(*(gateway.call("GET", "/v1/usage") for _ in range(20)))
    assert gateway.metadata.calls.count("authenticate") == 1
    for _ in range(3):
        await gateway.call("GET", "/v1/usage", key=api_key(9))
    assert gateway.metadata.calls.count("authenticate") == 2


async def test_a_revoked_key_is_refused_once_its_time_is_up_and_an_outage_is_not_a_refusal() -> None:
    now = 0.0
    metadata = FakeMetadata()
    metadata.add_key(KEY, TENANT, "images:read")
    check = Authenticator(metadata, good=20, bad=2, entries=10, clock=lambda: now)
    assert (await check(KEY, 1)).tenant_id == TENANT
    metadata.keys.clear()
    now = 19.9
    await check(KEY, 1)  # used all along: that prolongs nothing
    now = 20.1
    with pytest.raises(Refusal, match="not valid"):
        await check(KEY, 1)
    metadata.add_key(KEY, TENANT, "images:read")
    now = 30.0
    metadata.failure = DarkroomError(Kind.UNAVAILABLE, "down")
    with pytest.raises(DarkroomError) as failure:
        await check(KEY, 1)
    assert failure.value.kind is Kind.UNAVAILABLE
    metadata.failure = None
    assert (await check(KEY, 1)).tenant_id == TENANT


async def test_the_secret_leaves_the_gateway_as_its_hash_only(gateway: Gateway) -> None:
    seen: list[bytes] = []
    known = gateway.metadata.authenticate

    async def watched(key_id: str, secret_sha256: bytes, timeout: float) -> pb.Credential:
        seen.append(secret_sha256)
        return await known(key_id, secret_sha256, timeout)

    gateway.metadata.authenticate = watched  # type: ignore[method-assign]  # looks on
    await gateway.call("GET", "/v1/usage")
    assert seen == [hashlib.sha256(KEY.split("_", 2)[2].encode()).digest()]


async def test_beyond_its_rate_a_tenant_is_told_when_to_come_back_and_others_are_not_touched(start: Starter) -> None:
    gateway = await start(lease_requests=2)
    gateway.metadata.granted = 3
    answers = [await gateway.call("GET", "/v1/usage") for _ in range(5)]
    assert [answer.status for answer in answers] == [200, 200, 200, 429, 429]
    assert int(answers[3].headers["retry-after"]) >= 1
    assert answers[3].json["type"] == "urn:darkroom:problem:rate_limited"


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/openapi.json", "/docs", "/docs/swagger-ui.css"])
async def test_what_needs_no_key_answers_without(gateway: Gateway, path: str) -> None:
    assert (await gateway.call("GET", path, key=None)).status == 200


async def test_readiness_says_what_is_away_and_ends_with_the_drain(gateway: Gateway) -> None:
    gateway.context.readiness.reached["presign_svc"] = False
    away = await gateway.call("GET", "/readyz", key=None)
    assert away.status == 503
    assert "presign_svc" in away.json["detail"]
    gateway.context.readiness.reached["presign_svc"] = True
    gateway.context.readiness.draining = True
    assert (await gateway.call("GET", "/readyz", key=None)).status == 503


async def test_the_page_loads_nothing_from_elsewhere(gateway: Gateway) -> None:
    page = await gateway.call("GET", "/docs", key=None)
    assert "http" not in page.body.decode().replace("http-equiv", "")
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert (await gateway.call("GET", "/docs/..%2Fapp.py", key=None, check=False)).status == 404


async def test_an_unknown_path_or_method_is_a_problem_too(gateway: Gateway) -> None:
    unknown = await gateway.call("GET", "/v2/images", check=False)
    assert (unknown.status, unknown.headers["content-type"]) == (404, "application/problem+json")
    method = await gateway.call("PUT", "/v1/usage", check=False)
    assert method.status == 405
    assert "GET" in method.headers["allow"]


async def test_a_page_of_an_allowed_origin_may_call_and_others_may_not(start: Starter) -> None:
    gateway = await start(cors_origins="https://a.test")
    allowed = await gateway.call("OPTIONS", "/v1/images", key=None, headers={"origin": "https://a.test"}, check=False)
    assert allowed.status == 204
    assert allowed.headers["access-control-allow-origin"] == "https://a.test"
    assert "x-api-key" in allowed.headers["access-control-allow-headers"]
    other = await gateway.call("OPTIONS", "/v1/images", key=None, headers={"origin": "https://b.test"}, check=False)
    assert "access-control-allow-origin" not in other.headers


def test_the_document_is_valid_openapi() -> None:
    validate(openapi.DOCUMENT)


def test_routes_and_document_are_the_same() -> None:
    routes = {(route.method.lower(), route.path) for route in router().routes}
    document = {
        (method, path)
        for path, item in openapi.DOCUMENT["paths"].items()
        for method in item
        if method in {"get", "post", "patch", "delete", "put"}
    }
    assert routes == document


def test_ids_are_version_7_in_time_order_and_never_the_same() -> None:
    made = [ids.new_id() for _ in range(2000)]
    assert len(set(made)) == 2000
    assert all(ids.known_form(text) == text for text in made)
    stamps = [text[:13] for text in made]
    assert stamps == sorted(stamps)
