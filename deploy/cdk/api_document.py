"""The document that API Gateway imports, derived from `gateway/openapi.yaml`.

API Gateway reads OpenAPI 3.0 with limits of its own, ours is 3.1. It needs little of it: paths, methods, who must
bring a key, and where requests go. Bodies, parameters and answers are the business of the gateway, which validates them
against the whole document; what API Gateway does not understand is left out here, not translated.

Limits that `derive` checks (API Gateway developer guide, "Important notes for REST APIs"): a path parameter is a whole
segment; segments hold letters, digits and `-._,:~`; one name for the parameter of a segment whatever follows; no
`/ping` and `/sping` at the root.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import yaml

from deploy.cdk import gateway_responses

SOURCE: Final = Path(__file__).resolve().parents[2] / "gateway" / "openapi.yaml"
METHODS: Final = frozenset({"get", "put", "post", "delete", "options", "head", "patch"})
# Every /v1 call carries a key; nothing else does.
KEYED_PREFIX: Final = "/v1/"
# The stage variable that holds the gateway's host and port.
GATEWAY_VARIABLE: Final = "gateway"
# Milliseconds. The default limit of a Regional API; above the 25 s of `wait` and the 20 s of a rendering.
TIMEOUT: Final = 29_000
# Milliseconds. Streams may last up to 15 minutes.
STREAM_TIMEOUT: Final = 900_000
# Answers that may be of any type pass as they are; a greedy path matches below it as well.
GREEDY: Final = "x-darkroom-greedy"

_SEGMENT: Final = re.compile(r"[A-Za-z0-9\-._,:~]+")
_PARAMETER: Final = re.compile(r"\{([A-Za-z_][A-Za-z0-9_\-]*)(\+?)\}")


class DocumentError(Exception):
    """The document has something that API Gateway cannot take; the text names it."""


def source() -> dict[str, Any]:
    """`gateway/openapi.yaml` as it stands."""
    document: dict[str, Any] = yaml.safe_load(SOURCE.read_text())
    return document


def derive(document: Mapping[str, Any], *, title: str, integration: Mapping[str, Any], scheme: str) -> dict[str, Any]:
    """API Gateway's document for ours.

    `integration` is what every integration has beside its URI (how the gateway is connected: over the internet, by a
    VPC link); `scheme` is `http` or `https`, which a stage variable cannot hold. Raises `DocumentError`.
    """
    if not str(document.get("openapi", "")).startswith("3."):
        raise DocumentError(f"openapi: {document.get('openapi')!r} is not OpenAPI 3")
    paths: dict[str, Any] = {}
    for path, item in document["paths"].items():
        _check(path)
        target, names = _greedy(path, item)
        operations: dict[str, Any] = {}
        for method, operation in item.items():
            if method not in METHODS:
                continue
            operations[method] = _operation(method, target, names, operation, integration=integration, scheme=scheme)
        if "get" in operations and "head" not in operations:
            # The gateway answers HEAD wherever it answers GET; API Gateway knows only the methods that are listed.
            operations["head"] = _operation(
                "head", target, names, _headless(item["get"]), integration=integration, scheme=scheme
            )
        if target.startswith(KEYED_PREFIX) and "options" not in operations:
            # A browser's preflight carries no key; the gateway answers it.
            preflight = {"summary": "Preflight of a browser", "responses": {"204": {}}}
            operations["options"] = _operation(
                "options", target, names, preflight, integration=integration, scheme=scheme
            )
        paths[target] = operations
    _check_siblings(paths)
    return {
        "openapi": "3.0.1",
        "info": {"title": title, "version": str(document["info"]["version"])},
        "paths": paths,
        "components": {
            "securitySchemes": {"api_key": {"type": "apiKey", "name": "x-api-key", "in": "header"}},
        },
        "x-amazon-apigateway-api-key-source": "HEADER",
        # Every byte passes as it is, in both directions: without this, what is not UTF-8 text would be changed.
        "x-amazon-apigateway-binary-media-types": ["*/*"],
        "x-amazon-apigateway-gateway-responses": gateway_responses.document(),
    }


def _operation(
    method: str,
    path: str,
    names: list[str],
    operation: Mapping[str, Any],
    *,
    integration: Mapping[str, Any],
    scheme: str,
) -> dict[str, Any]:
    streams = any(
        "text/event-stream" in answer.get("content", {}) for answer in operation.get("responses", {}).values()
    )
    derived: dict[str, Any] = {
        "summary": operation.get("summary", f"{method.upper()} {path}"),
        # HTTP_PROXY passes every answer on; the list is for the reader of the API's console.
        "responses": {
            str(status): {"description": answer.get("description") or "As the gateway answers"}
            for status, answer in operation.get("responses", {}).items()
            if str(status).isdigit()
        },
        "x-amazon-apigateway-integration": {
            **integration,
            "type": "http_proxy",
            "httpMethod": method.upper(),
            "uri": f"{scheme}://${{stageVariables.{GATEWAY_VARIABLE}}}{path.replace('+}', '}')}",
            "passthroughBehavior": "when_no_match",
            "timeoutInMillis": STREAM_TIMEOUT if streams else TIMEOUT,
            **({"responseTransferMode": "STREAM"} if streams else {}),
            **(
                {"requestParameters": {f"integration.request.path.{n}": f"method.request.path.{n}" for n in names}}
                if names
                else {}
            ),
        },
    }
    if not derived["responses"]:
        raise DocumentError(f"{method.upper()} {path}: it has no answer with a status")
    if "operationId" in operation:
        derived["operationId"] = operation["operationId"]
    if names:
        derived["parameters"] = [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names
        ]
    if path.startswith(KEYED_PREFIX) and method != "options":
        derived["security"] = [{"api_key": []}]
    return derived


def _headless(get: Mapping[str, Any]) -> dict[str, Any]:
    """What HEAD is beside its GET: the same answers without content, so that it never streams, and no id of its own."""
    return {
        "summary": f"{get.get('summary', 'GET')} (headers only)",
        "responses": {
            status: {"description": answer.get("description", "")} for status, answer in get["responses"].items()
        },
    }


def _greedy(path: str, item: Mapping[str, Any]) -> tuple[str, list[str]]:
    """The path with its last parameter made greedy where the document asks for it, and the names of its parameters."""
    names = [name for name, _ in _PARAMETER.findall(path)]
    if item.get(GREEDY):
        if not path.endswith("}"):
            raise DocumentError(f"{path}: {GREEDY} needs a parameter at the end")
        path = f"{path[:-1]}+}}"
    return path, names


def _check(path: str) -> None:
    if not path.startswith("/") or (path != "/" and path.endswith("/")):
        raise DocumentError(f"{path}: a path starts with a slash and does not end with one")
    if path in {"/ping", "/sping"}:
        raise DocumentError(f"{path}: API Gateway keeps this path for itself")
    for segment in path.strip("/").split("/") if path != "/" else []:
        if not (_SEGMENT.fullmatch(segment) or _PARAMETER.fullmatch(segment)):
            raise DocumentError(f"{path}: {segment!r} is neither a plain segment nor a parameter alone")


def _check_siblings(paths: Mapping[str, Any]) -> None:
    """Two names for the parameter below one resource are a conflict to API Gateway."""
    known: dict[str, str] = {}
    for path in paths:
        parent = ""
        for segment in path.strip("/").split("/"):
            if segment.startswith("{"):
                other = known.setdefault(parent, segment)
                if other != segment:
                    raise DocumentError(f"{path}: below {parent}/ the parameter is called {other} elsewhere")
            parent = f"{parent}/{segment}"
