"""Asks a new version for its readiness before it gets traffic: an ECS lifecycle hook after the test traffic shift.

The gateway's new tasks are behind the test listener. A service behind Service Connect is reached through the present
gateway, which hands the test header on to its proxy. Where nobody is served there is nothing to protect: at the first
deployment, and when a roll-out is the repair.
"""

import http.client
import os
import ssl
import time
from typing import Any

HEADER = "x-amzn-ecs-blue-green-test"
PATIENCE = float(os.environ.get("PATIENCE_SECONDS", "60"))  # new tasks count their neighbours' answers first
PAUSE = 2
TIMEOUT = 10


class _Connection(http.client.HTTPSConnection):
    """TLS to the load balancer's own address under the name on its certificate."""

    def connect(self) -> None:
        http.client.HTTPConnection.connect(self)
        self.sock = ssl.create_default_context().wrap_socket(self.sock, server_hostname=os.environ["DOMAIN"])


def _ask(port: int, headers: dict[str, str]) -> tuple[int, str]:
    secure = bool(os.environ["DOMAIN"])
    connection = (_Connection if secure else http.client.HTTPConnection)(os.environ["HOST"], port, timeout=TIMEOUT)
    try:
        connection.request("GET", "/readyz", headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.read(500).decode(errors="replace")
    finally:
        connection.close()


def _status(port: int, headers: dict[str, str]) -> int:
    """0 where nobody answers at all."""
    try:
        status, text = _ask(port, headers)
    except (OSError, http.client.HTTPException) as error:
        status, text = 0, str(error)
    print(f"{port} {headers}: {status} {text}")
    return status


def handler(event: dict[str, Any], _context: object) -> dict[str, str]:
    """ECS's event in, `hookStatus` out: anything but SUCCEEDED rolls the deployment back.

    At this stage the event tells of no traffic weights, so a first deployment is not to be known by them: a new version
    that does not get ready is let through only where all that callers get is a refusal.
    """
    service = event["executionDetails"]["serviceArn"].rsplit("/", 1)[1]
    present = int(os.environ["PORT"])
    port = int(os.environ["TEST_PORT"]) if service == "gateway" else present
    headers = {} if service == "gateway" else {HEADER: service}
    deadline = time.monotonic() + PATIENCE
    served = False
    while _status(port, headers) != 200:
        served = served or _status(present, {}) in {0, 200}
        if time.monotonic() >= deadline:
            print(f"{service}: {'the present version stays' if served else 'nobody is served, nothing is lost'}")
            return {"hookStatus": "FAILED" if served else "SUCCEEDED"}
        time.sleep(PAUSE)
    return {"hookStatus": "SUCCEEDED"}
