"""What the person at the terminal sees: a line when a step begins, a sign of life, a line with its time."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

_SIGN_OF_LIFE: Final = 15.0  # seconds between two lines where the output is no terminal
_LAST_LINES: Final = 25  # of a failed command's output


class SetupError(Exception):
    """Set-up cannot go on; the text says why, and what to do."""


def say(text: str) -> None:
    """Prints one line at once, also into a pipe."""
    print(text, flush=True)


@contextmanager
def step(text: str) -> Iterator[None]:
    """Announces work and prints how long it took."""
    started = time.monotonic()
    say(f"  {text}")
    yield
    say(f"    done in {time.monotonic() - started:.1f} s")


def run(command: Sequence[str | Path], log: Path, environment: Mapping[str, str] | None = None) -> None:
    """Runs a command with its output in `log`; raises SetupError with the end of it when the command fails."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as out:
        process = subprocess.Popen(
            [str(part) for part in command], stdout=out, stderr=subprocess.STDOUT, env=environment
        )
        try:
            _watch(process)
        except BaseException:
            process.terminate()
            process.wait()
            raise
    if process.returncode:
        end = "\n    ".join(log.read_text(errors="replace").splitlines()[-_LAST_LINES:])
        raise SetupError(f"`{command[0]}` failed with status {process.returncode}; the end of {log}:\n    {end}")


def _watch(process: subprocess.Popen[bytes]) -> None:
    started = time.monotonic()
    terminal = sys.stdout.isatty()
    while True:
        try:
            process.wait(1.0 if terminal else _SIGN_OF_LIFE)
            break
        except subprocess.TimeoutExpired:
            passed = time.monotonic() - started
            if terminal:
                print(f"\r    {passed:.0f} s ", end="", flush=True)
            else:
                say(f"    {passed:.0f} s so far")
    if terminal:
        print("\r" + " " * 20 + "\r", end="", flush=True)
