"""libheif, and what its decoder has to say. Whoever needs `pillow_heif` beside the pipeline takes it from here.

libheif shows what there is of a damaged picture; see `native/heard/heard.c`, which must be there before it.
"""

from __future__ import annotations

import ctypes
import sys
from pathlib import Path
from typing import Final

from image_svc.pipeline import native
from image_svc.pipeline.headers.header import damaged

if "_pillow_heif" in sys.modules:
    raise ImportError("pillow_heif was imported before image_svc.pipeline.heif, and cannot be listened to any more")
try:
    _heard: ctypes.CDLL | None = ctypes.CDLL(str(native.HEARD), mode=ctypes.RTLD_GLOBAL)
except OSError:
    _heard = None  # `codecs.verify` says so at the start

import pillow_heif  # not before
from pillow_heif.as_plugin import HeifImageFile

__all__ = ["HeifImageFile", "load", "pillow_heif"]

_LIBRARIES: Final = Path(pillow_heif.__file__).parents[1] / "pillow_heif.libs"


def _listen() -> bool:
    """Says where the real functions are; whether that is known of this build of pillow_heif."""
    found = list(_LIBRARIES.glob("libde265*"))
    if _heard is None or len(found) != 1:
        return False
    _heard.darkroom_heard.restype = ctypes.c_int32
    return bool(_heard.darkroom_heard_from(str(found[0]).encode()))


_listening: Final = _listen()


def load(picture: HeifImageFile) -> int:
    """Decodes a picture's pixels, and returns how many parts it has, 0 where they cannot be heard of. Raises `Rejected`

    where the decoder says that some are not as they were sent.
    """
    heard = _heard.darkroom_heard if _heard is not None and _listening else int
    heard()  # what an earlier one has left
    picture.load()  # type: ignore[no-untyped-call]
    parts: int = heard()
    if parts < 0:
        raise damaged()
    return parts
