"""The sandbox: what a child may not do, what ends it, and that nothing outlives it."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import errno
import fcntl
import io
import json
import mmap
import os
import platform
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from typing import Any

import msgspec
import pytest
from PIL import Image

from image_svc.pipeline.presets import Preset, default_presets
from image_svc.pipeline.types import Reason, Rejected
from image_svc.sandbox import Killed, Sandbox, SandboxError, SandboxLimits, TimedOut, helper, parent, seccomp
from image_svc.sandbox.wire import Ended, Job, Order, Report, Terms

_NOISE = Image.effect_noise((1200, 900), 60).convert("RGB")
THUMB = default_presets()[:1]


def memory(content: bytes) -> int:
    """A descriptor of these bytes."""
    descriptor = os.memfd_create("source")
    os.write(descriptor, content)
    return descriptor


def encoded(picture: Image.Image, format_: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, format_, **options)
    return buffer.getvalue()


@pytest.fixture
def photo() -> Iterator[int]:
    descriptor = memory(encoded(_NOISE, "JPEG", quality=90))
    yield descriptor
    os.close(descriptor)


@pytest.fixture(scope="module")
async def sandbox() -> AsyncIterator[Sandbox]:
    async with await Sandbox.start() as started:
        yield started


@contextlib.asynccontextmanager
async def limited(**changed: Any) -> AsyncIterator[Sandbox]:
    async with await Sandbox.start(replace(SandboxLimits(), **changed)) as started:
        yield started


ENDED = Ended(number=1, status=0, signal=0, cpu_seconds=0.1, peak_memory=1)
FACTS = (
    b'{"facts": {"format": "JPEG", "width": 4, "height": 3, "frames": 1, "thumbhash": "AAAAAAAA", '
    b'"color": "#102030", "perceptual_hash": 77}, "made": []}'
)
MEMORIES = ("source", "answer", *(preset.name for preset in default_presets()))


def fields(path: str) -> dict[str, str]:
    with open(path) as file:
        return {name: value.strip() for name, _, value in (line.partition(":") for line in file)}


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


async def test_a_photo_becomes_its_variants_and_leaves_nothing_behind(sandbox: Sandbox, photo: int) -> None:
    before = descriptors()
    with await sandbox.develop(photo, "image/jpeg", default_presets()) as developed:
        assert [variant.preset for variant in developed.variants] == ["thumb", "small", "medium", "large"]
        for variant in developed.variants:
            content = os.pread(variant.fd, variant.size + 1, 0)
            assert len(content) == variant.size
            assert Image.open(io.BytesIO(content)).size == (variant.width, variant.height)
        assert developed.facts.format == "JPEG"
        assert 0 < developed.used.cpu_seconds < 5
        assert developed.used.peak_memory < 200 * 2**20
    assert descriptors() == before


async def test_the_same_file_gives_the_same_bytes(sandbox: Sandbox, photo: int) -> None:
    runs = []
    for _ in range(2):
        with await sandbox.develop(photo, None, default_presets()) as developed:
            runs.append([os.pread(variant.fd, variant.size, 0) for variant in developed.variants])
    assert runs[0] == runs[1]


async def test_each_job_has_its_own_presets(sandbox: Sandbox, photo: int) -> None:
    smaller = tuple(msgspec.structs.replace(preset, width=20) for preset in THUMB)
    for presets in (THUMB, smaller, smaller, THUMB):
        with await sandbox.develop(photo, None, presets) as developed:
            (variant,) = developed.variants
            assert variant.width == min(presets[0].width, _NOISE.width)


async def test_many_at_once_do_not_disturb_each_other(sandbox: Sandbox, photo: int) -> None:
    broken = memory(b"\xff\xd8\xff\xe0 not a picture")

    async def good() -> bool:
        with await sandbox.develop(photo, None, THUMB):
            return True

    async def bad() -> bool:
        with pytest.raises(Rejected):
            await sandbox.develop(broken, None, THUMB)
        return True

    assert all(await asyncio.gather(*(work() for _ in range(8) for work in (good, bad))))
    os.close(broken)


async def test_the_callers_descriptor_stays_open_and_where_it_was(sandbox: Sandbox, photo: int) -> None:
    os.lseek(photo, 7, os.SEEK_SET)
    with await sandbox.develop(photo, None, THUMB):
        pass
    assert os.lseek(photo, 0, os.SEEK_CUR) == 7


async def test_a_file_that_takes_more_memory_than_it_may_is_too_complex(photo: int) -> None:
    huge = Preset(name="huge", width=8000, height=8000, format="png", enlarge=True)
    # Its pixels fit; what is to be made of them does not.
    async with limited(address_space_bytes=300 * 2**20) as small:
        with pytest.raises(Rejected) as verdict:
            await small.develop(photo, None, [huge])
    assert verdict.value.reason is Reason.TOO_COMPLEX


async def test_a_file_that_takes_more_cpu_than_it_may_is_too_complex(photo: int) -> None:
    slow = tuple(
        Preset(name=f"p{number}", width=6000, height=6000, format="png", enlarge=True, quality=100)
        for number in range(8)
    )
    async with limited(cpu_seconds=1) as hasty:
        started = time.monotonic()
        with pytest.raises(Rejected) as verdict:
            await hasty.develop(photo, None, slow)
        assert verdict.value.reason is Reason.TOO_COMPLEX
        assert time.monotonic() - started < 10


async def test_the_wall_clock_is_not_the_files_fault(photo: int) -> None:
    async with limited(wall_seconds=0.01) as hasty:
        with pytest.raises(TimedOut):
            await hasty.develop(photo, None, default_presets())
        assert children(hasty.helper_process) == []


async def test_an_output_beyond_its_limit_is_no_verdict_on_the_file(photo: int) -> None:
    async with limited(variant_bytes=4096) as tight:
        with pytest.raises(SandboxError):
            await tight.develop(photo, None, THUMB)


def children(process: int) -> list[int]:
    with open(f"/proc/{process}/task/{process}/children") as file:
        return [int(number) for number in file.read().split()]


async def child_of(process: int) -> int:
    while not (found := children(process)):
        await asyncio.sleep(0.001)
    return found[0]


async def test_a_child_that_is_killed_from_outside_says_so_and_the_next_one_works(sandbox: Sandbox, photo: int) -> None:
    working = asyncio.create_task(sandbox.develop(photo, None, default_presets()))
    os.kill(await child_of(sandbox.helper_process), signal.SIGKILL)
    with pytest.raises(Killed):
        await working
    with await sandbox.develop(photo, None, THUMB):
        pass


async def test_cancelling_ends_the_child_and_frees_everything(sandbox: Sandbox, photo: int) -> None:
    before = descriptors()
    working = asyncio.create_task(sandbox.develop(photo, None, default_presets()))
    await child_of(sandbox.helper_process)
    working.cancel()
    with pytest.raises(asyncio.CancelledError):
        await working
    assert children(sandbox.helper_process) == []
    assert descriptors() == before


async def test_a_helper_that_dies_is_replaced_and_its_jobs_may_be_tried_again(photo: int) -> None:
    async with await Sandbox.start() as sandbox:
        working = asyncio.create_task(sandbox.develop(photo, None, default_presets()))
        await child_of(sandbox.helper_process)
        os.kill(sandbox.helper_process, signal.SIGKILL)
        with pytest.raises(SandboxError):
            await working
        with await sandbox.develop(photo, None, THUMB):
            pass


async def test_the_helper_has_nothing_of_ours_in_its_environment_or_its_hands(sandbox: Sandbox) -> None:
    process = sandbox.helper_process
    with open(f"/proc/{process}/environ", "rb") as file:
        name, _, settings = file.read().partition(b"=")
    assert name == b"GLIBC_TUNABLES"  # a word to its allocator, and no more; glibc cuts the string up where it lies
    assert all(setting.startswith(b"glibc.malloc.") for setting in re.split(rb"[:\0]", settings.rstrip(b"\0")))
    held = sorted(
        os.readlink(f"/proc/{process}/fd/{number}").split(":")[0] for number in os.listdir(f"/proc/{process}/fd")
    )
    assert held == ["/dev/null"] * 3 + ["anon_inode", "socket"]
    with open(f"/proc/{process}/maps") as file:
        mapped = file.read()
    assert "grpc" not in mapped
    assert "uvloop" not in mapped
    assert "_asyncio" not in mapped


async def test_a_child_is_nobody_with_nothing_and_the_first_to_go(sandbox: Sandbox) -> None:
    source = memory(encoded(Image.effect_noise((3500, 3500), 60).convert("RGB"), "PNG", compress_level=1))
    work = asyncio.create_task(sandbox.develop(source, None, default_presets()))
    try:
        process = await child_of(sandbox.helper_process)
        # The filter comes last: with it, all the rest is done.
        while (status := fields(f"/proc/{process}/status"))["Seccomp"] != "2":
            await asyncio.sleep(0.001)
        assert status["Uid"].split() == status["Gid"].split() == [str(os.geteuid() or 65534)] * 4
        assert (status["CapEff"], status["NoNewPrivs"]) == ("0" * 16, "1")
        held = {os.readlink(f"/proc/{process}/fd/{number}") for number in os.listdir(f"/proc/{process}/fd")}
        assert held <= {"/dev/null", *(f"/memfd:{name} (deleted)" for name in MEMORIES)}
        with open(f"/proc/{process}/oom_score_adj") as file:
            assert file.read() == "1000\n"
        with open(f"/proc/{process}/limits") as file:
            limits = {line[:26].strip(): line[26:].split()[0] for line in file}
        assert limits["Max core file size"] == "0"
        assert limits["Max address space"] == str(SandboxLimits().address_space_bytes)
        assert limits["Max cpu time"] == str(SandboxLimits().cpu_seconds)
        assert limits["Max file size"] == str(SandboxLimits().variant_bytes)
    finally:
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)
        os.close(source)


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"not json",
        b'{"facts": {}}',
        FACTS.replace(b"#102030", b"red"),
        FACTS.replace(b"JPEG", b"HTML"),
        FACTS.replace(b'"width": 4', b'"width": -4'),
        FACTS.replace(b"77", b"18446744073709551616"),
    ],
    ids=["nothing", "noise", "no facts", "colour", "format", "width", "hash"],
)
def test_a_child_that_a_file_has_taken_over_is_not_believed(said: bytes) -> None:
    answer = memory(said)
    try:
        with pytest.raises(SandboxError):
            parent._said(ENDED, answer, SandboxLimits())
    finally:
        os.close(answer)


def test_a_child_that_answers_as_it_should_is_believed() -> None:
    answer = memory(FACTS)
    try:
        assert parent._said(ENDED, answer, SandboxLimits()).facts is not None
    finally:
        os.close(answer)


def test_the_kernels_second_word_on_cpu_time_is_the_files_fault_too() -> None:
    with pytest.raises(Rejected) as caught:
        parent._said(msgspec.structs.replace(ENDED, signal=signal.SIGKILL, cpu_seconds=9.0), -1, SandboxLimits())
    assert caught.value.reason is Reason.TOO_COMPLEX
    with pytest.raises(Killed):
        parent._said(msgspec.structs.replace(ENDED, signal=signal.SIGKILL, cpu_seconds=1.0), -1, SandboxLimits())


async def test_a_closed_sandbox_leaves_no_process(photo: int) -> None:
    sandbox = await Sandbox.start()
    process = sandbox.helper_process
    await sandbox.close()
    assert not os.path.exists(f"/proc/{process}")
    with pytest.raises(SandboxError):
        await sandbox.develop(photo, None, THUMB)


def test_a_fork_that_is_refused_ends_its_job_and_nothing_else(photo: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(helper, "_fork", lambda: -1)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    serving = threading.Thread(target=helper.Helper(theirs).serve)
    with theirs:
        serving.start()
        with ours:
            for number in (1, 2):
                terms = msgspec.Raw(msgspec.json.encode(Terms(THUMB, SandboxLimits())))
                order = Order(job=Job(number, None, terms))
                socket.send_fds(ours, [msgspec.json.encode(order)], [photo])
                report = msgspec.json.decode(ours.recv(10_000), type=Report)
                assert report.ended == Ended(number=number, status=1, signal=0, cpu_seconds=0.0, peak_memory=0)
        serving.join(5)
    assert not serving.is_alive()


def confined(attempt: Callable[[], object]) -> int | None:
    """What a confined process gets for an attempt: an error number, None for success, -1 where it had to die for it."""
    filter_ = seccomp.Filter()
    process = os.fork()
    if process == 0:
        try:
            filter_.apply()
            attempt()
            os._exit(0)
        except OSError as error:
            os._exit(error.errno or 255)
        except BaseException:
            os._exit(255)
    status = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    return None if status == 0 else (-1 if status < 0 else status)


def _another_process() -> None:
    """clone(SIGCHLD) itself: the fork of libc and Python first run what gRPC, loaded by other tests, hangs onto it."""
    libc = ctypes.CDLL(None, use_errno=True)
    number = {"x86_64": 56, "aarch64": 220}[platform.machine()]
    made = libc.syscall(ctypes.c_long(number), ctypes.c_long(signal.SIGCHLD), *[ctypes.c_long(0)] * 4)
    if made == 0:
        os._exit(0)
    if made < 0:
        raise OSError(ctypes.get_errno(), "clone")


_READER, _WRITER = os.pipe()


@pytest.mark.parametrize(
    "attempt",
    [
        lambda: os.open("/etc/passwd", os.O_RDONLY),
        lambda: os.open("/tmp/planted", os.O_CREAT | os.O_WRONLY),
        lambda: os.listdir("/"),
        lambda: os.stat("/etc/passwd"),
        lambda: os.unlink("/tmp/planted"),
        lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM),
        lambda: socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM),
        _another_process,
        lambda: os.execv("/bin/true", ["true"]),
        lambda: os.kill(os.getppid(), 0),
        lambda: os.setuid(0),
        lambda: os.mkdir("/tmp/planted"),
        lambda: os.pipe(),
        lambda: os.memfd_create("more"),
        lambda: os.chdir("/"),
        lambda: os.sched_setaffinity(0, {0}),
        lambda: mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_EXEC),
        lambda: fcntl.fcntl(_READER, fcntl.F_SETOWN, os.getppid()),
    ],
    ids=lambda attempt: "",
)
def test_a_confined_process_may_not(attempt: Callable[[], object]) -> None:
    assert confined(attempt) == errno.EPERM


@pytest.mark.parametrize(
    "attempt",
    [lambda: os.write(_WRITER, b"x"), lambda: bytearray(50_000_000), time.time, os.getpid, lambda: os.fstat(_READER)],
    ids=["write", "memory", "time", "pid", "fstat"],
)
def test_a_confined_process_may_compute_and_use_what_it_holds(attempt: Callable[[], object]) -> None:
    assert confined(attempt) is None


def test_the_filter_is_for_good() -> None:
    def loosen() -> None:
        seccomp.Filter().apply()

    assert confined(loosen) == errno.EPERM


def test_the_command_develops_local_files(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("develop")
    (folder / "good.jpg").write_bytes(encoded(_NOISE, "JPEG"))
    (folder / "bad.jpg").write_bytes(b"<html>")
    command = [sys.executable, "-m", "image_svc.develop", "good.jpg", "bad.jpg", "missing.jpg", "."]
    done = subprocess.run(
        [*command, "-o", "out", "--presets", "thumb", "--json"],
        cwd=folder,
        env={"PYTHONPATH": os.pathsep.join(sys.path), "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=False,
    )
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["verdict"] for line in lines] == ["READY", "REJECTED", "UNREADABLE", "UNREADABLE"], done.stderr
    assert lines[1]["reason"] == "not_an_image"
    assert (folder / "out" / "good.thumb.webp").stat().st_size == lines[0]["variants"][0]["size"]
    assert done.returncode == 1


def test_what_a_child_allocates_begins_where_a_huge_page_does() -> None:
    """Where one page of a huge page's place is in use, the kernel gives all others one by one."""
    program = (
        "import ctypes; from image_svc.sandbox import helper; helper._warm_up(); helper._settle_memory();"
        "libc = ctypes.CDLL(None); libc.malloc.restype = ctypes.c_size_t; libc.malloc.argtypes = [ctypes.c_size_t];"
        "print(libc.malloc(3 << 20) % helper._HUGE_PAGE)"
    )
    answers = [
        int(
            subprocess.run(
                [sys.executable, "-c", program], env=parent.ALLOCATOR, capture_output=True, check=True
            ).stdout
        )
        for _ in range(3)
    ]
    assert max(answers) < 4096  # a small block or two may have come before it
