"""The health command of the containers: `python -m runtime.probe http://127.0.0.1:8080/healthz | grpc://127.0.0.1:9090`.

Ends with status 0 where the service says that it is alive (HTTP) or serving (gRPC), with 1 where not.
"""

from __future__ import annotations

import http.client
import sys
from typing import Any, Final
from urllib.parse import SplitResult, urlsplit

_TIMEOUT: Final = 3  # seconds; ECS gives the command 5


def alive(address: str) -> bool:
    """Whether the service at the address is well."""
    url = urlsplit(address)
    try:
        return _grpc(url) if url.scheme == "grpc" else _http(url)
    except OSError:
        return False


def _http(url: SplitResult) -> bool:
    connection = http.client.HTTPConnection(url.netloc, timeout=_TIMEOUT)
    try:
        connection.request("GET", url.path or "/")
        return connection.getresponse().status == http.HTTPStatus.OK
    finally:
        connection.close()


def _grpc(url: SplitResult) -> bool:
    # Here, because importing gRPC costs more than the whole HTTP probe.
    import grpc
    from grpc_health.v1 import health_pb2, health_pb2_grpc

    with grpc.insecure_channel(url.netloc) as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)  # its type stubs lack the methods
        try:
            answer = stub.Check(health_pb2.HealthCheckRequest(), timeout=_TIMEOUT)
        except grpc.RpcError:
            return False
        return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


if __name__ == "__main__":
    sys.exit(0 if alive(sys.argv[1]) else 1)
