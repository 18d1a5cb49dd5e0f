"""A process's life, in processes of their own."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]

PREAMBLE = """
import asyncio
from contextlib import asynccontextmanager
from runtime import lifecycle
from runtime.settings import SettingsError

@asynccontextmanager
async def named(name):
    print("open", name, flush=True)
    yield
    print("close", name, flush=True)

async def forever(name):
    try:
        await asyncio.Event().wait()
    finally:
        print("cancelled", name, flush=True)

"""


@contextmanager
def program(build: str) -> Iterator[subprocess.Popen[str]]:
    """A service whose `build(life)` has this body."""
    text = PREAMBLE + "async def build(life):\n" + textwrap.indent(textwrap.dedent(build), "    ")
    running = subprocess.Popen(
        [sys.executable, "-c", text + "\nlifecycle.run('test_svc', build)"],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": f"{ROOT}:{ROOT / 'protos'}"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield running
    finally:
        running.kill()
        running.communicate()


def until(running: subprocess.Popen[str], line: str) -> list[str]:
    """What the program prints, up to this line."""
    assert running.stdout is not None
    said = []
    for text in running.stdout:
        said.append(text.strip())
        if said[-1] == line:
            return said
    raise AssertionError(f"never said {line!r}: {said}, {running.stderr.read() if running.stderr else ''}")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_leaves_in_the_opposite_order_of_entering(number: signal.Signals) -> None:
    with program(
        """
        await life.stack.enter_async_context(named("pool"))
        life.background(forever("worker"), name="worker")
        await life.stack.enter_async_context(named("server"))
        await asyncio.sleep(0)
        print("built", flush=True)
        """
    ) as running:
        until(running, "built")
        running.send_signal(number)
        out, err = running.communicate(timeout=10)
        assert out.split("\n") == ["close server", "cancelled worker", "close pool", ""]
        assert running.returncode == 0
        assert [event in err for event in ('"ready"', '"stopping"', '"stopped"')] == [True] * 3


def test_a_background_task_that_fails_ends_the_process_in_order_with_status_1() -> None:
    with program(
        """
        async def failing():
            raise ValueError("broken")
        await life.stack.enter_async_context(named("pool"))
        life.background(failing(), name="worker")
        """
    ) as running:
        out, err = running.communicate(timeout=10)
        assert (out.split("\n")[:2], running.returncode) == (["open pool", "close pool"], 1)
        assert "broken" in err
        assert '"task":"worker"' in err


def test_a_background_task_that_is_done_ends_nothing() -> None:
    with program(
        """
        async def brief():
            print("done", flush=True)
        life.background(brief(), name="brief")
        """
    ) as running:
        until(running, "done")
        with pytest.raises(subprocess.TimeoutExpired):
            running.wait(0.3)
        running.terminate()
        assert running.wait(10) == 0


def test_a_wrong_setting_ends_it_with_status_2_and_one_line() -> None:
    with program("raise SettingsError('GATEWAY_PORT: must be a number')") as running:
        _, err = running.communicate(timeout=10)
        assert running.returncode == 2
        assert "GATEWAY_PORT: must be a number" in err
        assert "Traceback" not in err


def test_a_failure_while_building_closes_what_was_open() -> None:
    with program(
        """
        await life.stack.enter_async_context(named("pool"))
        raise OSError("no database")
        """
    ) as running:
        out, err = running.communicate(timeout=10)
        assert running.returncode == 1
        assert "open pool" in out
        assert "no database" in err


def test_sigterm_while_building_stops_the_building() -> None:
    with program(
        """
        print("building", flush=True)
        try:
            await asyncio.sleep(60)
        finally:
            print("cancelled", flush=True)
        """
    ) as running:
        until(running, "building")
        running.terminate()
        out, err = running.communicate(timeout=10)
        assert (out.strip(), running.returncode) == ("cancelled", 0)
        assert '"ready"' not in err


def test_a_second_sigterm_does_not_break_the_drain() -> None:
    with program(
        """
        async def slowly():
            print("draining", flush=True)
            await asyncio.sleep(0.5)
            print("drained", flush=True)
        life.stack.push_async_callback(slowly)
        print("built", flush=True)
        """
    ) as running:
        until(running, "built")
        running.terminate()
        until(running, "draining")
        running.terminate()
        out, _ = running.communicate(timeout=10)
        assert (out.strip(), running.returncode) == ("drained", 0)


def test_what_was_built_is_no_longer_looked_through_for_garbage() -> None:
    with program(
        """
        import gc

        async def tell():
            while not gc.get_freeze_count():
                await asyncio.sleep(0.01)
            print("spared", gc.get_freeze_count() > 10_000, flush=True)
            await asyncio.Event().wait()

        life.background(tell(), name="teller")
        """
    ) as running:
        until(running, "spared True")


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="glibc's")
def test_memory_that_bodies_leave_serves_the_next_ones() -> None:
    """Else the kernel takes it back and clears it again: 75 pages for each of these."""
    with program(
        """
        import resource

        def transit():
            bodies = [b"x" * 300_000 for _ in range(4)]

        def faults():
            return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

        async def watch():
            await asyncio.sleep(0.1)  # it is ready
            transit()
            before = faults()
            for _ in range(20):
                transit()
            print(faults() - before)
            print("seen", flush=True)
            await asyncio.Event().wait()

        life.background(watch(), name="watch")
        """
    ) as running:
        *_, faults, _ = until(running, "seen")
        assert int(faults) < 300
