"""The service as a process of its own, with LocalStack's SQS, SNS, parameters and secrets, and a database that dies."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import grpc
import pytest
from darkroom.metadata.v1 import metadata_pb2 as pb
from darkroom.metadata.v1 import metadata_pb2_grpc as rpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from deploy.local import postgres as server
from metadata_svc import migrate
from runtime import aws, grpc_client
from runtime.aws import AwsSettings
from runtime.errors import DarkroomError, Kind
from tests.support.localstack import LocalStack
from tests.support.metadata import new_image, seconds

QUIET = {**server.VOLATILE, "log_min_messages": "fatal"}


@dataclass(frozen=True)
class Aws:
    """Clients, and what the service needs there."""

    clients: dict[str, Any]
    queue_url: str
    events_url: str
    stage: str


@pytest.fixture
async def amazon(localstack: LocalStack, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Aws]:
    for name, value in localstack.environment.items():
        monkeypatch.setenv(name, value)
    stage = f"t{uuid.uuid4().hex[:8]}"
    async with AsyncExitStack() as stack:
        names = ("sqs", "sns", "ssm", "secretsmanager", "apigateway")
        clients = {name: await aws.client(stack, aws.session(), name, AwsSettings()) for name in names}
        queue_url = (await clients["sqs"].create_queue(QueueName=f"{stage}-images"))["QueueUrl"]
        events_url = (await clients["sqs"].create_queue(QueueName=f"{stage}-events"))["QueueUrl"]
        topic = (await clients["sns"].create_topic(Name=f"{stage}-events"))["TopicArn"]
        attributes = await clients["sqs"].get_queue_attributes(QueueUrl=events_url, AttributeNames=["QueueArn"])
        await clients["sns"].subscribe(
            TopicArn=topic,
            Protocol="sqs",
            Endpoint=attributes["Attributes"]["QueueArn"],
            Attributes={"RawMessageDelivery": "true"},
        )
        parameters = {
            "queue_url": queue_url,
            "topic_arn": topic,
            "app_database_secret": f"{stage}/app",
            "maintenance_database_secret": f"{stage}/maintenance",
        }
        for name, value in parameters.items():
            await clients["ssm"].put_parameter(
                Name=f"/darkroom/{stage}/metadata_svc/{name}", Value=value, Type="String"
            )
        yield Aws(clients, queue_url, events_url, stage)


@pytest.fixture
def own_postgres(tmp_path: Path) -> Iterator[tuple[Path, int, list[subprocess.Popen[bytes]]]]:
    """A server of this test's own: it may be stopped."""
    port = server.free_port()
    running = [server.start(tmp_path / "data", port, QUIET)]
    yield tmp_path / "data", port, running
    server.stop(running[-1])


async def put_secrets(amazon: Aws, url: str, password: str) -> None:
    place = urlsplit(url)
    for role in ("app", "maintenance"):
        value = {
            "host": place.hostname,
            "port": place.port,
            "dbname": place.path.lstrip("/"),
            "username": f"darkroom_{role}",
            "password": password,
        }
        name, text = f"{amazon.stage}/{role}", json.dumps(value)
        manager = amazon.clients["secretsmanager"]
        try:
            await manager.create_secret(Name=name, SecretString=text)
        except manager.exceptions.ResourceExistsException:
            await manager.put_secret_value(SecretId=name, SecretString=text)


async def set_passwords(url: str, password: str) -> None:
    connection = await asyncpg.connect(url)
    await migrate.ensure_roles(connection, {"darkroom_app": password, "darkroom_maintenance": password})
    await migrate.apply(connection)
    await connection.close()


@asynccontextmanager
async def service(amazon: Aws, port: int, **settings: str) -> AsyncIterator[asyncio.subprocess.Process]:
    variables = {f"METADATA_SVC_{name.upper()}": value for name, value in settings.items()}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "metadata_svc",
        env={**os.environ, "DARKROOM_STAGE": amazon.stage, "METADATA_SVC_LISTEN_PORT": str(port), **variables},
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield process
    except AssertionError as error:
        if process.returncode is None:
            process.kill()
        _, log = await process.communicate()
        error.add_note(f"the service ended with status {process.returncode}; its log:\n{log.decode()}")
        raise
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def health(channel: grpc.aio.Channel) -> int | None:
    """What the service says of itself; None where it says nothing."""
    stub: Any = health_pb2_grpc.HealthStub(channel)
    try:
        answer = await stub.Check(health_pb2.HealthCheckRequest(), timeout=2)
    except grpc.aio.AioRpcError:
        return None
    status: int = answer.status
    return status


async def until_health(channel: grpc.aio.Channel, wanted: int, within: float = 30) -> None:
    for _ in range(int(within / 0.05)):
        if await health(channel) == wanted:
            return
        await asyncio.sleep(0.05)
    raise AssertionError(f"the service does not say {wanted}")


