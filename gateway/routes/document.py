"""The API's description: as JSON, and as a page to read and try."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any, Final

import msgspec
import swagger_ui_bundle
import yaml

from gateway import openapi30
from gateway.answers import JSON, Answer
from gateway.problems import Refusal
from gateway.request import Request
from gateway.router import Route
from runtime.errors import Kind

SOURCE: Final = Path(__file__).resolve().parents[1] / "openapi.yaml"
_DOCUMENT_30: Final = "openapi-3.0.json"  # for the page: Swagger UI 4 does not read 3.1
# What the page is made of.
_FILES: Final = {
    "swagger-ui.css": "text/css",
    "swagger-ui-bundle.js": "text/javascript",
    "favicon-32x32.png": "image/png",
    "start.js": "text/javascript",
    _DOCUMENT_30: JSON,
}
_START: Final = """window.onload = () => SwaggerUIBundle({
  url: new URL("docs/openapi-3.0.json", location.href.replace(/\\/$/, "")).href,
  dom_id: "#page", deepLinking: true, tryItOutEnabled: true, validatorUrl: null
});
"""
_PAGE: Final = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Darkroom API</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="docs/favicon-32x32.png"><link rel="stylesheet" href="docs/swagger-ui.css"></head>
<body><div id="page"></div>
<script src="docs/swagger-ui-bundle.js"></script><script src="docs/start.js"></script></body></html>
"""
# Swagger UI sets styles on elements; scripts come from here alone.
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def document() -> dict[str, Any]:
    """`gateway/openapi.yaml`."""
    # The C loader reads it in 20 ms, the other one in 100.
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    read: dict[str, Any] = yaml.load(SOURCE.read_text(encoding="utf-8"), loader)  # noqa: S506  # both are safe ones
    return read


@functools.cache
def _file(name: str) -> bytes:
    return next((Path(swagger_ui_bundle.__file__).parent / "vendor").rglob(name)).read_bytes()


def routes() -> tuple[Route, ...]:
    """The routes; the document is read here, once."""
    told = document()
    as_it_is = msgspec.json.encode(told)
    own = {"start.js": _START.encode(), _DOCUMENT_30: msgspec.json.encode(openapi30.converted(told))}

    async def openapi(_request: Request) -> Answer:
        """GET: the document as JSON."""
        return Answer(200, as_it_is, JSON)

    async def page(_request: Request) -> Answer:
        """GET: the page."""
        return Answer(200, _PAGE.encode(), "text/html; charset=utf-8", [("content-security-policy", _POLICY)])

    async def file(request: Request) -> Answer:
        """GET: a file of the page."""
        name = request.params["file"]
        if name not in _FILES:
            raise Refusal(Kind.NOT_FOUND, "There is no such file.")
        body = own[name] if name in own else _file(name)
        return Answer(200, body, _FILES[name], [("cache-control", "public, max-age=3600")])

    return (
        Route("GET", "/openapi.json", openapi),
        Route("GET", "/docs", page),
        Route("GET", "/docs/{file}", file),
    )
