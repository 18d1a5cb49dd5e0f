"""The one list of what Parameter Store and Secrets Manager hold: name, type, where the value comes from, who reads it.

Services find a parameter under `/darkroom/<stage>/<folder>/<name>`, where `<name>` is the name of the setting
(`runtime.settings`). Roles get read access from the `readers` of this list and from nothing else. A value that is
secret is a secret, and the parameter holds its name.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import msgspec

PRESETS: Final = Path(__file__).resolve().parents[2] / "image_svc" / "presets.json"
Service = Literal["gateway", "presign_svc", "metadata_svc", "image_svc"]


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter.

    `source` names the unit of the stack whose attribute is the value (`bucket:incoming`, `queue_url:images`, ...), the
    setting of the environment that is it (`setting:...`), or is `text` for a value that stands in the code.
    """

    folder: Literal["shared", "edge"] | Service
    name: str
    type: Literal["name", "url", "arn", "json", "id", "number", "word", "list"]
    source: str
    readers: tuple[Service, ...]
    description: str


@dataclass(frozen=True, slots=True)
class DatabaseSecret:
    """The generated credentials of one database role: JSON with username and password; host, port and dbname are added
    when the secret is attached to a database.
    """

    unit: str
    username: str
    readers: tuple[Service, ...]
    description: str


SECRETS: Final = (
    DatabaseSecret(
        "owner", "darkroom_owner", (), "Owner of the schema and, on AWS, master user: migrations and rotation only"
    ),
    DatabaseSecret("app", "darkroom_app", ("metadata_svc",), "Tenants' statements, under row-level security"),
    DatabaseSecret(
        "maintenance", "darkroom_maintenance", ("metadata_svc",), "Worker-facing statements, key look-up, sweeping"
    ),
)

CORE: Final = (
    Parameter(
        "shared",
        "incoming_bucket",
        "name",
        "bucket:incoming",
        ("presign_svc", "image_svc"),
        "Bucket that uploads arrive in",
    ),
    Parameter(
        "shared",
        "media_bucket",
        "name",
        "bucket:media",
        ("presign_svc", "image_svc"),
        "Bucket that variants lie in",
    ),
    Parameter(
        "shared",
        "presets",
        "json",
        "text",
        ("gateway", "image_svc"),
        "Presets of variants, from image_svc/presets.json",
    ),
    Parameter(
        "metadata_svc", "queue_url", "url", "queue_url:images", ("metadata_svc",), "Queue that its outbox sends to"
    ),
    Parameter(
        "metadata_svc", "topic_arn", "arn", "topic_arn:events", ("metadata_svc",), "Topic that its outbox publishes to"
    ),
    Parameter(
        "metadata_svc",
        "app_database_secret",
        "name",
        "secret:app",
        ("metadata_svc",),
        "Name of the secret of that role",
    ),
    Parameter(
        "metadata_svc",
        "maintenance_database_secret",
        "name",
        "secret:maintenance",
        ("metadata_svc",),
        "Name of the secret of that role",
    ),
    Parameter(
        "image_svc", "queue_url", "url", "queue_url:images", ("image_svc",), "Queue that the worker receives from"
    ),
    Parameter("image_svc", "dlq_url", "url", "queue_url:images-dlq", ("image_svc",), "Its dead-letter queue"),
)

# In Core on AWS alone: on one machine pages of other origins call no API.
CORE_AWS: Final = (
    Parameter(
        "gateway",
        "cors_origins",
        "list",
        "setting:browser_origins",
        ("gateway",),
        "Origins whose pages may call the API, comma-separated",
    ),
)

# Made beside Aurora alone: locally these are the service's own defaults.
DATABASE: Final = (
    Parameter(
        "metadata_svc",
        "app_pool_size",
        "number",
        "setting:database.app_pool_size",
        ("metadata_svc",),
        "Connections of the request path, per process",
    ),
    Parameter(
        "metadata_svc",
        "maintenance_pool_size",
        "number",
        "setting:database.maintenance_pool_size",
        ("metadata_svc",),
        "Connections of all other work, per process",
    ),
    Parameter(
        "metadata_svc",
        "database_ssl",
        "word",
        "text:database_ssl",
        ("metadata_svc",),
        "TLS to the database, with its name and authority checked",
    ),
)

EDGE: Final = (
    Parameter(
        "edge",
        "usage_plan_id",
        "id",
        "usage_plan:standard",
        ("metadata_svc",),
        "Usage plan that a tenant's key is added to, by metadata_svc's admin command",
    ),
)


def presets() -> str:
    """The presets as compact JSON text. A parameter holds 4 KB (8 KB in the paid tier): more is a ValueError."""
    text = msgspec.json.encode(msgspec.json.decode(PRESETS.read_bytes())).decode()
    if len(text) > 4096:
        raise ValueError(f"{PRESETS} has {len(text)} bytes as compact JSON; a parameter holds 4096")
    return text
