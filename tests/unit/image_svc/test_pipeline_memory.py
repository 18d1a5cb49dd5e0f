"""The caps on pixels follow from memory: what they admit is developed, and fits."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from image_svc.pipeline.presets import default_presets
from image_svc.sandbox import Sandbox, SandboxLimits
from tests.support.largest import QUICK, largest


@pytest.fixture(scope="module")
async def sandbox() -> AsyncIterator[Sandbox]:
    async with await Sandbox.start() as started:
        yield started


@pytest.mark.parametrize("kind", QUICK)
async def test_the_largest_file_that_the_caps_admit_fits_into_the_memory_limit(sandbox: Sandbox, kind: str) -> None:
    megapixels, trial = await largest(sandbox, kind, default_presets())
    assert trial.verdict == "READY", trial.detail
    assert trial.peak_memory < SandboxLimits().address_space_bytes
    assert megapixels >= QUICK[kind][0] - 1  # a cap that had to become lower would be news


async def test_a_plain_jpeg_may_have_a_hundred_megapixels(sandbox: Sandbox) -> None:
    megapixels, trial = await largest(sandbox, "JPEG", default_presets()[:1])
    assert (megapixels, trial.verdict) == (99.9, "READY")
