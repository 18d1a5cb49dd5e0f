"""A seccomp filter that leaves a process nothing but memory, time and the descriptors that it already has.

Built with prctl and a few classic BPF instructions (linux/filter.h, linux/seccomp.h), because that needs no privilege,
no namespace and no library: it works in a Fargate task. Whatever is not listed fails with EPERM.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import signal
import struct
from typing import Final

# linux/prctl.h, linux/seccomp.h, linux/audit.h
_PR_SET_PDEATHSIG: Final = 1
_PR_SET_SECCOMP: Final = 22
_PR_SET_NO_NEW_PRIVS: Final = 38
_SECCOMP_MODE_FILTER: Final = 2
_RET_ALLOW: Final = 0x7FFF0000
_RET_ERRNO: Final = 0x00050000
_RET_KILL_PROCESS: Final = 0x80000000
# struct seccomp_data: number, architecture, instruction pointer, six 64-bit arguments.
_NUMBER: Final = 0
_ARCHITECTURE: Final = 4
_ARGUMENTS: Final = 16
# linux/bpf_common.h
_LOAD: Final = 0x20  # BPF_LD | BPF_W | BPF_ABS
_JUMP_EQUAL: Final = 0x15  # BPF_JMP | BPF_JEQ | BPF_K
_JUMP_SET: Final = 0x45  # BPF_JMP | BPF_JSET | BPF_K
_RETURN: Final = 0x06
_CLONE_THREAD: Final = 0x00010000

# Number on x86-64 and on aarch64 (asm/unistd_64.h, asm-generic/unistd.h); None where a machine does not have the call.
_CALLS: Final[dict[str, tuple[int | None, int | None]]] = {
    "read": (0, 63),
    "write": (1, 64),
    "close": (3, 57),
    "fstat": (5, 80),
    "lseek": (8, 62),
    "munmap": (11, 215),
    "brk": (12, 214),
    "rt_sigaction": (13, 134),
    "rt_sigprocmask": (14, 135),
    "rt_sigreturn": (15, 139),
    "pread64": (17, 67),
    "pwrite64": (18, 68),
    "readv": (19, 65),
    "writev": (20, 66),
    "sched_yield": (24, 124),
    "mremap": (25, 216),
    "madvise": (28, 233),
    "dup": (32, 23),
    "nanosleep": (35, 101),
    "getpid": (39, 172),
    "exit": (60, 93),
    "ftruncate": (77, 46),
    "getrusage": (98, 165),
    "times": (100, 153),
    "sigaltstack": (131, 132),
    "gettid": (186, 178),
    "futex": (202, 98),
    "sched_getaffinity": (204, 123),
    "restart_syscall": (219, 128),
    "clock_gettime": (228, 113),
    "clock_getres": (229, 114),
    "clock_nanosleep": (230, 115),
    "exit_group": (231, 94),
    "set_robust_list": (273, 99),
    "getrandom": (318, 278),
    "membarrier": (324, 283),
    "rseq": (334, 293),
}
# fstat, as glibc asks for it since 2.33: newfstatat of a descriptor, told apart by its flag.
_NEWFSTATAT: Final = (262, 79)
_AT_EMPTY_PATH: Final = 0x1000  # linux/fcntl.h
# Memory that can be executed is what an exploit wants and a decoder never.
_MAPPING: Final = ((9, 222), (10, 226))  # mmap, mprotect: the protection is the third argument of both
_PROT_EXEC: Final = 0x4
# What the mmap module asks for, and nothing that steers signals.
_FCNTL: Final = (72, 25)
_F_COMMANDS: Final = (1, 3, 1030)  # F_GETFD, F_GETFL, F_DUPFD_CLOEXEC
_CLONE: Final = (56, 220)
_CLONE3: Final = (435, 435)
_MACHINES: Final = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}

# Looked up here and not in each child, which would page in the symbol tables of all that is loaded for it.
_prctl: Final = ctypes.CDLL(None, use_errno=True).prctl


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))


def program() -> bytes:
    """The filter for this machine, as an array of struct sock_filter. Raises OSError where there is none."""
    machine = platform.machine()
    if machine not in _MACHINES:
        raise OSError(errno.ENOSYS, f"there is no system call filter for {machine}")
    column, architecture = _MACHINES[machine]
    code = [
        _step(_LOAD, _ARCHITECTURE),
        _step(_JUMP_EQUAL, architecture, yes=1),
        _step(_RETURN, _RET_KILL_PROCESS),
        _step(_LOAD, _NUMBER),
    ]
    for numbers in _CALLS.values():
        number = numbers[column]
        if number is not None:
            code += [_step(_JUMP_EQUAL, number, no=1), _step(_RETURN, _RET_ALLOW)]
    for numbers in _MAPPING:
        code += [
            _step(_JUMP_EQUAL, numbers[column], no=4),
            _step(_LOAD, _ARGUMENTS + 2 * 8),
            _step(_JUMP_SET, _PROT_EXEC, yes=1),
            _step(_RETURN, _RET_ALLOW),
            _step(_RETURN, _RET_ERRNO | errno.EPERM),
        ]
    code += [
        _step(_JUMP_EQUAL, _FCNTL[column], no=2 + len(_F_COMMANDS) * 2),
        _step(_LOAD, _ARGUMENTS + 1 * 8),
        *(step for command in _F_COMMANDS for step in (_step(_JUMP_EQUAL, command, no=1), _step(_RETURN, _RET_ALLOW))),
        _step(_RETURN, _RET_ERRNO | errno.EPERM),
    ]
    code += [
        _step(_JUMP_EQUAL, _NEWFSTATAT[column], no=4),
        _step(_LOAD, _ARGUMENTS + 3 * 8),
        _step(_JUMP_EQUAL, _AT_EMPTY_PATH, no=1),
        _step(_RETURN, _RET_ALLOW),
        _step(_RETURN, _RET_ERRNO | errno.EPERM),
    ]
    # glibc falls back to clone, whose flags can be looked at; those of clone3 are behind a pointer.
    code += [_step(_JUMP_EQUAL, _CLONE3[column], no=1), _step(_RETURN, _RET_ERRNO | errno.ENOSYS)]
    # A thread, which a codec may want, and never a process.
    code += [
        _step(_JUMP_EQUAL, _CLONE[column], no=3),
        _step(_LOAD, _ARGUMENTS),
        _step(_JUMP_SET, _CLONE_THREAD, no=1),
        _step(_RETURN, _RET_ALLOW),
        _step(_RETURN, _RET_ERRNO | errno.EPERM),
    ]
    return b"".join(code)


class Filter:
    """The filter as the kernel takes it, made before it is needed: who applies it may have little left to do so with.

    Raises OSError where there is none for this machine.
    """

    def __init__(self) -> None:
        code = program()
        self._steps = ctypes.create_string_buffer(code, len(code))
        self._program = _Program(len(code) // 8, ctypes.cast(self._steps, ctypes.c_void_p).value)
        self._no_privileges = _arguments(_PR_SET_NO_NEW_PRIVS, 1)
        self._filter = _arguments(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.addressof(self._program))

    def apply(self) -> None:
        """Puts the filter on this process, for good. Raises OSError where the kernel does not take it."""
        _call(self._no_privileges)
        _call(self._filter)


def die_with_parent() -> None:
    """Has the kernel kill this process when the thread that forked it ends."""
    _call(_KILLED_WITH_PARENT)


def _step(code: int, value: int, *, yes: int = 0, no: int = 0) -> bytes:
    return struct.pack("=HBBI", code, yes, no, value)


_Arguments = tuple[ctypes.c_int, ctypes.c_ulong, ctypes.c_ulong, ctypes.c_ulong, ctypes.c_ulong]


def _arguments(option: int, second: int, third: int = 0) -> _Arguments:
    return ctypes.c_int(option), ctypes.c_ulong(second), ctypes.c_ulong(third), ctypes.c_ulong(0), ctypes.c_ulong(0)


_KILLED_WITH_PARENT: Final = _arguments(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _call(arguments: _Arguments) -> None:
    if _prctl(*arguments):
        number = ctypes.get_errno()
        raise OSError(number, f"prctl {arguments[0].value}: {os.strerror(number)}")
