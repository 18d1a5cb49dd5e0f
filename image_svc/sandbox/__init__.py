"""Develops hostile files safely: each in a process of its own that can do nothing but compute.

`Sandbox.start` starts a small helper from a clean slate; the helper forks a child for each file. See `parent.py` for
the caller's side, `helper.py` for the helper and `child.py` for what a child gives up before it looks at a byte.
"""

from image_svc.pipeline.types import Facts, Reason, Rejected
from image_svc.sandbox.parent import Sandbox
from image_svc.sandbox.types import (
    Crashed,
    Developed,
    DevelopedVariant,
    Killed,
    SandboxError,
    SandboxLimits,
    TimedOut,
)

__all__ = [
    "Crashed",
    "Developed",
    "DevelopedVariant",
    "Facts",
    "Killed",
    "Reason",
    "Rejected",
    "Sandbox",
    "SandboxError",
    "SandboxLimits",
    "TimedOut",
]
