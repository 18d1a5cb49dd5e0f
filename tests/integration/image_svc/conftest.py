"""The real stack behind image_svc."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.image_stack import Stack, stack
from tests.support.localstack import LocalStack
from tests.support.postgres import Database


@pytest.fixture
async def running(localstack: LocalStack, database: Database, tmp_path: Path) -> AsyncIterator[Stack]:
    """metadata_svc as a process; image_svc starts when the test says so."""
    async with stack(localstack, database, tmp_path) as made:
        yield made
