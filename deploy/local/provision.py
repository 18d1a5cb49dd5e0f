"""What LocalStack and PostgreSQL must hold before the services start; made where it is missing.

The order: stacks, database secrets, schema, tenants and keys, `cluster.env`, and last the mark by which
`deploy.local.watch` sees that this LocalStack has it all. Passwords and keys are remembered by the cluster, so that
services and clients go on unchanged after LocalStack has lost everything.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from deploy.local import cloudformation, localstack, postgres
from deploy.local.layout import REPOSITORY, ApiKey, Layout, State, target

_MARK: Final = "/darkroom/local/cluster/provisioned"
_SCOPES: Final = ("images:write", "images:read", "originals:read")
# The keys of cluster.env, with the tenant and the scopes of each.
_KEYS: Final = {
    "DARKROOM_API_KEY": ("first", _SCOPES),
    "DARKROOM_SECOND_API_KEY": ("second", _SCOPES),
    "DARKROOM_ADMIN_KEY": ("first", ("admin",)),
}


class ProvisionError(Exception):
    """A part could not be made; the text says which and why."""


@dataclass(frozen=True)
class Provisioned:
    """What a client needs to know; `variables` are the lines of cluster.env."""

    variables: dict[str, str]

    @property
    def api_url(self) -> str:
        """The API through API Gateway."""
        return self.variables["DARKROOM_API_URL"]

    @property
    def api_key(self) -> str:
        """The first tenant's key."""
        return self.variables["DARKROOM_API_KEY"]


# Runs one of the product's commands, `(module, arguments, variables)`, and returns what it printed. Raises
# `ProvisionError`.
Command = Callable[[str, Sequence[str], Mapping[str, str]], str]


def on_this_machine(module: str, arguments: Sequence[str], variables: Mapping[str, str]) -> str:
    """Runs a command with this Python and this environment."""
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        env={**os.environ, **variables},
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise ProvisionError(f"{module} {' '.join(arguments)} failed: {done.stdout}{done.stderr}")
    return done.stdout.strip()


def ensure(layout: Layout, command: Command = on_this_machine) -> Provisioned:
    """Makes what is missing and writes cluster.env. LocalStack and the database must answer.

    `command` runs the product's commands: migrations, tenants and keys.
    """
    with layout.locked("provision"):
        state = layout.load()
        endpoint_url = endpoint(state)
        gateway_url = f"http://127.0.0.1:{state.ports['gateway']}"
        made = asyncio.run(cloudformation.apply(endpoint_url, localstack.REGION, gateway_url))
        _database_secrets(layout, state, made)
        migrate(layout, command)
        _keys(layout, state, made, command)
        variables = {
            "DARKROOM_API_URL": made.api_url.rstrip("/"),
            "DARKROOM_GATEWAY_URL": gateway_url,
            **{name: key.value for name, key in state.keys.items()},
            "AWS_ENDPOINT_URL": endpoint_url,
            "AWS_REGION": localstack.REGION,
            "DATABASE_URL": database_url(layout, state),
            "QUEUE_URL": made.queue_url,
            "DLQ_URL": made.dlq_url,
            "INCOMING_BUCKET": made.incoming_bucket,
            "MEDIA_BUCKET": made.media_bucket,
            **{f"{name}_TARGET": target(state.ports[service]) for name, service in _TARGETS.items()},
        }
        _write_env(layout, variables)
        localstack.client("ssm", endpoint_url).put_parameter(
            Name=_MARK, Value=made.api_id, Type="String", Overwrite=True
        )
        return Provisioned(variables)


_TARGETS: Final = {"PRESIGN": "presign_svc", "METADATA": "metadata_svc", "IMAGE": "image_svc"}


def is_provisioned(ssm: Any) -> bool:
    """Whether the LocalStack that answers now holds everything. Raises botocore's errors where none answers."""
    try:
        ssm.get_parameter(Name=_MARK)
    except ssm.exceptions.ParameterNotFound:
        return False
    return True


def endpoint(state: State) -> str:
    """Where LocalStack is."""
    return f"http://127.0.0.1:{state.ports['localstack']}"


