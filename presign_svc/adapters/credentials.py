"""Signing credentials from AWS's provider chain: environment, profile, ECS task role, instance role."""

from __future__ import annotations

from aiobotocore.credentials import create_credential_resolver
from aiobotocore.session import AioSession

from presign_svc.domain.sigv4 import Credentials
from presign_svc.ports import CredentialsUnavailableError


class AwsCredentialSource:
    """Reads the chain anew at each call.

    The session's own credentials refresh only 15 minutes before their end, and hand out what they have until then: that
    is too late for a ticket of an hour.
    """

    def __init__(self, aws: AioSession, region: str) -> None:
        self._aws = aws
        self._region = region

    async def fetch(self) -> Credentials:
        """See the port."""
        try:
            found = await create_credential_resolver(self._aws, region_name=self._region).load_credentials()
            frozen = None if found is None else await found.get_frozen_credentials()
        except Exception as error:  # whatever a provider or a broken endpoint makes of it (a KeyError has been seen)
            raise CredentialsUnavailableError(f"{type(error).__name__}: {error}") from error
        if frozen is None:
            raise CredentialsUnavailableError("the environment, the profile and the container offer none")
        # botocore has no public name for the end of a credential; its own `export-credentials` reads this one too.
        end = getattr(found, "_expiry_time", None)
        return Credentials(
            access_key=frozen.access_key,
            secret_key=frozen.secret_key,
            token=frozen.token or None,
            expires_at=None if end is None else end.timestamp(),
        )
