"""Our side of the bench: the real gateway, presign_svc and metadata_svc, one process each, without API Gateway."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import asyncpg
import grpc
from darkroom.metadata.v1 import metadata_pb2 as pb
from darkroom.metadata.v1 import metadata_pb2_grpc as rpc
from google.protobuf.duration_pb2 import Duration

from deploy.local import localstack
from metadata_svc import migrate
from tests.bench.processes import ROOT, Server, free_port, server

_UNLIMITED: Final = str(10**9)  # the bench is about cost, not about limits
_VARIANTS: Final = ("thumb", "small", "medium", "large")


@dataclass(frozen=True)
class Ours:
    """The running services. `key` is a tenant's secret key."""

    gateway: Server
    servers: list[Server]
    key: str
    tenant_id: str
    metadata_target: str

    async def make_ready(self, image_ids: list[str]) -> None:
        """Brings registered images to READY with four variants each, as the worker would."""
        async with grpc.aio.insecure_channel(self.metadata_target) as channel:
            stub: rpc.MetadataServiceAsyncStub = rpc.MetadataServiceStub(channel)
            for image_id in image_ids:
                await self._make_ready(stub, image_id)

    async def _make_ready(self, stub: rpc.MetadataServiceAsyncStub, image_id: str) -> None:
        item = pb.GetImageRequest(item_id=1, tenant_id=self.tenant_id, image_id=image_id)
        got = await stub.BatchGetImages(pb.BatchGetImagesRequest(items=[item]), timeout=10)
        key = got.results[0].image.original_key
        begin = pb.BeginProcessingRequest(key=key, lease=Duration(seconds=60))
        job = (await stub.BeginProcessing(begin, timeout=10)).job
        finish = pb.FinishProcessingRequest(
            tenant_id=self.tenant_id,
            image_id=image_id,
            attempt=job.attempt,
            ready=pb.Ready(
                facts=pb.Facts(format="JPEG", width=4032, height=3024, frames=1, thumbhash=b"x" * 25, color="#8a7f6c"),
                variants=[
                    pb.Variant(
                        name=name,
                        key=f"{job.media_prefix}{name}.0123456789abcdef.webp",
                        content_type="image/webp",
                        width=256,
                        height=256,
                        size=9120,
                    )
                    for name in _VARIANTS
                ],
            ),
        )
        await stub.FinishProcessing(finish, timeout=10)


async def _prepare(admin_url: str, endpoint: str) -> None:
    """The schema, and the secrets with the roles' logins."""
    passwords = {"darkroom_app": "bench-app", "darkroom_maintenance": "bench-maintenance"}
    connection = await asyncpg.connect(admin_url)
    try:
        await migrate.ensure_roles(connection, passwords)
        await migrate.apply(connection)
    finally:
        await connection.close()
    parts = urlsplit(admin_url)
    manager = localstack.client("secretsmanager", endpoint)
    for role, password in passwords.items():
        login: dict[str, Any] = {
            "host": parts.hostname,
            "port": parts.port or 5432,
            "dbname": parts.path.lstrip("/"),
            "username": role,
            "password": password,
        }
        manager.create_secret(Name=f"bench/{role}", SecretString=json.dumps(login))


def _admin(admin_url: str, *arguments: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "metadata_svc.admin", "--database-url", admin_url, *arguments],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
        env={"PYTHONPATH": f"{ROOT}:{ROOT / 'protos'}", "PATH": "/usr/bin:/bin"},
    )
    made: dict[str, Any] = json.loads(done.stdout)
    return made


@contextmanager
def running(admin_url: str, endpoint: str, logs: Path) -> Iterator[Ours]:
    """Starts the three services on that database; `endpoint` is LocalStack's, for secrets and parameters."""
    asyncio.run(_prepare(admin_url, endpoint))
    queue = localstack.client("sqs", endpoint).create_queue(QueueName="bench")["QueueUrl"]
    topic = localstack.client("sns", endpoint).create_topic(Name="bench")["TopicArn"]
    tenant = _admin(
        admin_url,
        *("tenant", "create", "bench", "--max-images", _UNLIMITED, "--max-bytes", str(10**18)),
        *("--requests-per-second", _UNLIMITED),
    )
    scopes = ["images:read", "images:write"]
    key = _admin(admin_url, "key", "create", "bench", "--scopes", *scopes, "--no-api-gateway")
    common = {
        **localstack.CREDENTIALS,
        "AWS_REGION": localstack.REGION,
        "AWS_ENDPOINT_URL": endpoint,
        "S3_ADDRESSING_STYLE": "path",
        "LOG_LEVEL": "info",
    }
    presign, metadata, gateway = free_port(), free_port(), free_port()
    targets = {
        "GATEWAY_PRESIGN_TARGET": f"ipv4:127.0.0.1:{presign}",
        "GATEWAY_METADATA_TARGET": f"ipv4:127.0.0.1:{metadata}",
        # Nobody listens: nothing is rendered here.
        "GATEWAY_IMAGE_TARGET": "ipv4:127.0.0.1:9",
    }
    own = {
        "presign_svc": {
            "PRESIGN_SVC_INCOMING_BUCKET": "darkroom-incoming",
            "PRESIGN_SVC_MEDIA_BUCKET": "darkroom-media",
            "PRESIGN_SVC_LISTEN_PORT": str(presign),
        },
        "metadata_svc": {
            "METADATA_SVC_QUEUE_URL": queue,
            "METADATA_SVC_TOPIC_ARN": topic,
            "METADATA_SVC_APP_DATABASE_SECRET": "bench/darkroom_app",
            "METADATA_SVC_MAINTENANCE_DATABASE_SECRET": "bench/darkroom_maintenance",
            "METADATA_SVC_LISTEN_PORT": str(metadata),
        },
        "gateway": {
            "GATEWAY_PRESETS": (ROOT / "image_svc" / "presets.json").read_text(),
            "GATEWAY_LISTEN_PORT": str(gateway),
            **targets,
        },
    }
    ports = {"presign_svc": presign, "metadata_svc": metadata, "gateway": gateway}
    with ExitStack() as stack:
        servers = {
            name: stack.enter_context(server(name, [name], ports[name], common | environment, logs))
            for name, environment in own.items()
        }
        yield Ours(servers["gateway"], list(servers.values()), key["api_key"], tenant["id"], f"127.0.0.1:{metadata}")
