"""Asks a new version for its readiness before it gets traffic: an ECS lifecycle hook after the test traffic shift.

The gateway's new tasks are behind the test listener. A service behind Service Connect is reached through the present
gateway, which hands the test header on to its proxy. Where nothing has served before there is nothing to protect.
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


def handler(event: dict[str, Any], _context: object) -> dict[str, str]:
    """ECS's event in, `hookStatus` out: anything but SUCCEEDED rolls the deployment back."""
    service, new = event["serviceArn"].rsplit("/", 1)[1], event["targetServiceRevisionArn"]
    if not set(event.get("productionTrafficWeights") or {}) - {new}:
        print(f"{service}: the first deployment")
        return {"hookStatus": "SUCCEEDED"}
    if service == "gateway":
        port, headers = int(os.environ["TEST_PORT"]), dict[str, str]()
    else:
        port, headers = int(os.environ["PORT"]), {HEADER: service}
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            status, text = _ask(port, headers)
        except OSError as error:
            status, text = 0, str(error)
        print(f"{service}: {status} {text}")
        if status == 200:
            return {"hookStatus": "SUCCEEDED"}
        if time.monotonic() >= deadline:
            return {"hookStatus": "FAILED"}
        time.sleep(PAUSE)
