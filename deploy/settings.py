"""Every setting of every service on one page: `make settings` writes docs/settings.md.

What a service can be told stands in its `settings.py`; what a deployment tells it, in `deploy/cdk/parameters.py`. The
page puts both side by side, so that it can be looked up where a value comes from.
"""

from __future__ import annotations

import re
import types
from pathlib import Path
from typing import Any, Final, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from deploy.cdk import parameters
from gateway.settings import Settings as Gateway
from image_svc.settings import Settings as Image
from metadata_svc.settings import Settings as Metadata
from presign_svc.settings import Settings as Presign
from runtime.settings import ServiceSettings

DOCUMENT: Final = Path(__file__).resolve().parents[1] / "docs" / "settings.md"
SERVICES: Final[tuple[type[ServiceSettings], ...]] = (Gateway, Presign, Metadata, Image)

_HEAD: Final = """# Settings

Every limit, time-out, size and rate has a name, a unit and a default here. A service takes a setting from its
environment, else from Parameter Store, else the default; a wrong one stops it at the start, with its name and what is
allowed. What is changed seldom and belongs to a whole deployment (sizes of tasks, zones, throttles) stands in
[`deploy/cdk/environments`](../deploy/cdk/environments) instead. This page is written by `make settings` from the
services' `settings.py` and from `deploy/cdk/parameters.py`.

A parameter is `/darkroom/<stage>/<folder>/<name>`: the setting `pool_size` of a service is the name `pool_size` in
that service's folder. Those marked *deployed* are written by the stacks; any other setting may be given a parameter
of its own in the service's folder.
"""


def rendered() -> str:
    """The page's text."""
    every = set.intersection(*(set(service.model_fields) for service in SERVICES))
    parts = [_HEAD, "\n## Every service\n\n", *_table(Gateway, [n for n in Gateway.model_fields if n in every], "")]
    for service in SERVICES:
        own = [name for name in service.model_fields if name not in every]
        parts += [f"\n## {service.service}\n\n", *_table(service, own, service.service)]
    parts.append("\n## Secrets\n\nIn Secrets Manager, as JSON; a setting holds the name of one.\n\n")
    parts.append("| secret | read by | |\n|---|---|---|\n")
    for secret in parameters.SECRETS:
        readers = ", ".join(secret.readers) or "migrations"
        parts.append(f"| `darkroom/<stage>/database/{secret.unit}` | {readers} | {secret.description} |\n")
    parts.append("\n## Read by commands\n\n| parameter | read by | |\n|---|---|---|\n")
    for entry in parameters.EDGE:
        path = f"/darkroom/<stage>/{entry.folder}/{entry.name}"
        parts.append(f"| `{path}` | {', '.join(entry.readers)} | {entry.description} |\n")
    return "".join(parts)


def _table(service: type[ServiceSettings], names: list[str], folder: str) -> list[str]:
    deployed = {
        entry.name: f"*deployed*: `{entry.folder}`"
        for entries in (parameters.CORE, parameters.CORE_AWS, parameters.DATABASE)
        for entry in entries
        if entry.folder in {"shared", folder}
    }
    lines = ["| variable | type | default | parameter | |\n|---|---|---|---|---|\n"]
    for name in names:
        field = service.model_fields[name]
        alias = field.validation_alias
        prefix = "<SERVICE>_" if not folder else str(service.model_config.get("env_prefix", ""))
        variable = alias if isinstance(alias, str) else f"{prefix}{name.upper()}"
        described = re.sub(r"\s+", " ", field.description or "").replace("|", "\\|")
        cells = (f"`{variable}`", _type(field.annotation), _default(field), deployed.get(name, ""), described)
        lines.append(f"| {' | '.join(cells)} |\n")
    return lines


def _type(annotation: Any) -> str:
    origin = get_origin(annotation)
    if origin is Literal:
        return " or ".join(f"`{value}`" for value in get_args(annotation))
    if origin in {Union, types.UnionType}:
        return " or ".join(_type(part) for part in get_args(annotation) if part is not type(None))
    if origin in {tuple, list, frozenset}:
        return "list"
    return {int: "whole number", float: "number", str: "text", bool: "true or false"}.get(annotation, "text")


def _default(field: FieldInfo) -> str:
    if field.default is PydanticUndefined and field.default_factory is None:
        return "required"
    value = field.get_default(call_default_factory=True, validated_data={})
    if value is None or value in ("", ()):
        return "none"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


if __name__ == "__main__":
    DOCUMENT.write_text(rendered(), encoding="utf-8")
