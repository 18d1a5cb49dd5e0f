"""What a roll-out asks of the gateway: readiness of a version behind it that gets no traffic yet."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from gateway.adapters.health import TEST_HEADER, GrpcHealth
from gateway.readiness import Readiness
from runtime import grpc_client
from tests.support.gateway_fakes import FakeHealth
from tests.unit.gateway.conftest import Gateway


async def test_a_roll_out_tests_a_new_version_by_readiness(gateway: Gateway) -> None:
    metadata = FakeHealth()
    services = {"metadata_svc": metadata, "presign_svc": FakeHealth(), "image_svc": FakeHealth(well=False)}
    readiness = Readiness(services, seconds=1, optional=frozenset({"image_svc"}))
    object.__setattr__(gateway.context, "readiness", readiness)  # the context is frozen
    await readiness.check()
    metadata.asked.clear()

    async def tested(service: str) -> int:
        header = {TEST_HEADER: service}
        return int((await gateway.call("GET", "/readyz", key=None, headers=header)).status)

    assert await tested("metadata_svc") == 200
    assert metadata.asked == ["metadata_svc"]
    metadata.well = False
    assert await tested("metadata_svc") == 503
    assert readiness.ready, "what a test saw says nothing of the version that serves"
    assert await tested("image_svc") == 503
    assert await tested("presign_svc") == 200, "a broken service does not stand in the way of another one's repair"
    metadata.asked.clear()
    assert await tested("nothing-of-ours") == 200
    assert metadata.asked == []


class TestRule(health_pb2_grpc.HealthServicer):
    """A proxy's rule: who sends the header speaks to the new version, which is not well."""

    __test__ = False

    async def Check(self, request: Any, context: Any) -> health_pb2.HealthCheckResponse:  # noqa: N802  # gRPC's name
        new = dict(context.invocation_metadata()).get("x-amzn-ecs-blue-green-test") == "metadata_svc"
        states = health_pb2.HealthCheckResponse
        return states(status=states.NOT_SERVING if new else states.SERVING)


async def test_the_header_of_a_test_reaches_the_proxy() -> None:
    async with AsyncExitStack() as stack:
        server = grpc.aio.server()
        health_pb2_grpc.add_HealthServicer_to_server(TestRule(), server)
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        stack.push_async_callback(server.stop, 0)
        health = GrpcHealth(await grpc_client.channel(stack, f"proxy:127.0.0.1:{port}"), "")
        assert await health.check(5)
        assert not await health.check(5, "metadata_svc")
        assert await health.check(5, "presign_svc")
