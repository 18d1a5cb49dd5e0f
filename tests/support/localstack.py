"""A LocalStack of the tests' own, started with the first test that asks, on a free port of 127.0.0.1."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import localstack_client.config
import pytest

from deploy.local import localstack as launcher


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass(frozen=True)
class LocalStack:
    """A running LocalStack. S3, SQS and API Gateway have answered a call."""

    endpoint_url: str
    region: str
    data: Path

    def endpoint(self, service: str) -> str:
        """The URL of one AWS service, for aiobotocore's `endpoint_url`."""
        found = localstack_client.config.get_service_endpoint(service, urlsplit(self.endpoint_url).netloc)
        assert found is not None, f"localstack-client knows no service {service!r}"
        return str(found)

    @property
    def environment(self) -> dict[str, str]:
        """What a service's process needs in its environment to work against this LocalStack."""
        return {
            **launcher.CREDENTIALS,
            "AWS_REGION": self.region,
            "AWS_ENDPOINT_URL": self.endpoint_url,
            "S3_ADDRESSING_STYLE": "path",
        }


@pytest.fixture(scope="session")
def localstack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    """LocalStack for the whole test run, and its test credentials in this process's environment."""
    folder = tmp_path_factory.mktemp("localstack")
    log = folder / "localstack.log"
    port = free_port()
    endpoint_url = f"http://127.0.0.1:{port}"
    with pytest.MonkeyPatch.context() as patch:
        for name, value in launcher.CREDENTIALS.items():
            patch.setenv(name, value)
        for name in ("AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_ENDPOINT_URL"):
            patch.delenv(name, raising=False)
        process = launcher.start(port, folder / "data", log)
        try:
            launcher.wait(endpoint_url, alive=lambda: process.poll() is None)
            launcher.keep_caches(folder / "data")
            yield LocalStack(endpoint_url, launcher.REGION, folder / "data")
        except (TimeoutError, RuntimeError) as error:
            raise AssertionError(f"{error}; the end of {log}:\n{log.read_text()[-2000:]}") from error
        finally:
            launcher.stop(process)
