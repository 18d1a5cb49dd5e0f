"""What the two sides say to each other: JSON, one message a packet, descriptors beside it."""

from __future__ import annotations

import msgspec

from image_svc.pipeline.presets import Preset
from image_svc.pipeline.types import Facts, Made, Reason
from image_svc.sandbox.types import SandboxLimits

# Bytes of the largest message: 32 presets of some 200 bytes, each with a watermark of 5,500, and the limits. A socket
# takes 208 KiB unless told otherwise.
LARGEST = 192 * 1024


class Terms(msgspec.Struct, frozen=True):
    """What a file is developed into, and what it may use."""

    presets: tuple[Preset, ...]
    limits: SandboxLimits


class Job(msgspec.Struct, frozen=True):
    """Parent to helper: develop a file. Descriptors: the source, the answer, then one for each preset.

    `terms` are in JSON: they are the same for most files, and read once by whoever has seen them before.
    """

    number: int
    content_type: str | None
    terms: msgspec.Raw


class Kill(msgspec.Struct, frozen=True):
    """Parent to helper: end the job's child now."""

    number: int


class Order(msgspec.Struct, frozen=True):
    """Parent to helper: one of the two."""

    job: Job | None = None
    kill: Kill | None = None


class Ended(msgspec.Struct, frozen=True):
    """Helper to parent: a job's child has ended. `signal` is 0 where it ended by itself; memory is in bytes."""

    number: int
    status: int
    signal: int
    cpu_seconds: float
    peak_memory: int


class Report(msgspec.Struct, frozen=True):
    """Helper to parent: ready (with the name of the build), not able to work, or a job's end."""

    build: str | None = None
    failure: str | None = None
    ended: Ended | None = None


class Answer(msgspec.Struct, frozen=True):
    """Child to parent, in the answer's descriptor: a result, a verdict, or what went wrong with us."""

    facts: Facts | None = None
    made: tuple[Made, ...] = ()
    rejected: tuple[Reason, str] | None = None
    failure: str | None = None
