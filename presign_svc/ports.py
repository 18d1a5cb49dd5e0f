"""What the domain and the servicer need from outside."""

from __future__ import annotations

from typing import Protocol

from presign_svc.domain.sigv4 import Credentials


class CredentialSource(Protocol):
    """Where signing credentials come from."""

    async def fetch(self) -> Credentials:
        """The newest credentials, from their source and from no cache.

        Raises `CredentialsUnavailableError` where there are none, or their source does not answer.
        """
        ...


class CredentialsUnavailableError(Exception):
    """No credentials can be had; the text says why."""
