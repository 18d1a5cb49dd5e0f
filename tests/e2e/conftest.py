"""The API as a client of the first tenant has it, over connections of the test's own."""

from collections.abc import AsyncIterator

import aiohttp
import pytest

from tests.support.api_client import Api
from tests.support.cluster import RunningCluster


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    """Connections for one test."""
    async with aiohttp.ClientSession(auto_decompress=False) as session:
        yield session


@pytest.fixture
def api(http: aiohttp.ClientSession, cluster: RunningCluster) -> Api:
    """Through API Gateway, with the first tenant's key."""
    return Api(http, cluster.env["DARKROOM_API_URL"], cluster.env["DARKROOM_API_KEY"])
