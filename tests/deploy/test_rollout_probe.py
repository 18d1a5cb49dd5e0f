"""The lifecycle hook, run as Lambda runs it, against real HTTP and TLS servers."""

from __future__ import annotations

import importlib
import ssl
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import pytest

TLS: Final = Path(__file__).parents[1] / "data" / "tls"
DOMAIN: Final = "gateway.internal.example.com"


class Balancer:
    """A listener of the load balancer: remembers what it is asked, answers what the test says."""

    def __init__(self, *, tls: bool) -> None:
        self.asked: list[tuple[str, str | None]] = []
        self.answers: list[int] = []
        balancer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                balancer.asked.append((self.path, self.headers.get("x-amzn-ecs-blue-green-test")))
                status = balancer.answers.pop(0) if len(balancer.answers) > 1 else balancer.answers[0]
                self.send_response(status)
                self.send_header("content-length", "2")
                self.end_headers()
                self.wfile.write(b"{}")

            def log_message(self, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(TLS / "certificate.pem", TLS / "key.pem")
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.port = self.server.server_port
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


Listeners = Callable[..., tuple[Balancer, Balancer]]


@pytest.fixture
def listeners() -> Iterator[Listeners]:
    """Makes the two listeners: for all, and for tests."""
    made: list[Balancer] = []

    def start(*, tls: bool = False) -> tuple[Balancer, Balancer]:
        made.extend(Balancer(tls=tls) for _ in range(2))
        return made[-2], made[-1]

    yield start
    for balancer in made:
        balancer.close()


@pytest.fixture
def probe(monkeypatch: pytest.MonkeyPatch) -> Callable[..., ModuleType]:
    """The function with its variables, loaded anew as by Lambda."""

    def load(production: Balancer, test: Balancer, *, domain: str = "", patience: float = 0) -> ModuleType:
        for name, value in {
            "HOST": "127.0.0.1",
            "PORT": str(production.port),
            "TEST_PORT": str(test.port),
            "DOMAIN": domain,
            "PATIENCE_SECONDS": str(patience),
        }.items():
            monkeypatch.setenv(name, value)
        from deploy.cdk.functions import rollout_probe

        loaded = importlib.reload(rollout_probe)
        monkeypatch.setattr(loaded, "PAUSE", 0.01)
        return loaded

    return load


def event(service: str) -> dict[str, Any]:
    """What ECS hands over at this stage: no weights in it, whether or not a version serves already (ECS developer
    guide, "Lambda hooks for Amazon ECS service deployments", POST_TEST_TRAFFIC_SHIFT).
    """
    of = "arn:aws:ecs:ap-northeast-2:123456789012"
    return {
        "executionId": "3a0345ba-b029-404b-890d-7da2a4b266aa",
        "lifecycleStage": "POST_TEST_TRAFFIC_SHIFT",
        "resourceArn": f"{of}:service-deployment/darkroom-prod-services/{service}/EZe5RNVLH6PPzHXINuP28",
        "executionDetails": {
            "serviceArn": f"{of}:service/darkroom-prod-services/{service}",
            "targetServiceRevisionArn": f"{of}:service-revision/darkroom-prod-services/{service}/2",
            "testTrafficWeights": {},
            "productionTrafficWeights": {},
        },
    }


def test_a_new_gateway_is_asked_behind_the_test_listener(listeners: Listeners, probe: Any) -> None:
    production, test = listeners()
    test.answers = [200]
    assert probe(production, test).handler(event("gateway"), None) == {"hookStatus": "SUCCEEDED"}
    assert test.asked == [("/readyz", None)]
    assert production.asked == []


@pytest.mark.parametrize("service", ["presign_svc", "metadata_svc"])
def test_a_new_service_is_asked_through_the_present_gateway_by_its_header(
    listeners: Listeners, probe: Any, service: str
) -> None:
    production, test = listeners()
    production.answers = [200]
    assert probe(production, test).handler(event(service), None) == {"hookStatus": "SUCCEEDED"}
    assert production.asked == [("/readyz", service)]
    assert test.asked == []


def test_a_version_that_is_not_ready_is_rolled_back(listeners: Listeners, probe: Any) -> None:
    production, test = listeners()
    production.answers, test.answers = [200], [503]
    assert probe(production, test).handler(event("gateway"), None) == {"hookStatus": "FAILED"}


def test_a_service_that_is_not_ready_behind_a_present_gateway_that_is_gets_rolled_back(
    listeners: Listeners, probe: Any
) -> None:
    production, test = listeners()
    production.answers = [503, 200]  # with the test header, without it
    assert probe(production, test).handler(event("metadata_svc"), None) == {"hookStatus": "FAILED"}
    assert production.asked == [("/readyz", "metadata_svc"), ("/readyz", None)]


def test_a_present_version_that_was_ready_once_is_one_to_protect(listeners: Listeners, probe: Any) -> None:
    production, test = listeners()
    production.answers, test.answers = [503, 200, 503], [503]
    assert probe(production, test, patience=0.2).handler(event("gateway"), None) == {"hookStatus": "FAILED"}


def test_a_version_that_needs_a_moment_gets_it(listeners: Listeners, probe: Any) -> None:
    production, test = listeners()
    production.answers, test.answers = [200], [503, 503, 200]
    assert probe(production, test, patience=30).handler(event("gateway"), None) == {"hookStatus": "SUCCEEDED"}
    assert len(test.asked) == 3


def test_a_probe_that_reaches_nobody_refuses_and_does_not_crash(listeners: Listeners, probe: Any) -> None:
    production, test = listeners()
    loaded = probe(production, test)
    for balancer in (production, test):
        balancer.close()
    assert loaded.handler(event("gateway"), None) == {"hookStatus": "FAILED"}
    assert loaded.handler(event("presign_svc"), None) == {"hookStatus": "FAILED"}


@pytest.mark.parametrize("service", ["gateway", "presign_svc", "metadata_svc"])
def test_where_nobody_is_served_there_is_nothing_to_protect(listeners: Listeners, probe: Any, service: str) -> None:
    production, test = listeners()
    production.answers = test.answers = [503]  # the load balancer's own: no target is there
    assert probe(production, test).handler(event(service), None) == {"hookStatus": "SUCCEEDED"}


def test_tls_is_checked_by_the_name_on_the_certificate(
    listeners: Listeners, probe: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    production, test = listeners(tls=True)
    production.answers = test.answers = [200]
    monkeypatch.setenv("SSL_CERT_FILE", str(TLS / "certificate.pem"))
    assert probe(production, test, domain=DOMAIN).handler(event("gateway"), None) == {"hookStatus": "SUCCEEDED"}
    refused = probe(production, test, domain="elsewhere.example.com").handler(event("gateway"), None)
    assert refused == {"hookStatus": "FAILED"}
    assert len(test.asked) == 1
    assert production.asked == []
