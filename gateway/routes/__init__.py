"""One module per resource; `add` puts them on an application."""

from __future__ import annotations

from aiohttp import web

from gateway.routes import account, contents, document, images, service, uploads


def add(app: web.Application) -> None:
    """Adds every route."""
    for module in (images, uploads, contents, account, service, document):
        app.add_routes(module.ROUTES)
