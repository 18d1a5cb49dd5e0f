"""One child, one file: gives up everything that it does not need, then looks at the first byte."""

from __future__ import annotations

import gc
import os
import resource
import traceback
from collections.abc import Sequence
from itertools import pairwise
from typing import Final, NoReturn

import msgspec

from image_svc.pipeline.caps import Caps
from image_svc.pipeline.develop import develop
from image_svc.pipeline.types import Reason, Rejected
from image_svc.sandbox import seccomp
from image_svc.sandbox.types import SandboxLimits
from image_svc.sandbox.wire import Answer, Terms

# Address space for what is not a picture's pixels: interpreter, codecs, encoders' own buffers.
_OVERHEAD_BYTES: Final = 256 * 1024 * 1024
# "nobody", wherever the service runs as root (a container that does not name a user, a developer's machine).
_NOBODY: Final = 65534
# Descriptors beyond a job's own that are looked for: the helper holds one for each child and some ten more.
_INHERITED: Final = 4096


def run(content_type: str | None, terms: Terms, descriptors: Sequence[int], filter_: seccomp.Filter) -> NoReturn:
    """Develops the file and ends the process: with status 0 where the answer was written, 1 where not."""
    status = 1
    try:
        _confine(terms.limits, descriptors, filter_)
        source, answer, *sinks = descriptors
        said = _answer(content_type, terms, source, sinks)
        os.pwrite(answer, msgspec.json.encode(said), 0)
        status = 0
    finally:
        os._exit(status)


def _answer(content_type: str | None, terms: Terms, source: int, sinks: Sequence[int]) -> Answer:
    try:
        result = develop(source, content_type, terms.presets, sinks, caps(terms.limits))
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


def _confine(limits: SandboxLimits, descriptors: Sequence[int], filter_: seccomp.Filter) -> None:
    """Leaves the process its descriptors and its limits, and nothing else."""
    helper = os.getppid()
    if os.geteuid() == 0:
        os.setgroups([])
        os.setresgid(_NOBODY, _NOBODY, _NOBODY)
        os.setresuid(_NOBODY, _NOBODY, _NOBODY)
    seccomp.die_with_parent()  # after the change of user, which would undo it
    if os.getppid() != helper:  # it was gone before the kernel knew
        os._exit(1)
    os.setsid()
    kept = sorted(descriptors)
    for below, above in pairwise([2, *kept, kept[-1] + _INHERITED]):  # 0 to 2 are /dev/null since the helper's start
        os.closerange(below + 1, above)
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
