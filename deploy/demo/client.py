"""A client of Darkroom as a careful one is written: it repeats what may be repeated, waits when told to, and gives up.

Every call is safe to repeat: registration carries an `Idempotency-Key`, and the upload's ticket admits the bytes once.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
import time
from dataclasses import dataclass
from typing import Any, Final

import aiohttp

PATIENCE: Final = 120.0  # seconds for one call with all its repetitions: a killed service is back in a few
_ONE_TRY: Final = 40.0  # seconds; above the longest `wait` of the API
_WAIT: Final = 10  # seconds that one GET holds for a change of state
_FIRST_PAUSE: Final = 0.2
_LONGEST_PAUSE: Final = 5.0
_REPEATABLE: Final = frozenset({429, 500, 502, 503, 504})
TERMINAL: Final = frozenset({"READY", "REJECTED", "FAILED", "EXPIRED", "DELETED"})

Json = dict[str, Any]


class CallFailed(Exception):  # noqa: N818  # reads as what happened
    """A call that ended badly; the text has the status and what the server said."""


@dataclass(frozen=True)
class Answer:
    """One HTTP answer. `tries` counts the request that brought it."""

    status: int
    headers: dict[str, str]
    body: bytes
    tries: int


class Client:
    """Calls one Darkroom with one API key."""

    def __init__(self, http: aiohttp.ClientSession, api_url: str, api_key: str) -> None:
        self._http = http
        self._api_url = api_url
        self._headers = {"x-api-key": api_key}

    async def register(self, name: str, content_type: str, content: bytes, key: str) -> Json:
        """Registers an image; returns `{image, upload}`. The same `key` returns the same image."""
        body = {
            "filename": name,
            "content_type": content_type,
            "size": len(content),
            "sha256": hashlib.sha256(content).hexdigest(),
        }
        return await self._json("POST", "/v1/images", 201, json=body, headers={"Idempotency-Key": key})

    async def upload(self, ticket: Json, content: bytes) -> Answer:
        """Puts the bytes straight to S3. 412 to a repetition means that an earlier try has arrived."""
        answer = await self._send(ticket["method"], ticket["url"], data=content, headers=ticket["headers"])
        if answer.status == 200 or (answer.status == 412 and answer.tries > 1):
            return answer
        raise CallFailed(f"S3 answered the upload with {answer.status}: {answer.body[:300]!r}")

    async def replay(self, ticket: Json, content: bytes) -> int:
        """Uses a ticket again; returns the status, which should be 412."""
        return (await self._send(ticket["method"], ticket["url"], data=content, headers=ticket["headers"])).status

    async def settled(self, image_id: str) -> Json:
        """The image once its state is terminal. Raises `CallFailed` after `PATIENCE`."""
        deadline = time.monotonic() + PATIENCE
        while True:
            image = await self._json("GET", f"/v1/images/{image_id}?wait={_WAIT}", 200)
            if image["state"] in TERMINAL:
                return image
            if time.monotonic() > deadline:
                raise CallFailed(f"image {image_id} is still {image['state']} after {PATIENCE:.0f} s")

    async def fetch(self, url: str) -> Answer:
        """The bytes behind a signed URL."""
        answer = await self._send("GET", url)
        if answer.status != 200:
            raise CallFailed(f"S3 answered a signed URL with {answer.status}")
        return answer

    async def _json(self, method: str, path: str, expected: int, **more: Any) -> Json:
        headers = self._headers | more.pop("headers", {})
        answer = await self._send(method, self._api_url + path, headers=headers, **more)
        if answer.status != expected:
            raise CallFailed(f"{method} {path} was answered with {answer.status}: {answer.body[:500].decode()}")
        found: Json = json.loads(answer.body)
        return found

    async def _send(self, method: str, url: str, **more: Any) -> Answer:
        """Sends until there is an answer that is final, with growing pauses, or as long as Retry-After says."""
        deadline = time.monotonic() + PATIENCE
        tries = 0
        while True:
            tries += 1
            told = 0.0
            try:
                timeout = aiohttp.ClientTimeout(total=_ONE_TRY)
                async with self._http.request(method, url, timeout=timeout, **more) as response:
                    body = await response.read()
                    if response.status not in _REPEATABLE:
                        return Answer(response.status, dict(response.headers), body, tries)
                    problem = f"status {response.status}: {body[:300]!r}"
                    told = _seconds(response.headers.get("Retry-After"))
            except (aiohttp.ClientError, TimeoutError) as error:
                problem = repr(error)
            pause = max(told, random.uniform(0.5, 1) * min(_LONGEST_PAUSE, _FIRST_PAUSE * 2**tries))  # noqa: S311
            if time.monotonic() + pause > deadline:
                raise CallFailed(f"{method} {url.partition('?')[0]} failed {tries} times; the last: {problem}")
            await asyncio.sleep(pause)


def _seconds(retry_after: str | None) -> float:
    return float(retry_after) if retry_after and retry_after.isdigit() else 0.0
