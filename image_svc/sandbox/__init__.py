"""Develops hostile files safely: each in a process of its own that can do nothing but compute.

`Sandbox.start` starts a small helper from a clean slate; the helper forks a child for each file. See `parent.py` for
the caller's side, `helper.py` for the helper and `child.py` for what a child gives up before it looks at a byte.
"""

from typing import TYPE_CHECKING, Any

from image_svc.pipeline.types import Facts, Reason, Rejected
from image_svc.sandbox.types import (
    Crashed,
    Developed,
    DevelopedVariant,
    Killed,
    SandboxError,
    SandboxLimits,
    TimedOut,
)

if TYPE_CHECKING:
    from image_svc.sandbox.parent import Sandbox

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


def __getattr__(name: str) -> Any:
    """The caller's side, when it is asked for: the helper comes through this package too, and needs no event loop."""
    if name == "Sandbox":
        from image_svc.sandbox.parent import Sandbox

        return Sandbox
    raise AttributeError(name)
