"""The helper: a small process with codecs and nothing else, which forks a child for each file.

It is executed with nothing of ours in its environment, before there is anything to leak, and holds one socket. It
decides nothing: it forks, kills when told to, and reports how a child ended.
"""

from __future__ import annotations

import array
import contextlib
import ctypes
import gc
import io
import os
import select
import signal
import socket
import sys
from pathlib import Path
from typing import Final

import msgspec
from PIL import Image

from image_svc.pipeline import codecs, color
from image_svc.pipeline.develop import develop
from image_svc.pipeline.presets import default_presets
from image_svc.sandbox import child, seccomp
from image_svc.sandbox.types import SandboxLimits
from image_svc.sandbox.wire import LARGEST, Ended, Job, Order, Report, Terms

_MOST_DESCRIPTORS: Final = 64
# Bytes: of the blocks that the free heap is taken in (smaller ones serve Python's objects), of a huge page on x86-64
# and aarch64, and what glibc puts before each block.
_PIECE: Final = 64 * 1024
_HUGE_PAGE: Final = 2 * 1024 * 1024
_HEAD: Final = 16
_MADV_NOHUGEPAGE: Final = 15  # asm-generic/mman-common.h
# Python adapts a function to what it is called with, from the eighth call on (3.11, pycore_code.h), and writes that
# into its code. A child is called once, so what the helper leaves undone is never done.
_REPEATED: Final = 12
_orders: Final = msgspec.json.Decoder(Order)
_terms: Final = msgspec.json.Decoder(Terms)
# Without what modules have Python do in each child (`os.register_at_fork`: a new seed for random, new locks for logging
# and threading), which would make it copy 170 pages. There is one thread, and it holds the interpreter's lock.
_fork: Final = ctypes.PyDLL(None).fork


class Helper:
    """Serves one parent, until the socket ends.

    It does little for a job, because a child shares this process's pages until either writes to them: what is written
    to after a fork is copied first.
    """

    def __init__(self, parent: socket.socket) -> None:
        self._parent = parent
        # Made before `_settle_memory`: one that came with each order would lie where children's pictures begin.
        self._order = bytearray(LARGEST)
        self._filter = seccomp.Filter()
        self._known: tuple[bytes, Terms] | None = None
        self._children: dict[int, tuple[int, int]] = {}  # job and process, by the descriptor that stands for it
        self._ready = select.epoll()

    def serve(self) -> None:
        """Works until the parent is gone; what is in work then dies with this process."""
        self._ready.register(self._parent, select.EPOLLIN)
        while True:
            for descriptor, _ in self._ready.poll():
                if descriptor in self._children:
                    self._reap(descriptor)
                elif not self._take():
                    return

    def _take(self) -> bool:
        size, descriptors = _received(self._parent, self._order)
        if not size:
            return False
        with memoryview(self._order) as message:
            order = _orders.decode(message[:size])
            if order.job is not None:
                self._fork(order.job, descriptors)
            elif order.kill is not None:
                self._kill(order.kill.number)
        for descriptor in descriptors:
            os.close(descriptor)
        return True

    def _fork(self, job: Job, descriptors: list[int]) -> None:
        terms = self._decoded(bytes(job.terms))
        process = _fork()
        if process < 0:  # no memory or no process left: this job's misfortune, not its neighbours'
            self._report(Ended(number=job.number, status=1, signal=0, cpu_seconds=0.0, peak_memory=0))
            return
        if process == 0:
            child.run(job.content_type, terms, descriptors, self._filter)
        # Readable when the child has ended. No signal: what handles it would be inherited, and undone by each child.
        ended = os.pidfd_open(process)
        self._children[ended] = job.number, process
        self._ready.register(ended, select.EPOLLIN)

    def _decoded(self, terms: bytes) -> Terms:
        if self._known is None or self._known[0] != terms:
            self._known = terms, _terms.decode(terms)
        return self._known[1]

    def _kill(self, number: int) -> None:
        for job, process in self._children.values():
            if job == number:
                os.kill(process, signal.SIGKILL)

    def _reap(self, descriptor: int) -> None:
        number, process = self._children.pop(descriptor)
        self._ready.unregister(descriptor)
        os.close(descriptor)
        _, status, used = os.wait4(process, 0)
        code = os.waitstatus_to_exitcode(status)
        self._report(
            Ended(
                number=number,
                status=max(code, 0),
                signal=max(-code, 0),
                cpu_seconds=used.ru_utime + used.ru_stime,
                peak_memory=used.ru_maxrss * 1024,
            )
        )

    def _report(self, ended: Ended) -> None:
        self._parent.send(msgspec.json.encode(Report(ended=ended)))


