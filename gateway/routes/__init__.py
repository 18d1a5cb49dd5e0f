"""One module per resource; `router` has them all."""

from __future__ import annotations

from gateway.router import Router
from gateway.routes import account, contents, document, events, images, processing, service, uploads


def router() -> Router:
    """Every route."""
    modules = (images, events, uploads, processing, contents, account, service)
    return Router([route for module in modules for route in module.ROUTES] + [*document.routes()])
