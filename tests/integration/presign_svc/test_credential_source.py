"""The credentials' adapter against the endpoint that ECS gives a task, played by a real HTTP server."""

from __future__ import annotations

import datetime as dt
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from presign_svc.adapters.credentials import AwsCredentialSource
from presign_svc.domain.sigv4 import Credentials
from presign_svc.ports import CredentialsUnavailableError
from runtime import aws

END = dt.datetime(2026, 12, 1, 12, 0, 30, tzinfo=dt.UTC)


@asynccontextmanager
async def endpoint(*answers: dict[str, Any] | int) -> AsyncIterator[str]:
    """Gives the answers one after the other: a document, or a status."""
    left = list(answers)

    async def answer(_request: web.Request) -> web.Response:
        now = left.pop(0) if len(left) > 1 else left[0]
        return web.Response(status=now) if isinstance(now, int) else web.json_response(now)

    app = web.Application()
    app.router.add_get("/role", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/role"
    finally:
        await runner.cleanup()


def role(number: int) -> dict[str, Any]:
    return {
        "RoleArn": "arn:aws:iam::000000000000:role/presign",
        "AccessKeyId": f"ASIA{number}",
        "SecretAccessKey": f"secret-{number}",
        "Token": f"token-{number}",
        "Expiration": END.isoformat().replace("+00:00", "Z"),
    }


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> pytest.MonkeyPatch:
    """An environment without any credentials."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    return monkeypatch


async def test_each_fetch_asks_the_task_role_anew(bare: pytest.MonkeyPatch) -> None:
    async with endpoint(role(1), role(2)) as url:
        bare.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", url)
        source = AwsCredentialSource(aws.session(), "ap-northeast-2")
        assert await source.fetch() == Credentials("ASIA1", "secret-1", "token-1", END.timestamp())
        assert await source.fetch() == Credentials("ASIA2", "secret-2", "token-2", END.timestamp())


async def test_keys_of_the_environment_have_no_end(bare: pytest.MonkeyPatch) -> None:
    bare.setenv("AWS_ACCESS_KEY_ID", "test")
    bare.setenv("AWS_SECRET_ACCESS_KEY", "test")
    assert await AwsCredentialSource(aws.session(), "ap-northeast-2").fetch() == Credentials("test", "test", None, None)


@pytest.mark.parametrize("broken", [500, 403, {"AccessKeyId": "half"}], ids=str)
async def test_an_endpoint_that_gives_none_is_an_error_with_a_reason(bare: pytest.MonkeyPatch, broken: Any) -> None:
    bare.setattr("botocore.utils.ContainerMetadataFetcher.SLEEP_TIME", 0)
    async with endpoint(broken) as url:
        bare.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", url)
        with pytest.raises(CredentialsUnavailableError):
            await AwsCredentialSource(aws.session(), "ap-northeast-2").fetch()


@pytest.mark.usefixtures("bare")
async def test_no_credentials_anywhere_is_an_error_with_a_reason() -> None:
    with pytest.raises(CredentialsUnavailableError, match="offer none"):
        await AwsCredentialSource(aws.session(), "ap-northeast-2").fetch()