def _received(parent: socket.socket, into: bytearray) -> tuple[int, list[int]]:
    """A message's bytes, 0 at the parent's end, and the descriptors that came with it."""
    numbers = array.array("i")
    size, ancillary, _, _ = parent.recvmsg_into([into], socket.CMSG_SPACE(_MOST_DESCRIPTORS * numbers.itemsize))
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            numbers.frombytes(data[: len(data) - len(data) % numbers.itemsize])
    return size, numbers.tolist()


def _warm_up() -> None:
    """Runs every encoder and decoder once: a child may not open a file, so nothing must be loaded late."""
    picture = Image.effect_noise((64, 48), 40).convert("RGB")
    for format_, options in (("WEBP", {"method": 2}), ("AVIF", {"speed": 8}), ("PNG", {})):
        buffer = io.BytesIO()
        picture.save(buffer, format_, **options)
        Image.open(io.BytesIO(buffer.getvalue())).resize((16, 16), Image.Resampling.LANCZOS).load()
    for format_ in ("GIF", "TIFF"):
        buffer = io.BytesIO()
        picture.save(buffer, format_)
        Image.open(io.BytesIO(buffer.getvalue())).load()
    color.prepare()
    for _ in range(_REPEATED):
        _develop(picture)


def _develop(picture: Image.Image) -> None:
    """Takes a JPEG all the way, and makes one: what Python notes down the first time, each child would note on a page
    of its own. A seventh of a child's page faults.
    """
    presets = default_presets()
    with contextlib.ExitStack() as files:
        source, *sinks = [files.enter_context(os.fdopen(os.memfd_create("warm-up"), "w+b")) for _ in (None, *presets)]
        picture.save(source, "JPEG")
        source.flush()
        numbers = [sink.fileno() for sink in sinks]
        develop(source.fileno(), None, presets, numbers, child.caps(SandboxLimits()))


def _offer_to_be_killed() -> None:
    """Where memory runs out, the kernel should take a child, which inherits this and is larger, and not the service."""
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")


def _settle_memory() -> None:
    """Returns the heap that is free to the kernel, and has what children allocate begin where a huge page does.

    A child would copy a free page before it wrote to it; and where one page of a huge page's place is in use, the
    others come one by one: a thousand page faults for a photo, half of all.
    """
    with contextlib.suppress(AttributeError):  # glibc has these
        libc = ctypes.CDLL(None)
        start = _start_of_heap()  # reading it leaves free memory, too
        if not start:
            return
        libc.malloc_trim(0)
        libc.malloc.restype = libc.sbrk.restype = ctypes.c_size_t
        libc.malloc.argtypes = [ctypes.c_size_t]
        # What is left of the heap is taken and never touched: it costs addresses and no memory.
        end = libc.sbrk(0)
        while (taken := libc.malloc(_PIECE)) < end:
            if not taken:
                return
        # The next block's head is to be the last of a huge page's place. A gap that is smaller than what was taken is a
        # place too far, because it would come out of what is free before the end.
        gap = -(taken + _PIECE + _HEAD) % _HUGE_PAGE - _HEAD
        gap += 0 if gap >= _PIECE else _HUGE_PAGE
        libc.malloc(gap)
        # What lies before it is to stay as it is: the kernel would make it one huge page after the other when it has
        # time, holes and all, megabytes that nobody uses.
        libc.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
        libc.madvise(start, taken + _PIECE + _HEAD + gap + _HEAD - start, _MADV_NOHUGEPAGE)


def _start_of_heap() -> int:
    """Its address; 0 where memory comes from elsewhere, as with other allocators."""
    lines = Path("/proc/self/maps").read_text().splitlines()
    return next((int(line.partition("-")[0], 16) for line in lines if line.endswith("[heap]")), 0)


def main(descriptor: int) -> None:
    """Serves the parent behind a descriptor. Says "ready" with the name of the build, or why it cannot be."""
    parent = socket.socket(fileno=descriptor)
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # as its children shall have it; of the others Python handles none
    try:
        _offer_to_be_killed()
        build = codecs.verify()
        _warm_up()
        helper = Helper(parent)
    except Exception as error:
        parent.send(msgspec.json.encode(Report(failure=f"{type(error).__name__}: {error}")))
        sys.exit(1)
    gc.collect()
    gc.freeze()  # children share these pages for as long as nobody touches them
    _settle_memory()
    parent.send(msgspec.json.encode(Report(build=build)))
    helper.serve()