def database_url(layout: Layout, state: State) -> str:
    """The database as its superuser."""
    return state.database_url or postgres.admin_url(layout.data / "postgres", state.ports["postgres"])


def migrate(layout: Layout, command: Command = on_this_machine) -> str:
    """Brings the schema up to date and gives the roles the passwords of their secrets; returns what it said."""
    state = layout.load()
    roles = [argument for secret in state.secrets.values() for argument in ("--secret", secret)]
    return _command(layout, state, command, "metadata_svc.migrate", *roles)


def read_env(layout: Layout) -> dict[str, str]:
    """cluster.env as a mapping. Raises `ProvisionError` where there is none."""
    if not layout.env_file.exists():
        raise ProvisionError("the cluster is not running: `make up` starts it")
    lines = layout.env_file.read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))


def _write_env(layout: Layout, variables: dict[str, str]) -> None:
    new = layout.run / "cluster.env.new"
    new.touch(mode=0o600)
    new.write_text("".join(f"{name}={value}\n" for name, value in variables.items()))
    new.replace(layout.env_file)


def _database_secrets(layout: Layout, state: State, made: cloudformation.StackOutputs) -> None:
    """Completes the generated secrets with where the database is, as their attachment to a database does on AWS."""
    manager = localstack.client("secretsmanager", endpoint(state))
    place = urlsplit(database_url(layout, state))
    state.secrets = {"owner": made.owner_secret, "app": made.app_secret, "maintenance": made.maintenance_secret}
    for role, name in state.secrets.items():
        held = json.loads(manager.get_secret_value(SecretId=name)["SecretString"])
        password = state.passwords.setdefault(role, secrets.token_urlsafe(24))
        complete = held | {
            "engine": "postgres",
            "host": place.hostname,
            "port": place.port or 5432,
            "dbname": unquote(place.path.lstrip("/")),
            "password": password,
        }
        if held != complete:
            manager.put_secret_value(SecretId=name, SecretString=json.dumps(complete))
    layout.save(state)


def _keys(layout: Layout, state: State, made: cloudformation.StackOutputs, command: Command) -> None:
    """Tenants and keys: made by the product's own admin command, or given back to an API Gateway that lost them."""
    if state.keys.keys() != _KEYS.keys():
        # Each command takes most of its second to import what it needs: side by side.
        with ThreadPoolExecutor() as pool:
            tenants = {tenant["name"]: tenant["id"] for tenant in _admin(layout, state, command, "tenant", "list")}
            missing = {tenant for tenant, _ in _KEYS.values()} - tenants.keys()
            created = pool.map(
                lambda tenant: _admin(layout, state, command, "tenant", "create", tenant), sorted(missing)
            )
            tenants |= {tenant["name"]: tenant["id"] for tenant in created}
            keys = pool.map(
                lambda wanted: _admin(
                    layout, state, command, "key", "create", tenants[wanted[0]], "--scopes", *wanted[1]
                ),
                _KEYS.values(),
            )
            state.keys = {name: ApiKey(key["tenant_id"], key["api_key"]) for name, key in zip(_KEYS, keys, strict=True)}
        layout.save(state)
    api = localstack.client("apigateway", endpoint(state))
    pages = api.get_paginator("get_api_keys").paginate(includeValues=True)
    known = {item["value"] for page in pages for item in page["items"]}
    for name, key in state.keys.items():
        if key.value not in known:
            lost = api.create_api_key(name=name, value=key.value, enabled=True)
            api.create_usage_plan_key(usagePlanId=made.usage_plan_id, keyId=lost["id"], keyType="API_KEY")


def _admin(layout: Layout, state: State, command: Command, *arguments: str) -> Any:
    return json.loads(_command(layout, state, command, "metadata_svc.admin", *arguments))


def _command(layout: Layout, state: State, command: Command, module: str, *arguments: str) -> str:
    """Runs one of the product's commands against the cluster; returns what it printed."""
    variables = {
        **localstack.CREDENTIALS,
        "AWS_REGION": localstack.REGION,
        "AWS_ENDPOINT_URL": endpoint(state),
        "DARKROOM_STAGE": "local",
        "DATABASE_URL": database_url(layout, state),
    }
    return command(module, arguments, variables)
