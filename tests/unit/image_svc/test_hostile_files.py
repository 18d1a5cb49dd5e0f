"""Files made to harm, through the sandbox: each ends with the right verdict, soon, and within the memory limit."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator

import pytest

from image_svc.sandbox import Sandbox, SandboxLimits
from tests.support.developing import drawn, made, psnr
from tests.support.hostile import READY, files
from tests.support.trial import attempt


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
