"""Tenants and API keys: `python -m metadata_svc.admin tenant create NAME`, `… key create TENANT --scopes …`.

Prints JSON. A key's secret is printed once, when it is made, and cannot be shown again; with `--into NAME` it goes into
a new secret of Secrets Manager instead, for a task whose output is kept in a log. The database is the one of
`--database-url` or DATABASE_URL, else the one of the service's maintenance secret.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from contextlib import AsyncExitStack
from typing import Any, Final, Protocol
from uuid import UUID

import msgspec

from metadata_svc.adapters import statements
from metadata_svc.adapters.api_gateway import ApiGatewayKeys, GatewayKeys, NoGatewayKeys
from metadata_svc.adapters.credentials import FixedLogin, Logins, SecretLogins
from metadata_svc.adapters.database import PoolOptions, connected
from metadata_svc.adapters.directory import Directory, TenantOptions
from metadata_svc.domain import api_key
from metadata_svc.domain.api_key import SCOPES, KeyKind
from metadata_svc.settings import Settings
from runtime import aws
from runtime.aws import AwsSettings
from runtime.errors import DarkroomError
from runtime.settings import SettingsError, load

_POOL: Final = PoolOptions(
    size=1,
    acquire_timeout=5,
    connect_timeout=5,
    statement_timeout=10,
    idle_seconds=60,
    retry_after=1,
    ssl="prefer",
)

# A new tenant's limits where none are named: roomy for a small site, and no surprise on the bill.
_MAX_IMAGE_BYTES: Final = 100 * 1024**2
_MAX_IMAGES: Final = 1_000_000
_MAX_BYTES: Final = 1024**4
_REQUESTS_PER_SECOND: Final = 500


class AdminError(Exception):
    """What was asked cannot be done; the text says why."""


class Vault(Protocol):
    """A place for a key that must not be printed."""

    async def keep(self, text: str) -> str:
        """Puts the key there and returns where that is. Raises `AdminError` where it cannot."""


class SecretVault:
    """A new secret of Secrets Manager that takes one key. `name` must be free."""

    def __init__(self, client: Any, name: str) -> None:
        self._client = client
        self._name = name

    async def keep(self, text: str) -> str:
        """Puts the key there and returns the secret's name. Raises `AdminError` where that secret is there already."""
        try:
            await self._client.create_secret(
                Name=self._name, Description="An API key: read it, hand it over, delete it", SecretString=text
            )
        except self._client.exceptions.ResourceExistsException:
            raise AdminError(f"there is a secret {self._name} already: read and delete it, or name another") from None
        return self._name


class Admin:
    """The command's actions. Each returns what is printed."""

    def __init__(self, directory: Directory, gateway: GatewayKeys, vault: Vault | None = None) -> None:
        self._directory = directory
        self._gateway = gateway
        self._vault = vault

    async def create_tenant(self, name: str, options: TenantOptions) -> dict[str, Any]:
        """A new tenant; its name must be free."""
        if await self._directory.tenants(name):
            raise AdminError(f"there is a tenant named {name}")
        return await self._directory.create_tenant(name, options)

    async def list_tenants(self) -> list[dict[str, Any]]:
        """All tenants."""
        return await self._directory.tenants()

    async def create_key(self, tenant: str, kind: KeyKind, scopes: list[str]) -> dict[str, Any]:
        """A new key, with its secret in `api_key`, or in the vault where there is one (`kept_in` names the place).

        Where API Gateway or the vault refuses it, it is revoked again.
        """
        try:
            granted = api_key.scopes_of(kind, scopes)
        except ValueError as error:
            raise AdminError(str(error)) from None
        tenant_id = await self._tenant(tenant)
        key = api_key.make()
        await self._directory.create_key(key, tenant_id, kind, granted)
        try:
            gateway_key_id = await self._gateway.create(key)
            await self._directory.attach_key(key.id, gateway_key_id)
            shown = {"api_key": key.text} if self._vault is None else {"kept_in": await self._vault.keep(key.text)}
        except BaseException:
            await self.revoke_key(key.id)
            raise
        return {
            "id": key.id,
            "tenant_id": tenant_id,
            "kind": kind.name.lower(),
            "scopes": granted,
            "gateway_key_id": gateway_key_id,
            **shown,
        }

    async def revoke_key(self, key_id: str) -> dict[str, Any]:
        """Revokes a key here first, then at API Gateway; may be repeated."""
        row = await self._directory.revoke_key(key_id)
        if row is None:
            raise AdminError(f"there is no key {key_id}")
        if row["gateway_key_id"] is not None:
            await self._gateway.delete(row["gateway_key_id"])
            await self._directory.attach_key(key_id, None)
        return {"id": key_id, "revoked": True}

    async def list_keys(self, tenant: str | None) -> list[dict[str, Any]]:
        """Keys of a tenant, or of all."""
        rows = await self._directory.keys(None if tenant is None else await self._tenant(tenant))
        return [row | {"kind": KeyKind(row["kind"]).name.lower()} for row in rows]

    async def _tenant(self, id_or_name: str) -> UUID:
        found = await self._directory.tenants(id_or_name)
        if len(found) != 1:
            raise AdminError(f"there are {len(found)} tenants of the id or name {id_or_name}; name one by its id")
        tenant_id: UUID = found[0]["id"]
        return tenant_id


