"""What the routes share: one object, built by `app`."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.auth import Authenticator
from gateway.images import Images
from gateway.limits import Admission, RequestRates
from gateway.ports import Metadata, Presign, Rendering
from gateway.readiness import Readiness
from gateway.settings import Settings
from gateway.waiting import WaitingRoom
from runtime.watched import Watched


@dataclass(frozen=True, slots=True)
class Context:
    """Everything that a route works with."""

    settings: Settings
    metadata: Metadata
    presign: Presign
    rendering: Rendering
    authenticator: Authenticator
    admission: Admission
    rates: RequestRates
    images: Images
    waiting: WaitingRoom
    readiness: Readiness
    presets: Watched[frozenset[str]]
