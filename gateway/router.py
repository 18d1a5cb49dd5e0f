"""Which route a path is: a tree of its parts. A plain part goes before a parameter."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

from gateway.answers import Answer
from gateway.request import Request

Handler = Callable[[Request], Awaitable[Answer]]

_PARAMETER: Final = "{}"


@dataclass(frozen=True, slots=True)
class Route:
    """One operation of `openapi.yaml`. `always` answers also when the process has all it can carry in hand."""

    method: str
    path: str
    handler: Handler
    always: bool = False


@dataclass(slots=True)
class Resource:
    """What is at one path: its operations, and the names of its parameters in their order."""

    path: str
    parameters: tuple[str, ...]
    routes: dict[str, Route] = field(default_factory=dict)

    @property
    def allowed(self) -> str:
        """The value of `Allow`."""
        return ", ".join(sorted({*self.routes, "OPTIONS"}))


class _Node:
    __slots__ = ("children", "resource")

    def __init__(self) -> None:
        self.children: dict[str, _Node] = {}
        self.resource: Resource | None = None


class Router:
    """Finds the resource of a path."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self._root = _Node()
        self.routes = tuple(routes)
        for route in self.routes:
            self._add(route)

    def _add(self, route: Route) -> None:
        node = self._root
        parts = route.path.split("/")
        for part in parts:
            node = node.children.setdefault(_PARAMETER if part.startswith("{") else part, _Node())
        if node.resource is None:
            node.resource = Resource(route.path, tuple(part[1:-1] for part in parts if part.startswith("{")))
        node.resource.routes[route.method] = route
        if route.method == "GET":  # RFC 9110, 9.3.2: the same without the body
            node.resource.routes["HEAD"] = route

    def find(self, path: str) -> tuple[Resource, list[str]] | None:
        """The resource and the values of its parameters, as they stand in the path (percent-encoded); or None."""
        node = self._root
        values: list[str] = []
        for part in path.split("/"):
            child = node.children.get(part)
            if child is None:
                child = node.children.get(_PARAMETER)
                if child is None or not part:
                    return None
                values.append(part)
            node = child
        return None if node.resource is None else (node.resource, values)
