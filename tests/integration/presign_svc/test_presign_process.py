"""The running process: start, health, reflection, answers, drain."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import msgspec
import pytest
from darkroom.presign.v1 import presign_pb2 as pb
from darkroom.presign.v1 import presign_pb2_grpc as rpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from runtime import grpc_client
from tests.support.localstack import LocalStack

ROOT = Path(__file__).parents[3]
SERVICE = "darkroom.presign.v1.PresignService"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@asynccontextmanager
async def process(environment: dict[str, str]) -> AsyncIterator[asyncio.subprocess.Process]:
    running = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "presign_svc",
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": f"{ROOT}:{ROOT / 'protos'}", **environment},
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield running
    finally:
        if running.returncode is None:
            running.kill()
        await running.communicate()


def environment(localstack: LocalStack, port: int) -> dict[str, str]:
    return {
        **localstack.environment,
        "DARKROOM_STAGE": "dev",  # other tests fill the stage `local` of this LocalStack with parameters
        "PRESIGN_SVC_INCOMING_BUCKET": "darkroom-incoming",
        "PRESIGN_SVC_MEDIA_BUCKET": "darkroom-media",
        "PRESIGN_SVC_LISTEN_PORT": str(port),
    }


async def logged(running: asyncio.subprocess.Process, event: str) -> dict[str, object]:
    """The next line of the log with this event; fails when the log ends before it."""
    assert running.stderr is not None
    async with asyncio.timeout(60):  # a busy machine starts it in a dozen
        async for line in running.stderr:
            if not line.startswith(b"{"):
                continue  # gRPC's core writes its errors in a form of its own
            found: dict[str, object] = msgspec.json.decode(line)
            if found["event"] == event:
                return found
    raise AssertionError(f"the log ended without {event!r}")


async def test_the_process_serves_says_so_and_leaves_when_told(localstack: LocalStack) -> None:
    port = free_port()
    async with process(environment(localstack, port)) as running, AsyncExitStack() as stack:
        assert (await logged(running, "listening"))["port"] == port
        assert (await logged(running, "ready"))["service"] == "presign_svc"
        channel = await grpc_client.channel(stack, f"127.0.0.1:{port}")

        health: Any = health_pb2_grpc.HealthStub(channel)  # its type stubs know no methods
        for name in ("", SERVICE):
            status = (await health.Check(health_pb2.HealthCheckRequest(service=name), timeout=5)).status
            assert status == health_pb2.HealthCheckResponse.SERVING

        untyped: Any = channel  # its type stubs know no asyncio
        reflection: Any = reflection_pb2_grpc.ServerReflectionStub(untyped)
        call = reflection.ServerReflectionInfo(
            iter([reflection_pb2.ServerReflectionRequest(list_services="")]), timeout=5
        )
        listed = [entry.name async for answer in call for entry in answer.list_services_response.service]
        assert SERVICE in listed

        stub = rpc.PresignServiceStub(channel)
        item = pb.IssueTicketRequest(item_id=3, key="incoming/t/i", content_type="image/jpeg", size=1)
        answer = await grpc_client.call(stub.BatchIssueTickets, pb.BatchIssueTicketsRequest(items=[item]), 5)
        assert answer.results[0].ticket.url.startswith(f"{localstack.endpoint_url}/darkroom-incoming/incoming/t/i?")

        running.send_signal(signal.SIGTERM)
        await logged(running, "stopped")
        assert await asyncio.wait_for(running.wait(), 5) == 0
        with pytest.raises(OSError, match="refused"):
            socket.create_connection(("127.0.0.1", port), timeout=1)


async def test_the_endpoint_of_clients_is_a_setting(localstack: LocalStack) -> None:
    port = free_port()
    public = {"PRESIGN_SVC_S3_PUBLIC_ENDPOINT_URL": "https://uploads.example.com"}
    async with process(environment(localstack, port) | public) as running, AsyncExitStack() as stack:
        await logged(running, "ready")
        stub = rpc.PresignServiceStub(await grpc_client.channel(stack, f"127.0.0.1:{port}"))
        item = pb.SignDownloadRequest(item_id=3, bucket=pb.BUCKET_MEDIA, key="k")
        answer = await grpc_client.call(stub.BatchSignDownloads, pb.BatchSignDownloadsRequest(items=[item]), 5)
        assert answer.results[0].download.url.startswith("https://uploads.example.com/darkroom-media/k?")


@pytest.mark.parametrize(
    ("missing", "reason"),
    [
        ("AWS_ACCESS_KEY_ID", "credentials"),
        ("PRESIGN_SVC_MEDIA_BUCKET", "PRESIGN_SVC_MEDIA_BUCKET"),
    ],
)
async def test_what_is_missing_at_the_start_is_named(localstack: LocalStack, missing: str, reason: str) -> None:
    given = environment(localstack, free_port()) | {
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    }
    del given[missing]
    if missing == "AWS_ACCESS_KEY_ID":
        del given["AWS_SECRET_ACCESS_KEY"]
    async with process(given) as running:
        line = await logged(running, "cannot start")
        assert reason in str(line["reason"])
        assert await asyncio.wait_for(running.wait(), 5) == 2


async def test_a_taken_port_ends_the_process(localstack: LocalStack) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        async with process(environment(localstack, taken.getsockname()[1])) as running:
            line = await logged(running, "cannot start, or died")
            assert "cannot listen" in str(line["exception"])
            assert await asyncio.wait_for(running.wait(), 5) == 1


async def test_a_call_under_way_at_sigterm_is_answered(localstack: LocalStack) -> None:
    port = free_port()
    async with process(environment(localstack, port)) as running, AsyncExitStack() as stack:
        await logged(running, "ready")
        stub = rpc.PresignServiceStub(await grpc_client.channel(stack, f"127.0.0.1:{port}"))
        items = [
            pb.IssueTicketRequest(item_id=number, key=f"incoming/t/{number}", content_type="image/jpeg", size=1)
            for number in range(1000)
        ]
        calls = [
            asyncio.ensure_future(stub.BatchIssueTickets(pb.BatchIssueTicketsRequest(items=items), timeout=10))
            for _ in range(20)
        ]
        await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
        running.send_signal(signal.SIGTERM)
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
        answered = [outcome for outcome in outcomes if isinstance(outcome, pb.BatchIssueTicketsResponse)]
        refused = [outcome for outcome in outcomes if isinstance(outcome, grpc.aio.AioRpcError)]
        assert all(len(answer.results) == 1000 for answer in answered)
        assert {error.code() for error in refused} <= {grpc.StatusCode.UNAVAILABLE}, "never cut in the middle"
        assert len(answered) + len(refused) == 20
        assert await asyncio.wait_for(running.wait(), 10) == 0
