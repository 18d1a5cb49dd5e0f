"""What AWS's function for alternating users does when it rotates a secret, against a real database and LocalStack.

The statements are those of `SecretsManagerRDSPostgreSQLRotationMultiUser` (github.com/aws-samples/
aws-secrets-manager-rotation-lambdas), in its four steps; Secrets Manager's stages are moved as it moves them.
"""

from __future__ import annotations

import json
import secrets
import uuid
from typing import Any, Final

import asyncpg

CLONE: Final = "_clone"


def other(username: str) -> str:
    """The user whose turn it is next."""
    return username.removesuffix(CLONE) if username.endswith(CLONE) else username + CLONE


async def rotate(manager: Any, name: str) -> str:
    """Rotates a database secret once; returns the user who is current then."""
    token = str(uuid.uuid4())
    current = await _content(manager, name, VersionStage="AWSCURRENT")
    pending = {**current, "username": other(current["username"]), "password": secrets.token_hex(16)}
    # createSecret
    await manager.put_secret_value(
        SecretId=name, ClientRequestToken=token, SecretString=json.dumps(pending), VersionStages=["AWSPENDING"]
    )
    # setSecret: as the user of `masterarn`, once the current one was let in.
    await _let_in(current)
    master = await _content(manager, current["masterarn"], VersionStage="AWSCURRENT")
    assert master["host"] == current["host"]
    connection = await asyncpg.connect(**_where({**master, "dbname": current["dbname"]}))
    try:
        async with connection.transaction():
            user = await connection.fetchval("SELECT quote_ident($1)", pending["username"])
            password = await connection.fetchval("SELECT quote_literal($1)", pending["password"])
            if not await connection.fetch("SELECT 1 FROM pg_roles WHERE rolname = $1", pending["username"]):
                first = await connection.fetchval("SELECT quote_ident($1)", current["username"])
                await connection.execute(f"CREATE ROLE {user} WITH LOGIN PASSWORD {password}")
                await connection.execute(f"GRANT {first} TO {user}")
            else:
                await connection.execute(f"ALTER USER {user} WITH PASSWORD {password}")
    finally:
        await connection.close()
    # testSecret
    await _let_in(pending)
    # finishSecret
    versions = (await manager.describe_secret(SecretId=name))["VersionIdsToStages"]
    (before,) = [version for version, stages in versions.items() if "AWSCURRENT" in stages]
    await manager.update_secret_version_stage(
        SecretId=name, VersionStage="AWSCURRENT", MoveToVersionId=token, RemoveFromVersionId=before
    )
    return str(pending["username"])


async def _content(manager: Any, name: str, **version: str) -> dict[str, Any]:
    answer = await manager.get_secret_value(SecretId=name, **version)
    content: dict[str, Any] = json.loads(answer["SecretString"])
    return content


def _where(secret: dict[str, Any]) -> dict[str, Any]:
    return {
        "host": secret["host"],
        "port": int(secret["port"]),
        "database": secret["dbname"],
        "user": secret["username"],
        "password": secret["password"],
    }


async def _let_in(secret: dict[str, Any]) -> None:
    await (await asyncpg.connect(**_where(secret))).close()