async def received(amazon: Aws, queue_url: str, count: int) -> list[dict[str, Any]]:
    """That many messages of a queue, as JSON."""
    sqs = amazon.clients["sqs"]
    found: list[dict[str, Any]] = []
    async with asyncio.timeout(20):
        while len(found) < count:
            answer = await sqs.receive_message(
                QueueUrl=queue_url, WaitTimeSeconds=2, MaxNumberOfMessages=10, MessageAttributeNames=["All"]
            )
            for message in answer.get("Messages", ()):
                attributes = {k: v["StringValue"] for k, v in message.get("MessageAttributes", {}).items()}
                found.append({"body": json.loads(message["Body"]), "attributes": attributes})
    return found


async def admin(*arguments: str, **variables: str) -> Any:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "metadata_svc.admin",
        *arguments,
        env={**os.environ, **variables},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    if process.returncode:
        raise RuntimeError(err.decode())
    return json.loads(out)


async def test_a_key_goes_into_a_secret_unprinted_where_it_is_told_to(
    amazon: Aws, own_postgres: tuple[Path, int, list[subprocess.Popen[bytes]]]
) -> None:
    data, database_port, _ = own_postgres
    url = server.admin_url(data, database_port)
    await set_passwords(url, "password")
    await put_secrets(amazon, url, "password")
    await admin("tenant", "create", "acme", DARKROOM_STAGE=amazon.stage)
    name = f"darkroom/{amazon.stage}/keys/acme"
    order = ("key", "create", "acme", "--no-api-gateway", "--scopes", "images:read", "--into", name)
    made = await admin(*order, DARKROOM_STAGE=amazon.stage)
    assert made["kept_in"] == name
    assert "api_key" not in made
    kept = (await amazon.clients["secretsmanager"].get_secret_value(SecretId=name))["SecretString"]
    assert kept.startswith(f"drk_{made['id']}_")
    assert kept not in json.dumps(made)
    with pytest.raises(RuntimeError, match=r"there is a secret .* already"):
        await admin(*order, DARKROOM_STAGE=amazon.stage)
    keys = await admin("key", "list", "acme", DARKROOM_STAGE=amazon.stage)
    assert [key["revoked_at"] is None for key in keys] in ([True, False], [False, True])


async def test_the_service_relays_survives_its_database_and_leaves_in_order(
    amazon: Aws, own_postgres: tuple[Path, int, list[subprocess.Popen[bytes]]]
) -> None:
    data, database_port, running = own_postgres
    url = server.admin_url(data, database_port)
    await set_passwords(url, "old password")
    await put_secrets(amazon, url, "old password")
    tenant = (await admin("tenant", "create", "one", DARKROOM_STAGE=amazon.stage))["id"]
    port = server.free_port()
    async with AsyncExitStack() as stack:
        process = await stack.enter_async_context(service(amazon, port, connection_idle_seconds="1"))
        channel = await stack.enter_async_context(grpc.aio.insecure_channel(f"127.0.0.1:{port}"))
        stub: Any = rpc.MetadataServiceStub(channel)
        serving = health_pb2.HealthCheckResponse.SERVING
        await until_health(channel, serving)

        # Through to the queue and the topic.
        item = new_image(tenant)
        request = pb.BatchCreateImagesRequest(items=[item])
        (created,) = (await grpc_client.call(stub.BatchCreateImages, request, 5)).results
        assert created.HasField("image")
        delete = pb.DeleteImageRequest(tenant_id=tenant, image_id=item.image_id)
        receipt = (await grpc_client.call(stub.DeleteImage, delete, 5)).receipt
        (command,) = await received(amazon, amazon.queue_url, 1)
        assert (command["body"]["schema"], command["body"]["image_id"]) == ("darkroom.purge/1", item.image_id)
        (event,) = await received(amazon, amazon.events_url, 1)
        assert event["body"]["type"] == "image.deleted"
        assert event["body"]["data"]["receipt"] == receipt
        assert event["attributes"] == {"tenant_id": tenant, "type": "image.deleted"}

        # The password is rotated: the next connections read the secret again.
        await set_passwords(url, "new password")
        await put_secrets(amazon, url, "new password")
        await asyncio.sleep(2.5)
        usage = pb.GetUsageRequest(tenant_id=tenant)
        await asyncio.gather(*(grpc_client.call(stub.GetUsage, usage, 5) for _ in range(20)))

        # The database goes away, and comes back.
        server.stop(running[-1])
        with pytest.raises(DarkroomError) as caught:
            await grpc_client.call(stub.GetUsage, usage, 5)
        assert caught.value.kind is Kind.UNAVAILABLE
        await until_health(channel, health_pb2.HealthCheckResponse.NOT_SERVING)
        running.append(await asyncio.to_thread(server.start, data, database_port, QUIET))
        await until_health(channel, serving)
        await grpc_client.call(stub.GetUsage, usage, 5)
        assert process.returncode is None

        # SIGTERM lets what runs end.
        begin = pb.BeginProcessingRequest(key=created.image.original_key, lease=seconds(5))
        last = asyncio.create_task(grpc_client.call(stub.BeginProcessing, begin, 5))
        await asyncio.sleep(0)
        process.send_signal(signal.SIGTERM)
        assert (await last).WhichOneof("outcome") == "settled"
        assert await asyncio.wait_for(process.wait(), 15) == 0
        assert process.stderr is not None
        log = (await process.stderr.read()).decode()
        assert "password" not in log.replace("password authentication", "")
        assert all(isinstance(json.loads(line), dict) for line in log.splitlines())


