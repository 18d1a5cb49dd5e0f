"""Download URLs that stay the same within a signing window, so that caches work.

All signatures of a window carry the time of its start. They are valid for two windows: whenever in its window a URL is
handed out, it lives one window at least.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

from presign_svc.domain import checks
from presign_svc.domain.place import Bucket
from presign_svc.domain.sigv4 import SignedHeaders, Signer, Stamp
from runtime.errors import DarkroomError, Kind

_HOST: Final = SignedHeaders(("host",))


@dataclass(frozen=True, slots=True)
class Window:
    """What all downloads signed in a window share; times in seconds since the epoch."""

    stamp: Stamp
    expires_at: int
    stable_until: int

    def get(self, bucket: Bucket, key: str, content_disposition: str, content_type: str) -> str:
        """The URL of an object; S3 answers with the given headers in place of its own, where they are not empty."""
        path = bucket.path(checks.key(key))
        own = ""
        if content_disposition:
            value = checks.header(content_disposition, "/content_disposition")
            own = f"response-content-disposition={quote(value, safe='')}"
        if content_type:
            value = checks.media_type(content_type, "/content_type")
            own += f"{'&' if own else ''}response-content-type={quote(value, safe='')}"
        life = self.expires_at - self.stamp.moment
        query = self.stamp.query("GET", path, _HOST, (bucket.host,), expires=life, own=own)
        return f"{bucket.origin}{path}?{query}"


class Windows:
    """Gives the window of the moment.

    A window keeps the credential it began with, even where a newer one has come since: the same request shall yield the
    same URL. Only when that credential nears its end does the window begin anew; `stable_until` foresees it.
    """

    def __init__(self, seconds: int, *, shortest_life: int, retry_after: float) -> None:
        """`seconds` is a window's length; a URL lives no shorter than `shortest_life` seconds when handed out."""
        self._seconds = seconds
        self._shortest_life = shortest_life
        self._retry_after = retry_after
        self._current: Window | None = None

    def at(self, moment: int, signer: Signer) -> Window:
        """The window of `moment` (seconds since the epoch), with `signer` should one begin.

        Raises UNAVAILABLE when the credential has too little life left.
        """
        start = moment - moment % self._seconds
        current = self._current
        if current is not None and current.stamp.moment == start and moment < current.stable_until:
            return current
        end = start + 2 * self._seconds
        if signer.credentials.expires_at is not None:
            end = min(end, int(signer.credentials.expires_at))
        if end - moment < self._shortest_life:
            raise DarkroomError(
                Kind.UNAVAILABLE, "the signing credentials are about to expire", retry_after=self._retry_after
            )
        stable_until = min(start + self._seconds, end - self._shortest_life + 1)
        self._current = Window(signer.at(start), end, stable_until)
        return self._current
