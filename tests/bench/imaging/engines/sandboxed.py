"""Our pipeline as image_svc runs it: a helper, and a child for each photo that is confined before it looks at it."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from image_svc.sandbox import Developed, Sandbox
from tests.bench.imaging import job
from tests.bench.imaging.engines import wire


class Engine:
    """A sandbox, and what its processes have used."""

    def __init__(self, loop: asyncio.AbstractEventLoop, sandbox: Sandbox) -> None:
        self._loop, self._sandbox = loop, sandbox
        self._children = 0.0
        self._peak = 0

    def prepare(self, _: Path, out: Path, plain: wire.Presets) -> wire.Run:
        """One photo at a time through the sandbox, the variants read out of its memory into files."""
        presets = job.from_plain(plain)

        def run(file: Path) -> None:
            source = os.open(file, os.O_RDONLY)
            with self._loop.run_until_complete(self._sandbox.develop(source, None, presets)) as developed:
                self._note(developed)
                for made in developed.variants:
                    (out / f"{made.preset}.{made.extension}").write_bytes(os.pread(made.fd, made.size, 0))
            os.close(source)

        return run

    def meter(self) -> tuple[float, int, int]:
        """CPU of this process, the helper and every child; memory of helper and child."""
        helper = self._sandbox.helper_process
        # Nanoseconds on a core (sched-stats.txt in the kernel's documentation): the helper has one thread.
        own = int(Path(f"/proc/{helper}/schedstat").read_text().split()[0]) / 1e9
        return wire.own_meter()[0] + own + self._children, wire.memory("VmRSS", str(helper)), self._peak

    def _note(self, developed: Developed) -> None:
        self._children += developed.used.cpu_seconds
        self._peak = max(self._peak, developed.used.peak_memory)


def main() -> None:
    """Serves orders."""
    with asyncio.Runner() as runner:
        sandbox = runner.run(Sandbox.start())
        engine = Engine(runner.get_loop(), sandbox)
        wire.serve(engine.prepare, engine.meter)
        runner.run(sandbox.close())


if __name__ == "__main__":
    main()