async def _run(options: argparse.Namespace) -> Any:
    async with AsyncExitStack() as stack:
        session = aws.session()
        where = AwsSettings()
        logins: Logins
        if options.database_url:
            logins = FixedLogin(options.database_url)
        else:
            settings = await load(Settings, session)
            secrets = await aws.client(stack, session, "secretsmanager", settings)
            logins = SecretLogins(secrets, settings.maintenance_database_secret)
        database = await stack.enter_async_context(
            connected(logins, statements.load(), _POOL, name="metadata_svc admin")
        )
        gateway: GatewayKeys = NoGatewayKeys()
        vault: Vault | None = None
        if getattr(options, "into", None):
            vault = SecretVault(await aws.client(stack, session, "secretsmanager", where), options.into)
        if options.subject == "key" and options.action != "list" and not options.no_api_gateway:
            client = await aws.client(stack, session, "apigateway", where)
            plan = options.usage_plan or await _usage_plan(stack, session, where)
            gateway = ApiGatewayKeys(client, plan)
        return await _act(Admin(Directory(database), gateway, vault), options)


async def _act(admin: Admin, options: argparse.Namespace) -> Any:
    match options.subject, options.action:
        case "tenant", "create":
            limits = TenantOptions(
                max_image_bytes=options.max_image_bytes,
                max_images=options.max_images,
                max_bytes=options.max_bytes,
                requests_per_second=options.requests_per_second,
                keep_originals_days=options.keep_originals_days,
            )
            return await admin.create_tenant(options.name, limits)
        case "tenant", "list":
            return await admin.list_tenants()
        case "key", "create":
            return await admin.create_key(options.tenant, KeyKind[options.kind.upper()], options.scopes)
        case "key", "revoke":
            return await admin.revoke_key(options.id)
        case _:
            return await admin.list_keys(options.tenant)


async def _usage_plan(stack: AsyncExitStack, session: Any, where: AwsSettings) -> str:
    ssm = await aws.client(stack, session, "ssm", where)
    name = f"/darkroom/{where.stage}/edge/usage_plan_id"
    try:
        answer = await ssm.get_parameter(Name=name)
    except ssm.exceptions.ParameterNotFound:
        raise AdminError(
            f"no parameter {name}: deploy the stack Edge first, or give --usage-plan, or --no-api-gateway"
        ) from None
    plan: str = answer["Parameter"]["Value"]
    return plan


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m metadata_svc.admin", description="Tenants and API keys.")
    parser.add_argument("--database-url", default=os.environ.get("DATABASE_URL"), help="default: $DATABASE_URL")
    subjects = parser.add_subparsers(dest="subject", required=True)

    tenant = subjects.add_parser("tenant").add_subparsers(dest="action", required=True)
    create = tenant.add_parser("create", help="make a tenant")
    create.add_argument("name")
    create.add_argument("--max-image-bytes", type=int, default=_MAX_IMAGE_BYTES, help="largest upload")
    create.add_argument("--max-images", type=int, default=_MAX_IMAGES, help="most images at a time")
    create.add_argument("--max-bytes", type=int, default=_MAX_BYTES, help="most bytes at a time")
    create.add_argument("--requests-per-second", type=int, default=_REQUESTS_PER_SECOND, help="over all gateways")
    create.add_argument(
        "--keep-originals-days", type=int, metavar="DAYS", help="remove originals after so many days; 0: once settled"
    )
    tenant.add_parser("list", help="all tenants")

    key = subjects.add_parser("key").add_subparsers(dest="action", required=True)
    create = key.add_parser("create", help="make a key; its secret is shown this once")
    create.add_argument("tenant", help="id or name")
    create.add_argument("--scopes", nargs="*", default=[], metavar="SCOPE", help=", ".join(SCOPES))
    create.add_argument("--kind", choices=[kind.name.lower() for kind in KeyKind], default="secret")
    create.add_argument("--into", metavar="NAME", help="a new secret of Secrets Manager that takes the key, unprinted")
    revoke = key.add_parser("revoke", help="refuse a key from now on")
    revoke.add_argument("id", help="the part between the two underscores")
    for command in (create, revoke):
        command.add_argument("--usage-plan", metavar="ID", help="default: the parameter edge/usage_plan_id")
        command.add_argument("--no-api-gateway", action="store_true", help="leave API Gateway out")
    key.add_parser("list", help="all keys, without secrets").add_argument("tenant", nargs="?", help="id or name")
    return parser


def main() -> None:
    """Command line; see the module's docstring."""
    options = _parser().parse_args()
    try:
        printed = asyncio.run(_run(options))
    except (AdminError, SettingsError) as error:
        sys.exit(f"admin: {error}")
    except DarkroomError as error:
        sys.exit(f"admin: {error.detail}: {error.__cause__!r}")
    sys.stdout.write(msgspec.json.format(msgspec.json.encode(printed), indent=2).decode() + "\n")


if __name__ == "__main__":
    main()
