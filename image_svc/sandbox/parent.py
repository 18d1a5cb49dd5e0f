"""The caller's side of the sandbox."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Final, Self

import msgspec
import structlog

from image_svc.pipeline.presets import Preset
from image_svc.pipeline.types import Made, Reason, Rejected, Used
from image_svc.sandbox.types import (
    Crashed,
    Developed,
    DevelopedVariant,
    Killed,
    SandboxError,
    SandboxLimits,
    TimedOut,
)
from image_svc.sandbox.wire import LARGEST, Answer, Ended, Job, Kill, Order, Report, Terms

_log = structlog.get_logger(__name__)

# Seconds. The helper loads its codecs in a third of one; a busy machine may take longer.
_START: Final = 20.0
# Seconds from an order to kill until the child's end is reported; then the helper itself is taken for dead.
_KILL: Final = 3.0
# Bytes of the largest answer: 32 variants of some 150 bytes, or the end of a traceback.
_LARGEST_ANSWER: Final = 64 * 1024
_HELPER: Final = (
    "import sys; sys.path[:] = sys.argv[2:]; from image_svc.sandbox.helper import main; main(int(sys.argv[1]))"
)
# All of the helper's environment; glibc reads it once, at the start, and other C libraries ignore it. Pictures lie in
# huge pages where the kernel has them (madvise): an eighth of the page faults, and 12 % less CPU for a 12 MP photo.
# They all lie in one heap, which grows in large steps and is never given back: what one picture leaves serves the next
# instead of being cleared anew by the kernel, and no picture has an edge of its own that no huge page covers. That is
# half of the remaining faults, and 3 to 5 % of the CPU. A child ends with its photo, so nothing piles up.
_MIB: Final = 1024 * 1024
ALLOCATOR: Final = {
    "GLIBC_TUNABLES": ":".join(
        (
            "glibc.malloc.hugetlb=1",
            f"glibc.malloc.mmap_threshold={32 * _MIB}",  # a block of Pillow's has 16
            f"glibc.malloc.trim_threshold={1024 * _MIB}",
            f"glibc.malloc.top_pad={16 * _MIB}",
        )
    )
}
_reports: Final = msgspec.json.Decoder(Report)
_answers: Final = msgspec.json.Decoder(Answer)


class _Helper:
    """One helper process and the jobs that it has in hand."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            # Its streams are nothing: what a decoder prints is the file's word, not ours.
            self.process = subprocess.Popen(  # noqa: S603  # this very interpreter, with our own code
                [sys.executable, "-I", "-c", _HELPER, str(theirs.fileno()), *sys.path],
                env=ALLOCATOR,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        ours.setblocking(False)
        self._socket = ours
        self._loop = asyncio.get_running_loop()
        self._jobs: dict[int, asyncio.Future[Ended]] = {}
        self._ready: asyncio.Future[str] = self._loop.create_future()
        self.dead = False
        self._loop.add_reader(ours.fileno(), self._receive)

    async def ready(self) -> str:
        """The name of the build, once the codecs are verified. Raises `SandboxError`."""
        try:
            async with asyncio.timeout(_START):
                return await self._ready
        except TimeoutError:
            self.end()
            raise SandboxError(f"the helper was not ready within {_START:.0f} s") from None

    def submit(self, job: Job, descriptors: Sequence[int]) -> asyncio.Future[Ended]:
        """Sends a job; the future is its child's end. Raises `SandboxError` where the helper does not take it."""
        future: asyncio.Future[Ended] = self._loop.create_future()
        self._jobs[job.number] = future
        try:
            socket.send_fds(self._socket, [msgspec.json.encode(Order(job=job))], descriptors)
        except OSError as error:
            del self._jobs[job.number]
            if not isinstance(error, BlockingIOError):
                self.end()
            raise SandboxError(f"the helper does not take a job: {error}") from error
        return future

    async def kill(self, number: int) -> None:
        """Ends a job's child, and returns when it has ended."""
        future = self._jobs.get(number)
        if future is None or future.done():
            return
        try:
            self._socket.send(msgspec.json.encode(Order(kill=Kill(number))))
            async with asyncio.timeout(_KILL):
                await asyncio.wait([future])
        except (OSError, TimeoutError):
            _log.error("the sandbox's helper does not answer; it is ended")
            self.end()

    def end(self) -> None:
        """Ends the helper, and with it every child; whoever waits for one gets `SandboxError`."""
        if self.dead:
            return
        self.dead = True
        self._loop.remove_reader(self._socket.fileno())
        self._socket.close()
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        waiting: list[asyncio.Future[str] | asyncio.Future[Ended]] = [self._ready, *self._jobs.values()]
        for future in waiting:
            if not future.done():
                future.set_exception(SandboxError("the sandbox's helper has died"))
                future.exception()  # somebody may have gone already
        self._jobs.clear()

    def _receive(self) -> None:
        try:
            data = self._socket.recv(LARGEST)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.end()
            return
        report = _reports.decode(data)
        if report.ended is not None:
            future = self._jobs.pop(report.ended.number, None)
            if future is not None and not future.done():
                future.set_result(report.ended)
        elif not self._ready.done():
            if report.build is not None:
                self._ready.set_result(report.build)
            else:
                self._ready.set_exception(SandboxError(report.failure or "the helper does not say why"))


class Sandbox:
    """A running helper and the jobs in its hands. Made by `start`; ends with `close` or as a context manager."""

    def __init__(self, limits: SandboxLimits, helper: _Helper, build: str) -> None:
        self._limits = limits
        self._helper = helper
        self._build = build
        self._numbers = itertools.count(1)
        self._starting = asyncio.Lock()
        self._closed = False

    @classmethod
    async def start(cls, limits: SandboxLimits | None = None) -> Self:
        """Starts the helper and waits until its codecs are loaded and verified. Raises `SandboxError`."""
        helper = _Helper()
        return cls(limits or SandboxLimits(), helper, await helper.ready())

    @property
    def build(self) -> str:
        """Names the code, the codec builds and the SIMD level; part of each variant's fingerprint."""
        return self._build

    @property
    def helper_process(self) -> int:
        """The helper's process id."""
        return self._helper.process.pid

    async def develop(self, source_fd: int, announced_content_type: str | None, presets: Sequence[Preset]) -> Developed:
        """Decodes the file behind `source_fd` in a child of its own and makes a variant for each preset.

        The file is read from its start, whatever the descriptor's position, which stays; the caller keeps and closes
        it. Raises `Rejected`, `TimedOut`, `Killed` or `SandboxError`. Cancellation kills the child and frees all.
        """
        helper = await self._living()
        started = time.monotonic()
        with contextlib.ExitStack() as opened:
            answer, *sinks = (_memory(opened, name) for name in ("answer", *(preset.name for preset in presets)))
            terms = msgspec.json.encode(Terms(tuple(presets), self._limits))
            job = Job(next(self._numbers), announced_content_type, msgspec.Raw(terms))
            # A description of its own: an offset that nobody else moves, and no right to write.
            source = os.open(f"/proc/self/fd/{source_fd}", os.O_RDONLY | os.O_CLOEXEC)
            opened.callback(os.close, source)
            future = helper.submit(job, [source, answer, *sinks])
            try:
                async with asyncio.timeout(self._limits.wall_seconds):
                    ended = await asyncio.shield(future)
            except TimeoutError:
                await helper.kill(job.number)
                raise TimedOut(f"no verdict within {self._limits.wall_seconds:.0f} s") from None
            except asyncio.CancelledError:
                # The child must be gone before its descriptors are closed for somebody else.
                await asyncio.shield(helper.kill(job.number))
                raise
            used = Used(ended.cpu_seconds, time.monotonic() - started, ended.peak_memory)
            try:
                said = _said(ended, answer, self._limits)
                if said.rejected is not None:
                    raise Rejected(*said.rejected)
            except (Rejected, Killed) as error:
                error.used = used
                raise
            if said.facts is None:
                raise SandboxError(f"the pipeline failed:\n{said.failure}")
            if len(said.made) != len(presets) or not all(os.fstat(sink).st_size for sink in sinks):
                raise SandboxError("the child did not make what was asked for")
            variants = tuple(map(_developed, presets, said.made, sinks))
        return Developed(said.facts, variants, used)

    async def close(self) -> None:
        """Kills what is in work, ends the helper and waits for it."""
        self._closed = True
        self._helper.end()

    async def _living(self) -> _Helper:
        if self._closed:
            raise SandboxError("the sandbox is closed")
        async with self._starting:
            if self._helper.dead:
                _log.warning("the sandbox's helper is started anew")
                helper = _Helper()
                build = await helper.ready()
                if build != self._build:
                    helper.end()
                    raise SandboxError(f"the codecs have changed under a running process: {build}")
                self._helper = helper
            return self._helper

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


def _memory(opened: contextlib.ExitStack, name: str) -> int:
    """An anonymous file in memory that the stack closes."""
    descriptor = os.memfd_create(name, os.MFD_CLOEXEC)
    opened.callback(os.close, descriptor)
    return descriptor


def _developed(preset: Preset, made: Made, sink: int) -> DevelopedVariant:
    """A variant with its bytes. What matters to others (type, name, number of bytes) is not for a child to say."""
    return DevelopedVariant(
        preset=preset.name,
        content_type=preset.content_type,
        extension=preset.extension,
        width=made.width,
        height=made.height,
        size=os.fstat(sink).st_size,
        fd=os.dup(sink),
    )


def _said(ended: Ended, answer: int, limits: SandboxLimits) -> Answer:
    """The child's answer. Raises what its end means where it gave none."""
    match ended.signal:
        case 0 if ended.status == 0:
            try:
                return _answers.decode(os.pread(answer, _LARGEST_ANSWER, 0))
            except msgspec.DecodeError as error:
                raise SandboxError(f"the child's answer cannot be read: {error}") from None
        case 0:
            raise SandboxError("the child could not be confined, or could not answer")
        case signal.SIGXCPU:
            raise Rejected(Reason.TOO_COMPLEX, "Decoding the file takes more time than it may.")
        case signal.SIGKILL if ended.cpu_seconds >= limits.cpu_seconds:  # the kernel's second word, a second later
            raise Rejected(Reason.TOO_COMPLEX, "Decoding the file takes more time than it may.")
        case signal.SIGKILL:
            raise Killed("the child was killed from outside")
        case number:
            raise Crashed(f"the child died of {signal.Signals(number).name}")
