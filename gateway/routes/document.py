"""The API's description: as JSON, and as a page to read and try."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Final

import swagger_ui_bundle
import yaml
from aiohttp import web

from gateway.problems import Refusal
from runtime.errors import Kind

SOURCE: Final = Path(__file__).resolve().parents[1] / "openapi.yaml"
_FILES: Final = {
    "swagger-ui.css": "text/css",
    "swagger-ui-bundle.js": "text/javascript",
    "favicon-32x32.png": "image/png",
    "start.js": "text/javascript",
}
_START: Final = """window.onload = () => SwaggerUIBundle({
  url: new URL("../openapi.json", document.currentScript?.src ?? location.href.replace(/\\/?$/, "/")).href,
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


@functools.cache
def _document() -> bytes:
    return json.dumps(yaml.safe_load(SOURCE.read_text(encoding="utf-8"))).encode()


@functools.cache
def _file(name: str) -> bytes:
    if name == "start.js":
        return _START.encode()
    folder = Path(swagger_ui_bundle.__file__).parent / "vendor"
    return next(folder.rglob(name)).read_bytes()


async def document(_request: web.Request) -> web.Response:
    """GET: `gateway/openapi.yaml` as JSON."""
    return web.Response(body=_document(), content_type="application/json")


async def page(_request: web.Request) -> web.Response:
    """GET: the page."""
    return web.Response(text=_PAGE, content_type="text/html", headers={"content-security-policy": _POLICY})


async def file(request: web.Request) -> web.Response:
    """GET: a file of the page."""
    name = request.match_info["file"]
    if name not in _FILES:
        raise Refusal(Kind.NOT_FOUND, "There is no such file.")
    return web.Response(body=_file(name), content_type=_FILES[name], headers={"cache-control": "public, max-age=3600"})


ROUTES: Final = (
    web.get("/openapi.json", document),
    web.get("/docs", page),
    web.get("/docs/{file}", file),
)
