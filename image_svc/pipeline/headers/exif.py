"""The one note in Exif that concerns pixels: how the picture is turned (EXIF 2.32, 4.6.4; its form is TIFF 6.0's)."""

from __future__ import annotations

import struct
from contextlib import suppress
from typing import Final

HEAD: Final = b"Exif\0\0"
_ORDERS: Final = {b"II*\0": "<", b"MM\0*": ">"}
_ORIENTATION: Final = 0x0112
_ENTRY_BYTES: Final = 12
_FORMS: Final = {3: "H", 4: "I"}  # SHORT, as it should be, and LONG, as some write it
# Real directories have a few dozen; each entry costs Python's time.
_MOST_ENTRIES: Final = 1024


def orientation(exif: bytes) -> int:
    """1 to 8, by the first directory; 1 where it does not say. One that is broken off says what it has said by then."""
    body = exif.removeprefix(HEAD)
    order = _ORDERS.get(body[:4])
    value = 1
    if order is None:
        return value
    with suppress(struct.error):
        (at,) = struct.unpack_from(order + "I", body, 4)
        (entries,) = struct.unpack_from(order + "H", body, at)
        for number in range(min(entries, _MOST_ENTRIES)):
            place = at + 2 + number * _ENTRY_BYTES
            tag, kind, values = struct.unpack_from(order + "HHI", body, place)
            if tag == _ORIENTATION and values == 1 and kind in _FORMS:
                (value,) = struct.unpack_from(order + _FORMS[kind], body, place + 8)
    return value if 1 <= value <= 8 else 1
