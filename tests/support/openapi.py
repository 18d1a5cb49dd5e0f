"""Holds real answers to `gateway/openapi.yaml`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import yaml

DOCUMENT: dict[str, Any] = yaml.safe_load(
    (Path(__file__).parents[2] / "gateway" / "openapi.yaml").read_text(encoding="utf-8")
)
_PATHS = [(re.compile(re.sub(r"\{[^}]+\}", "[^/]+", path)), path) for path in DOCUMENT["paths"]]


def template(path: str) -> str:
    """The document's path for a request's; the plain one before one with a parameter."""
    found: list[str] = [name for pattern, name in _PATHS if pattern.fullmatch(path)]
    assert found, f"{path} is not in the document"
    return min(found, key=lambda name: name.count("{"))


def check(method: str, path: str, status: int, headers: Any, body: bytes) -> None:
    """Asserts that an answer is one that the document describes."""
    operation = DOCUMENT["paths"][template(path)][method.lower()]
    declared = operation["responses"].get(str(status)) or operation["responses"]["default"]
    response = _resolved(declared)
    if str(status) not in operation["responses"]:
        assert status >= 400, f"{method} {path}: {status} is not in the document"
    for name, header in response.get("headers", {}).items():
        if _resolved(header).get("required"):
            assert name in headers, f"{method} {path} {status}: the header {name} is missing"
    content = response.get("content")
    if not content:
        assert not body, f"{method} {path} {status}: has a body"
        return
    media_type = headers["content-type"].partition(";")[0]
    assert media_type in content, f"{method} {path} {status}: {media_type} is not in the document"
    if "json" in media_type:
        schema = {**content[media_type]["schema"], "components": DOCUMENT["components"]}
        jsonschema.Draft202012Validator(schema, format_checker=jsonschema.FormatChecker()).validate(
            msgspec.json.decode(body)
        )


def _resolved(node: dict[str, Any]) -> dict[str, Any]:
    if "$ref" not in node:
        return node
    found: Any = DOCUMENT
    for part in node["$ref"].removeprefix("#/").split("/"):
        found = found[part]
    resolved: dict[str, Any] = found
    return resolved
