"""The names of the presets, as they stand now: what a client may ask for.

What a preset means is the business of image_svc, which checks every field of it; here only what the gateway goes by.
"""

from __future__ import annotations

import re
from typing import Final

import msgspec

# As image_svc has it; the path of a variant, too, holds nothing else.
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")
_MOST: Final = 32


class _Preset(msgspec.Struct):
    name: str


def parse_names(text: str) -> frozenset[str]:
    """The names in the presets' JSON text. Raises ValueError."""
    try:
        names = [preset.name for preset in msgspec.json.decode(text, type=list[_Preset])]
    except msgspec.MsgspecError as error:
        raise ValueError(f"must be a JSON list of objects with a name: {error}") from None
    if not 1 <= len(names) <= _MOST:
        raise ValueError(f"must name 1 to {_MOST} presets, not {len(names)}")
    for name in names:
        if not _NAME.fullmatch(name):
            raise ValueError(f"the name {name!r} is not 1-32 of a-z, 0-9, - and _, starting with one of the first two")
        if names.count(name) > 1:
            raise ValueError(f"the name {name!r} is used twice")
    return frozenset(names)
