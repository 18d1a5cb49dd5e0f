"""The part of a variant's key that stands for its content: same fingerprint, same bytes."""

from __future__ import annotations

import base64
import functools
import hashlib
from typing import Final

import msgspec

from image_svc.pipeline.presets import Preset

# 96 bits: among all variants of one image, which share a prefix, a collision is out of reach.
_BYTES: Final = 12


def fingerprint(source_sha256: bytes, preset: Preset, build: str) -> str:
    """16 URL-safe characters that stand for the source's bytes, the preset and the pipeline that ran.

    `build` names the code, the codecs and the SIMD level: `Sandbox.build`. A repeated run gives the same fingerprint,
    and two releases never share one.
    """
    digest = hashlib.sha256(b"\0".join([source_sha256, _meaning(preset), build.encode()])).digest()
    return base64.urlsafe_b64encode(digest[:_BYTES]).decode().rstrip("=")


@functools.lru_cache(maxsize=128)  # all presets of a few versions
def _meaning(preset: Preset) -> bytes:
    # Neither a preset's name nor when it is made changes the bytes, but a name is part of the key anyway.
    return msgspec.json.encode(msgspec.structs.replace(preset, eager=True), order="sorted")
