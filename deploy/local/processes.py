"""The cluster's processes as the kernel knows them: found by a mark in their environment, whoever started them."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from deploy.local.layout import MARK

_TICKS: Final = os.sysconf("SC_CLK_TCK")
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class Process:
    """One process, as /proc shows it."""

    pid: int
    parent: int
    state: str
    started: float  # seconds since the machine's start; tells a pid from a later one with the same number
    cpu_seconds: float
    rss: int  # bytes


def read(pid: int) -> Process | None:
    """The process, or None once it has ended.

    A zombie has ended, unless threads of it are still on their way out: those hold its ports.
    """
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
        threads = sum(1 for _ in Path(f"/proc/{pid}/task").iterdir())
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()  # a name may hold spaces and brackets; proc(5) counts fields from 1
    if fields[0] == "Z" and threads <= 1:
        return None
    return Process(
        pid=pid,
        parent=int(fields[1]),
        state=fields[0],
        started=int(fields[19]) / _TICKS,
        cpu_seconds=(int(fields[11]) + int(fields[12])) / _TICKS,
        rss=int(fields[21]) * _PAGE,
    )


def uptime(process: Process) -> float:
    """Seconds since the process started."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) - process.started


def everyone() -> dict[int, Process]:
    """All processes of the machine that can be seen."""
    found = (read(int(entry.name)) for entry in Path("/proc").iterdir() if entry.name.isdigit())
    return {process.pid: process for process in found if process is not None}


def tree(pid: int) -> list[Process]:
    """The process and all its descendants."""
    processes = everyone()
    return [processes[found] for found in _descendants({pid} & processes.keys(), processes)]


def of_cluster(folder: Path) -> list[Process]:
    """Every process that carries the cluster's mark, with all its descendants; without the caller and its ancestors."""
    mark = f"{MARK}={folder}".encode()
    processes = everyone()
    found = _descendants({pid for pid in processes if _carries(pid, mark)}, processes)
    return [processes[pid] for pid in sorted(found - _lineage(processes))]


def end(processes: list[Process], *, grace: float) -> None:
    """SIGTERM to each, up to `grace` seconds, then SIGKILL to those that are still there."""
    _signal(processes, signal.SIGTERM)
    deadline = time.monotonic() + grace
    while (processes := still_there(processes)) and time.monotonic() < deadline:
        time.sleep(0.05)
    _signal(processes, signal.SIGKILL)
    deadline = time.monotonic() + 5
    while still_there(processes) and time.monotonic() < deadline:
        time.sleep(0.02)


def still_there(processes: list[Process]) -> list[Process]:
    """Those that have not ended; a new process with an old number is not taken for the old one."""
    return [p for p in processes if (now := read(p.pid)) is not None and now.started == p.started]


def _signal(processes: list[Process], number: signal.Signals) -> None:
    for process in still_there(processes):
        try:
            os.kill(process.pid, number)
        except ProcessLookupError:
            continue


def _carries(pid: int, mark: bytes) -> bool:
    try:
        return mark in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:  # another user's, or just ended
        return False


def _descendants(pids: set[int], processes: dict[int, Process]) -> set[int]:
    """These and all that stem from them."""
    children: dict[int, list[int]] = {}
    for process in processes.values():
        children.setdefault(process.parent, []).append(process.pid)
    found: set[int] = set()
    waiting = list(pids)
    while waiting:
        pid = waiting.pop()
        if pid not in found:
            found.add(pid)
            waiting += children.get(pid, [])
    return found


def _lineage(processes: dict[int, Process]) -> set[int]:
    line: set[int] = set()
    pid = os.getpid()
    while pid in processes and pid not in line:
        line.add(pid)
        pid = processes[pid].parent
    return line
