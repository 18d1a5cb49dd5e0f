"""metadata_svc on a fresh database."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.support.metadata import Metadata, metadata_service
from tests.support.postgres import Database


@pytest.fixture
async def metadata(database: Database) -> AsyncIterator[Metadata]:
    """The running service; its background work runs when a test calls it."""
    async with metadata_service(database) as running:
        yield running
