"""What an engine's process reads and writes: one line of JSON an order, one an answer. Standard library alone, because

engines run in environments of their own.
"""

from __future__ import annotations

import json
import resource
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

Presets = list[dict[str, Any]]
# Makes every preset's file in a folder of one photo. Made by a `Prepare`, whose work is not measured.
Run = Callable[[Path], None]
Prepare = Callable[[Path, Path, Presets], Run]
# What an engine can say better than its own process's counters: (CPU seconds so far, memory before, its high water).
Meter = Callable[[], tuple[float, int, int]]


def memory(name: str, process: str = "self") -> int:
    """A line of /proc/<process>/status, in bytes: VmRSS or VmHWM."""
    for line in Path(f"/proc/{process}/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    return 0


def own_meter() -> tuple[float, int, int]:
    """Of this process and the children that it has waited for."""
    spent = 0.0
    for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN):
        used = resource.getrusage(who)
        spent += used.ru_utime + used.ru_stime
    return spent, memory("VmRSS"), memory("VmHWM")


def serve(prepare: Prepare, meter: Meter = own_meter) -> None:
    """Answers orders from stdin until it ends.

    An order has `files` (copies of one photo), `out` and `presets`; its answer says what all of them took together:
    `cpu` and `wall` in seconds, `rss` before and `peak` since the process's start in bytes; or `error`.
    """
    # What a codec prints must not be taken for an answer.
    answers, sys.stdout = sys.stdout, sys.stderr
    for line in sys.stdin:
        order = json.loads(line)
        files = [Path(file) for file in order["files"]]
        answer: dict[str, float | str]
        try:
            run = prepare(files[0], Path(order["out"]), order["presets"])
            begun, before, _ = meter()
            started = time.perf_counter()
            for file in files:
                run(file)
            wall = time.perf_counter() - started
            ended, _, peak = meter()
            answer = {"cpu": ended - begun, "wall": wall, "rss": before, "peak": peak}
        except Exception:
            answer = {"error": traceback.format_exc(limit=-3)}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()
