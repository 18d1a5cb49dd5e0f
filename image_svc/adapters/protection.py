"""Task protection by the ECS agent: PUT `$ECS_AGENT_URI/task-protection/v1/state`.

Source: ECS developer guide, "Amazon ECS task scale-in protection endpoint".
"""

from __future__ import annotations

import asyncio
import http.client
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec

from image_svc.ports import Unreachable

_PATH: Final = "/task-protection/v1/state"
_TIMEOUT: Final = 5.0  # seconds; the agent is on the same host, and asks ECS


class EcsProtection:
    """`Protection` of the task that this process runs in. `agent` is what ECS puts into `ECS_AGENT_URI`."""

    def __init__(self, agent: str) -> None:
        url = urlsplit(agent)
        if url.scheme != "http" or not url.netloc:
            raise ValueError(f"ECS_AGENT_URI: {agent!r} is not of the form http://host/path")
        self._host = url.netloc
        self._path = url.path.rstrip("/") + _PATH

    async def set(self, minutes: int | None) -> None:
        """See `Protection`."""
        body: dict[str, Any] = {"ProtectionEnabled": minutes is not None}
        if minutes is not None:
            body["ExpiresInMinutes"] = minutes
        # A call a minute or so: a thread of its own costs less than a client library.
        await asyncio.to_thread(self._put, msgspec.json.encode(body))

    def _put(self, body: bytes) -> None:
        connection = http.client.HTTPConnection(self._host, timeout=_TIMEOUT)
        try:
            connection.request("PUT", self._path, body, {"content-type": "application/json"})
            answer = connection.getresponse()
            text = answer.read()
        except (OSError, http.client.HTTPException) as error:
            raise Unreachable(f"ECS agent: {error}") from error
        finally:
            connection.close()
        # Both an error and a failure of ECS come as an object without `protection`.
        if answer.status != http.HTTPStatus.OK or not _granted(text):
            raise Unreachable(f"ECS agent: {answer.status} {text[:300].decode(errors='replace')}")


def _granted(text: bytes) -> bool:
    try:
        answer = msgspec.json.decode(text)
    except msgspec.DecodeError:
        return False
    return isinstance(answer, dict) and isinstance(answer.get("protection"), dict)
