"""One file through the sandbox, with what its child used whatever became of it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

from image_svc.pipeline.presets import Preset, default_presets
from image_svc.pipeline.types import Rejected, Used
from image_svc.sandbox import Crashed, Killed, Sandbox, SandboxError, TimedOut

# Small, so that the decoders are what is tried; one of them moves, so that all frames are decoded.
SMALL = (
    *default_presets()[:1],
    Preset(name="moving", width=64, height=64, format="webp", animated=True, max_frames=200),
)


@dataclass(frozen=True, slots=True)
class Trial:
    """`verdict` is READY, a reason of REJECTED, CRASHED, KILLED, TIMED_OUT or ERROR; memory is in bytes."""

    verdict: str
    detail: str
    cpu_seconds: float
    peak_memory: int


async def attempt(sandbox: Sandbox, content: bytes, presets: Sequence[Preset] = SMALL) -> Trial:
    """Develops a file's bytes. Raises nothing that has to do with the file."""
    source = os.memfd_create("trial")
    try:
        os.write(source, content)
        try:
            with await sandbox.develop(source, None, presets) as done:
                return Trial("READY", done.facts.format, done.used.cpu_seconds, done.used.peak_memory)
        except Rejected as verdict:
            return _trial(verdict.reason.value, verdict, verdict.used)
        except Killed as error:
            return _trial("CRASHED" if isinstance(error, Crashed) else "KILLED", error, error.used)
        except TimedOut as error:
            return _trial("TIMED_OUT", error, None)
        except SandboxError as error:
            return _trial("ERROR", error, None)
    finally:
        os.close(source)


def _trial(verdict: str, error: Exception, used: Used | None) -> Trial:
    return Trial(verdict, str(error), used.cpu_seconds if used else 0.0, used.peak_memory if used else 0)