async def test_the_prune_command_runs_once_and_says_what_it_deleted(
    amazon: Aws, own_postgres: tuple[Path, int, list[subprocess.Popen[bytes]]]
) -> None:
    async def prune(**settings: str) -> tuple[int | None, dict[str, Any]]:
        variables = {f"METADATA_SVC_{name.upper()}": value for name, value in settings.items()}
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "metadata_svc.prune",
            env={**os.environ, "DARKROOM_STAGE": amazon.stage, **variables},
            stderr=asyncio.subprocess.PIPE,
        )
        _, log = await process.communicate()
        return process.returncode, json.loads(log.splitlines()[-1])

    data, database_port, running = own_postgres
    url = server.admin_url(data, database_port)
    await set_passwords(url, "right")
    await put_secrets(amazon, url, "right")
    connection = await asyncpg.connect(url)
    await connection.execute(
        "INSERT INTO darkroom.requests SELECT gen_random_uuid(), i, gen_random_uuid(), sha256('x'), "
        "now() - interval '2 d' FROM generate_series(1, 250) i"
    )
    status, line = await prune(prune_batch="100")
    assert (status, line["event"], line["level"]) == (0, "pruned", "info")
    assert (line["tombstones"], line["requests"], line["finished"]) == (0, 250, True)
    assert await connection.fetchval("SELECT count(*) FROM darkroom.requests") == 0
    await connection.close()
    server.stop(running[-1])
    status, line = await prune()
    assert (status, line["event"]) == (1, "not pruned")
    running.append(await asyncio.to_thread(server.start, data, database_port, QUIET))


async def test_the_service_ends_at_once_where_it_cannot_work(
    amazon: Aws, own_postgres: tuple[Path, int, list[subprocess.Popen[bytes]]]
) -> None:
    data, database_port, _ = own_postgres
    url = server.admin_url(data, database_port)
    await set_passwords(url, "right")
    await put_secrets(amazon, url, "wrong")
    async with service(amazon, server.free_port()) as process:
        _, err = await process.communicate()
        assert process.returncode == 2
        assert "cannot connect to the database" in err.decode()
    async with service(amazon, server.free_port(), app_pool_size="0") as process:
        _, err = await process.communicate()
        assert process.returncode == 2
        assert "METADATA_SVC_APP_POOL_SIZE" in err.decode()


async def test_the_admin_command_keeps_api_gateway_in_step(
    amazon: Aws, own_postgres: tuple[Path, int, list[subprocess.Popen[bytes]]]
) -> None:
    data, database_port, _ = own_postgres
    url = server.admin_url(data, database_port)
    await set_passwords(url, "p")
    gateway = amazon.clients["apigateway"]
    plan = (await gateway.create_usage_plan(name=amazon.stage))["id"]
    env = {"DARKROOM_STAGE": amazon.stage, "DATABASE_URL": url}
    tenant = await admin("tenant", "create", "one", "--keep-originals-days", "3", **env)
    assert (tenant["original_policy"], tenant["original_keep_days"]) == ("keep_days", 3)
    assert [t["id"] for t in await admin("tenant", "list", **env)] == [tenant["id"]]
    with pytest.raises(RuntimeError, match="there is a tenant named one"):
        await admin("tenant", "create", "one", **env)

    with pytest.raises(RuntimeError, match="edge/usage_plan_id"):
        await admin("key", "create", "one", "--scopes", "admin", **env)
    await amazon.clients["ssm"].put_parameter(
        Name=f"/darkroom/{amazon.stage}/edge/usage_plan_id", Value=plan, Type="String"
    )
    key = await admin("key", "create", "one", "--scopes", "images:read", "images:write", **env)
    (known,) = (await gateway.get_usage_plan_keys(usagePlanId=plan))["items"]
    assert known["id"] == key["gateway_key_id"]
    value = await gateway.get_api_key(apiKey=known["id"], includeValue=True)
    assert value["value"] == key["api_key"]
    assert key["api_key"].split("_", 2)[2] not in value["name"]

    keys = await admin("key", "list", **env)
    assert key["api_key"].split("_", 2)[2] not in json.dumps(keys)
    for scopes, reason in ((["nonsense"], "unknown scope"), ([], "at least one scope")):
        with pytest.raises(RuntimeError, match=reason):
            await admin("key", "create", "one", "--scopes", *scopes, **env)

    assert (await admin("key", "revoke", key["id"], **env))["revoked"]
    assert (await admin("key", "revoke", key["id"], **env))["revoked"]
    assert (await gateway.get_usage_plan_keys(usagePlanId=plan))["items"] == []
    with pytest.raises(RuntimeError, match="there is no key"):
        await admin("key", "revoke", "a" * 16, **env)
