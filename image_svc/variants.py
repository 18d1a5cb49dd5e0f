"""A made variant on its way into the media bucket.

Its key is a function of source, preset and pipeline. Its bytes nearly are: a small copy is made from the next larger
one of its run, so that a thumbnail which is made alone differs in a few bits from one that was made with the whole set.
The first that is written under a key therefore stays: what a URL brings never changes.
"""

from __future__ import annotations

import os

from image_svc.domain.model import StoredVariant
from image_svc.pipeline.fingerprint import fingerprint
from image_svc.pipeline.presets import Preset
from image_svc.ports import ObjectStore
from image_svc.sandbox import DevelopedVariant


def key_of(media_prefix: str, preset: Preset, *, sha256: bytes, build: str) -> str:
    """The key of a preset's variant, under the prefix of its image."""
    return f"{media_prefix}{preset.name}.{fingerprint(sha256, preset, build)}.{preset.extension}"


async def store(to: ObjectStore, key: str, made: DevelopedVariant) -> StoredVariant:
    """Writes a variant, unless it is there. Raises `Unreachable`; repeating it is harmless."""
    size = await to.put_variant(key, os.pread(made.fd, made.size, 0), made.content_type)
    return StoredVariant(made.preset, key, made.content_type, made.width, made.height, size)
