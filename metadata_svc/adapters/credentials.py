"""Where the database is and how to log in: from a secret that may be rotated at any time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import unquote, urlsplit

from runtime.settings import read_secret


@dataclass(frozen=True, slots=True)
class Login:
    """What a connection needs."""

    host: str
    port: int
    database: str
    user: str
    password: str


class Logins(Protocol):
    """Gives the login for each new connection."""

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

        self._read: Callable[[], Awaitable[dict[str, Any]]] = read
        self._login: Login | None = None

    async def current(self) -> Login:
        """The login as last seen."""
        return self._login or await self.refreshed()

    async def refreshed(self) -> Login:
        """The login as it is now."""
        secret = await self._read()
        self._login = Login(
            host=str(secret["host"]),
            port=int(secret["port"]),
            database=str(secret["dbname"]),
            user=str(secret["username"]),
            password=str(secret["password"]),
        )
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
