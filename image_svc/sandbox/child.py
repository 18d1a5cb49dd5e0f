"""One child, one file: gives up everything that it does not need, then looks at the first byte."""

from __future__ import annotations

import gc
import os
import resource
import signal
import traceback
from collections.abc import Sequence
from contextlib import suppress
from typing import Final, NoReturn

import msgspec

from image_svc.pipeline.caps import Caps
from image_svc.pipeline.develop import develop
from image_svc.pipeline.types import Reason, Rejected
from image_svc.sandbox import seccomp
from image_svc.sandbox.types import SandboxLimits
from image_svc.sandbox.wire import Answer, Job

# Address space for what is not a picture's pixels: interpreter, codecs, encoders' own buffers.
_OVERHEAD_BYTES: Final = 256 * 1024 * 1024
# "nobody", wherever the service runs as root (a container that does not name a user, a developer's machine).
_NOBODY: Final = 65534


def run(job: Job, descriptors: Sequence[int], filter_: seccomp.Filter) -> NoReturn:
    """Develops the file and ends the process: with status 0 where the answer was written, 1 where not."""
    status = 1
    try:
        source, answer, *sinks = _confine(job.limits, descriptors, filter_)
        said = _answer(job, source, sinks)
        os.pwrite(answer, msgspec.json.encode(said), 0)
        status = 0
    finally:
        os._exit(status)


def _answer(job: Job, source: int, sinks: Sequence[int]) -> Answer:
    try:
        result = develop(source, job.content_type, job.presets, sinks, caps(job.limits))
    except Rejected as verdict:
        return Answer(rejected=(verdict.reason, verdict.detail))
    except MemoryError:
        return Answer(rejected=(Reason.TOO_COMPLEX, "Decoding the file takes more memory than it may."))
    except Exception:
        return Answer(failure=traceback.format_exc(limit=-8))
    return Answer(facts=result.facts, made=result.made)


def caps(limits: SandboxLimits) -> Caps:
    """The caps on headers that follow from the limits."""
    return Caps(
        max_pixels=limits.max_pixels,
        max_frames=limits.max_frames,
        max_scans=limits.max_scans,
        max_inflated_bytes=limits.max_inflated_bytes,
        memory_bytes=limits.address_space_bytes - _OVERHEAD_BYTES,
    )


def _confine(limits: SandboxLimits, descriptors: Sequence[int], filter_: seccomp.Filter) -> list[int]:
    """Leaves the process its descriptors, moved to 3 and up, and its limits; returns where they are now."""
    helper = os.getppid()
    # Where memory runs out, the kernel should take the child and not the service.
    with suppress(OSError):
        score = os.open("/proc/self/oom_score_adj", os.O_WRONLY)
        os.write(score, b"1000")
        os.close(score)
    if os.geteuid() == 0:
        os.setgroups([])
        os.setresgid(_NOBODY, _NOBODY, _NOBODY)
        os.setresuid(_NOBODY, _NOBODY, _NOBODY)
    seccomp.die_with_parent(signal.SIGKILL)  # after the change of user, which would undo it
    if os.getppid() != helper:  # it was gone before the kernel knew
        os._exit(1)
    os.setsid()
    # First out of the way, so that none is closed by another's move; 0 to 2 are /dev/null since the helper's start.
    above = max([*descriptors, 2 + len(descriptors)]) + 1
    moved = [os.dup2(descriptor, above + place) for place, descriptor in enumerate(descriptors)]
    places = [os.dup2(descriptor, 3 + place) for place, descriptor in enumerate(moved)]
    os.closerange(3 + len(places), above + len(moved) + 4096)
    for kind, soft, hard in (
        (resource.RLIMIT_CORE, 0, 0),
        (resource.RLIMIT_AS, limits.address_space_bytes, limits.address_space_bytes),
        (resource.RLIMIT_CPU, limits.cpu_seconds, limits.cpu_seconds + 1),
        (resource.RLIMIT_NOFILE, limits.open_files, limits.open_files),
        (resource.RLIMIT_FSIZE, limits.variant_bytes, limits.variant_bytes),  # Python ignores SIGXFSZ: writing fails
    ):
        resource.setrlimit(kind, (soft, hard))
    gc.disable()  # one file, then the process ends
    filter_.apply()
    return places
