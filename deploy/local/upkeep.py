"""What ECS runs on a schedule, here at an interval: the prune command, then the reconciler, one after the other.

Run by supervisord with the environment of both services. A run that fails says so in the log; the next one is due all
the same.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
from typing import Final

COMMANDS: Final = {"prune": "metadata_svc.prune", "reconcile": "image_svc.reconcile"}


def run(name: str, *arguments: str) -> int:
    """Runs one of the commands in this environment; returns its status. Ended from outside, it ends the command."""
    child = subprocess.Popen([sys.executable, "-m", COMMANDS[name], *arguments])  # our own commands
    try:
        return child.wait()
    finally:
        if child.poll() is None:
            child.terminate()
            child.wait()


def main() -> None:
    """Runs them for ever, `--interval` seconds apart."""
    parser = argparse.ArgumentParser(
        prog="python -m deploy.local.upkeep", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--interval", type=float, required=True, help="seconds from the end of a round to the next")
    interval = parser.parse_args().interval
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    os.nice(10)  # whoever works here comes first
    while True:
        time.sleep(interval)
        for name in COMMANDS:
            status = run(name)
            if status:
                sys.stderr.write(f"{name} ended with status {status}\n")


if __name__ == "__main__":
    main()
