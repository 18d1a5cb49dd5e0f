"""The system call filter, on both machines that have one: what it lets through, by the kernel's own numbers."""

from __future__ import annotations

import ctypes
import errno
import json
import os
import platform
import re
import struct
from pathlib import Path

import pytest

from image_svc.sandbox import seccomp
from tests.support.developing import DATA

TABLE: dict[str, list[int]] = json.loads((DATA / "syscalls.json").read_text())["calls"]
MACHINES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}
HEADERS = {
    "x86_64": Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h"),
    "aarch64": Path("/usr/include/asm-generic/unistd.h"),
}
ALLOW, DENY, NO_SUCH, KILL = 0x7FFF0000, 0x00050000 | errno.EPERM, 0x00050000 | errno.ENOSYS, 0x80000000
# Looked at with their arguments: allowed for some, denied for others.
BY_ARGUMENT = {"mmap", "mprotect", "fcntl", "newfstatat", "clone"}
FORBIDDEN = sorted(set(TABLE) - set(seccomp._CALLS) - BY_ARGUMENT - {"clone3"})


def verdict(program: bytes, number: int, architecture: int, *arguments: int) -> int:
    """Runs a filter as the kernel does: the few instructions of classic BPF that it is made of."""
    data = struct.pack("=iIQ6Q", number, architecture, 0, *[*arguments, *[0] * 6][:6])
    steps = [struct.unpack_from("=HBBI", program, at) for at in range(0, len(program), 8)]
    held = at = 0
    while True:
        code, yes, no, value = steps[at]
        at += 1
        if code == 0x20:  # load a word
            (held,) = struct.unpack_from("=I", data, value)
        elif code == 0x15:  # jump if equal
            at += yes if held == value else no
        elif code == 0x45:  # jump if any bit is set
            at += yes if held & value else no
        else:
            assert code == 0x06
            return int(value)


@pytest.fixture(params=MACHINES)
def machine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    name = str(request.param)
    monkeypatch.setattr(platform, "machine", lambda: name)
    return name


def ask(machine: str, call: str, *arguments: int) -> int:
    column, architecture = MACHINES[machine]
    return verdict(seccomp.program(), TABLE[call][column], architecture, *arguments)


def test_what_is_listed_is_let_through_and_nothing_else(machine: str) -> None:
    column, architecture = MACHINES[machine]
    names = {numbers[column]: name for name, numbers in TABLE.items()}
    program = seccomp.program()
    let_through = {number for number in range(1024) if verdict(program, number, architecture) == ALLOW}
    with_arguments = {TABLE[name][column] for name in BY_ARGUMENT}
    assert {names.get(number, number) for number in let_through - with_arguments} == set(seccomp._CALLS)


@pytest.mark.parametrize("call", FORBIDDEN)
def test_a_call_that_reaches_outside_is_denied(machine: str, call: str) -> None:
    assert ask(machine, call, *[0xFFFFFFFF] * 6) == DENY


def test_calls_are_told_apart_by_their_arguments(machine: str) -> None:
    assert ask(machine, "mmap", 0, 4096, 0x3) == ALLOW
    assert ask(machine, "mmap", 0, 4096, 0x7) == DENY  # executable
    assert ask(machine, "mprotect", 0, 4096, 0x1) == ALLOW
    assert ask(machine, "mprotect", 0, 4096, 0x4) == DENY
    assert ask(machine, "fcntl", 3, 1) == ALLOW
    assert ask(machine, "fcntl", 3, 8) == DENY  # F_SETOWN: signals to somebody else
    assert ask(machine, "newfstatat", 3, 0, 0, 0x1000) == ALLOW  # a descriptor
    assert ask(machine, "newfstatat", -100 & 0xFFFFFFFF, 0, 0, 0) == DENY  # a path
    assert ask(machine, "clone", 0x10000 | 0x100) == ALLOW  # a thread
    assert ask(machine, "clone", 17) == DENY  # a process
    assert ask(machine, "clone3") == NO_SUCH  # so that glibc takes clone, whose flags can be seen


def test_another_machines_calls_end_the_process(machine: str) -> None:
    _, architecture = MACHINES[machine]
    for other in (0x40000003, 0x40000028, architecture ^ 1):
        assert verdict(seccomp.program(), 0, other) == KILL


def test_the_second_set_of_numbers_of_x86_is_denied(monkeypatch: pytest.MonkeyPatch) -> None:
    """x32: the same architecture, and numbers with a bit of their own."""
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    for call in ("read", "execve", "ptrace", "socket"):
        assert verdict(seccomp.program(), TABLE[call][0] | 0x40000000, MACHINES["x86_64"][1]) == DENY


def test_the_numbers_are_the_kernels(machine: str) -> None:
    column = MACHINES[machine][0]
    numbers = {
        **seccomp._CALLS,
        "mmap": seccomp._MAPPING[0],
        "mprotect": seccomp._MAPPING[1],
        "fcntl": seccomp._FCNTL,
        "newfstatat": seccomp._NEWFSTATAT,
        "clone": seccomp._CLONE,
        "clone3": seccomp._CLONE3,
    }
    for name, number in numbers.items():
        assert number[column] == TABLE[name][column], name
    # Where the kernel's headers are installed (a compiler brings them, for both machines), they have the last word.
    header = HEADERS[machine]
    text = header.read_text() if header.exists() else ""
    known = {m[1]: int(m[2]) for m in re.finditer(r"#define __NR(?:3264)?_(\w+)\s+(\d+)\s*$", text, re.MULTILINE)}
    known.setdefault("newfstatat", known.get("fstatat", TABLE["newfstatat"][column]))
    for name, both in TABLE.items():
        assert known.get(name, both[column]) == both[column], name


@pytest.mark.parametrize(
    "call",
    [
        *("ptrace", "process_vm_readv", "kill", "tkill", "tgkill", "pidfd_open", "execveat", "socket", "openat2"),
        *("bpf", "unshare", "setns", "mount", "io_uring_setup", "userfaultfd", "perf_event_open", "keyctl", "prctl"),
        *("prlimit64", "memfd_create", "ioctl", "shmget", "seccomp", "dup3", "getdents64", "sendfile"),
    ],
)
def test_the_kernel_denies_it_too(call: str) -> None:
    """The same question to the kernel of this machine, from a confined process."""
    number = TABLE[call][MACHINES[platform.machine()][0]]
    filter_ = seccomp.Filter()
    libc = ctypes.CDLL(None, use_errno=True)
    process = os.fork()
    if process == 0:
        try:
            filter_.apply()
            made = libc.syscall(ctypes.c_long(number), *[ctypes.c_long(0)] * 6)
            os._exit(ctypes.get_errno() if made < 0 else 200)
        finally:
            os._exit(201)
    assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == errno.EPERM
