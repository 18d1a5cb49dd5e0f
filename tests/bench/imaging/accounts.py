"""What a running worker's processes have used, from /proc."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_TICKS: Final = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Spent:
    """CPU seconds so far: of the worker's own process, of the sandbox's helper, and of the children that have ended."""

    worker: float
    helper: float
    children: float

    def __sub__(self, other: Spent) -> Spent:
        return Spent(self.worker - other.worker, self.helper - other.helper, self.children - other.children)

    @property
    def all(self) -> float:
        """Together."""
        return self.worker + self.helper + self.children


def spent(worker: int) -> Spent:
    """Of the worker with this process id."""
    own, _ = times(worker)
    helper = helper_of(worker)
    return Spent(own, *times(helper))


def times(process: int) -> tuple[float, float]:
    """Seconds of CPU of a process's threads, and of its children that it has waited for (proc(5), stat).

    The first are counted in nanoseconds (the kernel's sched-stats): a process that uses 5 ms an image cannot be told by
    ticks of 10 ms. A thread that has ended counts no more; the services keep theirs.
    """
    threads = Path(f"/proc/{process}/task").iterdir()
    own = sum(int((thread / "schedstat").read_text().split()[0]) for thread in threads) / 1e9
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    child_user, child_system = (int(field) / _TICKS for field in fields[13:15])
    return own, child_user + child_system


def children(process: int) -> list[int]:
    """Process ids."""
    return [int(child) for child in Path(f"/proc/{process}/task/{process}/children").read_text().split()]


def helper_of(worker: int) -> int:
    """The sandbox's helper is the worker's one child."""
    (helper,) = children(worker)
    return helper


def memory(worker: int) -> int:
    """Bytes of worker, helper and the helper's children, each page once (proportional set size)."""
    helper = helper_of(worker)
    return sum(_pss(process) for process in (worker, helper, *children(helper)))


def _pss(process: int) -> int:
    try:
        lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    except OSError:  # it has ended since it was listed
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))


def idle() -> float:
    """Seconds in which a core had nothing to do, over all cores (proc(5), /proc/stat)."""
    fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()
    return (int(fields[4]) + int(fields[5])) / _TICKS
