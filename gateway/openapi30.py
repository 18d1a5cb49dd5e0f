"""OpenAPI 3.1 as 3.0, for readers that know no other: Swagger UI 4, which is what PyPI has without a web framework
around it.
"""

from __future__ import annotations

from typing import Any, Final

_UNKNOWN: Final = frozenset({"contentEncoding", "contentMediaType", "propertyNames"})
_NULL: Final = {"type": "null"}


def converted(document: dict[str, Any]) -> dict[str, Any]:
    """The document in terms of OpenAPI 3.0.3; what 3.0 cannot say is left out. The given one is not changed."""
    info = {name: value for name, value in document["info"].items() if name != "summary"}
    info["license"] = {"name": info["license"]["name"]}
    made: dict[str, Any] = _node({**document, "info": {}})
    return {**made, "openapi": "3.0.3", "info": info}


def _node(node: Any) -> Any:
    if isinstance(node, list):
        return [_node(item) for item in node]
    if not isinstance(node, dict):
        return node
    made = {name: value if name in {"example", "value"} else _node(value) for name, value in node.items()}
    if "$ref" in made:
        others = {name: value for name, value in made.items() if name != "$ref"}
        return {"allOf": [{"$ref": made["$ref"]}], **others} if others else made
    if isinstance(made.get("type"), list):
        made["type"] = next(name for name in made["type"] if name != "null")
        made["nullable"] = True
    if _NULL in made.get("oneOf", ()):
        made["allOf"] = [choice for choice in made.pop("oneOf") if choice != _NULL]
        made["nullable"] = True
    if "const" in made:
        made["enum"] = [made.pop("const")]
    if isinstance(made.get("examples"), list):
        made["example"] = made.pop("examples")[0]
    return {name: value for name, value in made.items() if name not in _UNKNOWN}
