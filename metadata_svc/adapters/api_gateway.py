"""API Gateway's side of a key: the same value, attached to a usage plan, so that API Gateway throttles by it."""

from __future__ import annotations

from typing import Any, Protocol

from metadata_svc.domain.api_key import NewKey


class GatewayKeys(Protocol):
    """Where a key must be known beside the database."""

    async def create(self, key: NewKey) -> str | None:
        """Makes the key; returns the id by which it can be removed, or None where there is nothing to remove."""
        ...

    async def delete(self, gateway_key_id: str) -> None:
        """Removes the key; one that is not there is no error."""
        ...


class ApiGatewayKeys:
    """Keys of a usage plan."""

    def __init__(self, client: Any, usage_plan_id: str) -> None:
        self._client = client
        self._usage_plan_id = usage_plan_id

    async def create(self, key: NewKey) -> str | None:
        """Makes the key and attaches it; leaves nothing behind where that fails."""
        made = await self._client.create_api_key(name=f"drk_{key.id}", value=key.text, enabled=True)
        key_id: str = made["id"]
        try:
            await self._client.create_usage_plan_key(usagePlanId=self._usage_plan_id, keyId=key_id, keyType="API_KEY")
        except BaseException:
            await self.delete(key_id)
            raise
        return key_id

    async def delete(self, gateway_key_id: str) -> None:
        """Removes the key, and so its place in the plan."""
        try:
            await self._client.delete_api_key(apiKey=gateway_key_id)
        except self._client.exceptions.NotFoundException:
            return


class NoGatewayKeys:
    """For where there is no API Gateway."""

    async def create(self, _key: NewKey) -> str | None:
        """Does nothing."""
        return None

    async def delete(self, _gateway_key_id: str) -> None:
        """Does nothing."""
