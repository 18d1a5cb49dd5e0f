import fcntl
import sys
import time
from typing import Final

from deploy.setup import environments, system
from deploy.setup.console import SetupError, say

_PARTS: Final = {"services": environments.ensure, "checkov": environments.ensure_checkov}


def main() -> int:
    """Makes what is missing of a part (the services', unless another is named); returns the exit status.

    One set-up works at a time.
    """
    part = sys.argv[1] if len(sys.argv) == 2 else "services"
    if len(sys.argv) > 2 or part not in _PARTS:
        print(f"usage: deploy/setup.sh [{'|'.join(_PARTS)}]", file=sys.stderr)
        return 2
    started = time.monotonic()
    environments.LOGS.mkdir(parents=True, exist_ok=True)
    try:
        system.check_python()
        with (environments.LOGS / "lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                say("Another set-up of this folder is at work: waiting for it.")
                fcntl.flock(lock, fcntl.LOCK_EX)
            if _PARTS[part]():
                say(f"Set up in {time.monotonic() - started:.0f} s.")
    except SetupError as error:
        print(f"\nSet-up stopped: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nInterrupted; the next run goes on from here.", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
