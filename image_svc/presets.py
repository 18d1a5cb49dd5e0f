"""The presets as they stand now: a parameter that may change while the service runs."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Final, Self

import structlog

from image_svc.pipeline.presets import Preset
from runtime.watched import Watched

# Seconds by which the clocks of two machines may differ.
_CLOCKS: Final = 5.0

_log = structlog.get_logger(__name__)


class PresetsUncertain(Exception):  # noqa: N818 - says what is the matter
    """A preset is not known, and cannot be ruled out: the newest parameter was refused or cannot be read."""


class Presets:
    """What is made of a photo. A change is taken up between two images; one that is in work ends as it began."""

    def __init__(self, watched: Watched[tuple[Preset, ...]]) -> None:
        self._watched = watched

    @classmethod
    def fixed(cls, presets: tuple[Preset, ...]) -> Self:
        """Presets that never change."""
        return cls(Watched("presets", "", lambda _: presets))

    def eager(self) -> list[Preset]:
        """Those that are made of every image that does not ask for others."""
        return [preset for preset in self._watched.value if preset.eager]

    def known(self, names: Iterable[str]) -> list[Preset]:
        """Those of these names that there are."""
        known = self._named()
        return [known[name] for name in names if name in known]

    async def find(self, names: Iterable[str], *, asked_at: float = math.inf) -> list[Preset]:
        """The presets of these names, in their order, that were asked for at that time (seconds since the epoch).

        One that is not known is looked for in the parameter itself first, because a gateway may have seen it before us;
        unless we have read it since. Then it was removed, and is left out. Raises `PresetsUncertain`.
        """
        wanted = list(dict.fromkeys(names))
        known = self._named()
        if any(name not in known for name in wanted) and self._watched.read_at < asked_at + _CLOCKS:
            await self._watched.look()
            known = self._named()
        removed = [name for name in wanted if name not in known]
        if removed and self._watched.uncertain:
            raise PresetsUncertain(f"no preset {', '.join(removed)} yet")
        if removed:
            _log.warning("presets no longer there are left out", presets=removed)
        return [known[name] for name in wanted if name in known]

    def _named(self) -> dict[str, Preset]:
        return {preset.name: preset for preset in self._watched.value}
