"""Files made to harm, through the sandbox: each ends with the right verdict, soon, and within the memory limit."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from image_svc.sandbox import Sandbox, SandboxLimits
from tests.fuzz import imaging as fuzz
from tests.support.developing import drawn, made, psnr
from tests.support.hostile import READY, files
from tests.support.trial import Trial, attempt


@pytest.fixture(scope="module")
async def sandbox() -> AsyncIterator[Sandbox]:
    async with await Sandbox.start() as started:
        yield started


async def test_every_hostile_file_ends_with_its_verdict_within_ten_seconds_and_the_memory_limit(
    sandbox: Sandbox,
) -> None:
    wrong: list[str] = []
    for hostile in files():
        started = time.monotonic()
        trial = await attempt(sandbox, hostile.content)
        took = time.monotonic() - started
        if trial.verdict not in hostile.verdicts:
            wrong.append(f"{hostile.name}: {trial.verdict} ({trial.detail}), not {sorted(hostile.verdicts)}")
        if took > 10 or trial.peak_memory > SandboxLimits().address_space_bytes:
            wrong.append(f"{hostile.name}: {took:.1f} s, {trial.peak_memory >> 20} MiB")
        if hostile.verdicts == {READY} and psnr(made(hostile.content), drawn((160, 120))) < 28:
            wrong.append(f"{hostile.name}: wrong pixels")
    assert not wrong, "\n".join(wrong)


async def test_mutated_files_end_as_the_contract_says_and_leave_no_memory_behind() -> None:
    """The short form of `make fuzz-imaging`."""
    tally = fuzz.Tally()
    files = fuzz.mixed(320, seed=7)
    async with await Sandbox.start() as sandbox:
        processes = (sandbox.helper_process, os.getpid())
        await fuzz.run(sandbox, itertools.islice(files, 80), tally)
        before = fuzz.resident(*processes)
        await fuzz.run(sandbox, files, tally)
        after = fuzz.resident(*processes)
        assert sandbox.helper_process == processes[0]
    assert not tally.wrong, "\n".join(tally.wrong)
    assert tally.verdicts.total() == 320
    assert tally.verdicts["READY"] > 20
    assert tally.verdicts["truncated"] > 20
    assert after - before < fuzz.GROWTH


async def test_a_child_that_crashes_is_kept_and_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    tally = fuzz.Tally()
    tally.add("JPEG-1", b"what killed it", Trial("CRASHED", "SIGSEGV", 0.1, 1), 0.1)
    assert not tally.wrong  # tried once more alone, then FAILED: ours, and in the contract
    tally.add("JPEG-2", b"what no one foresaw", Trial("ERROR", "KeyError", 0.1, 1), 0.1)
    tally.add("JPEG-3", b"what took all", Trial("READY", "", 0.1, 2**31), 0.1)
    tally.add("JPEG-4", b"what took long", Trial("READY", "", 11.0, 1), 11.0)
    assert len(tally.wrong) == 3
    assert len(list((tmp_path / ".cache" / "fuzz").iterdir())) == 4
