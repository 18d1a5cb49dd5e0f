"""Where the database is and how to log in: from a secret that may be rotated at any time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import unquote, urlsplit

import msgspec
from botocore.exceptions import BotoCoreError, ClientError

from runtime.settings import read_secret


@dataclass(frozen=True, slots=True)
class Login:
    """What a connection needs."""

    host: str
    port: int
    database: str
    user: str
    password: str


class LoginError(Exception):
    """The login cannot be had: its secret gave no answer, or holds no login."""


class Logins(Protocol):
    """Gives the login for each new connection. Raises `LoginError` where it cannot be had."""

    async def current(self) -> Login:
        """The login as last seen."""
        ...

    async def refreshed(self) -> Login:
        """The login as it is now: the last one was refused."""
        ...


class SecretLogins:
    """Reads the login from a database secret of Secrets Manager: `{host, port, dbname, username, password}`."""

    def __init__(self, secrets_manager: Any, name: str) -> None:
        async def read() -> dict[str, Any]:
            return await read_secret(secrets_manager, name)

        self._name = name
        self._read: Callable[[], Awaitable[dict[str, Any]]] = read
        self._login: Login | None = None

    async def current(self) -> Login:
        """The login as last seen."""
        return self._login or await self.refreshed()

    async def refreshed(self) -> Login:
        """The login as it is now."""
        try:
            secret = await self._read()
            self._login = Login(
                host=str(secret["host"]),
                port=int(secret["port"]),
                database=str(secret["dbname"]),
                user=str(secret["username"]),
                password=str(secret["password"]),
            )
        except (BotoCoreError, ClientError) as error:
            raise LoginError(f"secret {self._name}: {error}") from error
        except (msgspec.DecodeError, LookupError, TypeError, ValueError):
            # Not told why: the error might quote the secret.
            raise LoginError(f"secret {self._name}: no host, port, dbname, username and password in it") from None
        return self._login


class FixedLogin:
    """One login that never changes, out of a `postgresql://` URL: for tools and tests."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._login = Login(
            host=parts.hostname or "127.0.0.1",
            port=parts.port or 5432,
            database=unquote(parts.path.removeprefix("/")),
            user=unquote(parts.username or ""),
            password=unquote(parts.password or ""),
        )

    async def current(self) -> Login:
        """The login."""
        return self._login

    async def refreshed(self) -> Login:
        """The same again."""
        return self._login
