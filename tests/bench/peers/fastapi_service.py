"""The peer: FastAPI + boto3 + SQLAlchemy in one process, with the guarantees of our `POST /v1/images`.

It is written as lean as its parts allow: asyncio throughout, uvloop and httptools, SQLAlchemy Core on asyncpg rather
than the ORM, one transaction of four statements, checked keys kept for 20 seconds as the gateway keeps them, no access
log. `PORT` and `DATABASE_URL` (as its own role, not the owner) come from the environment.
"""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import hmac
import os
import time
import uuid
from contextlib import asynccontextmanager
from typing import Annotated, Any, Literal

import boto3  # type: ignore[import-untyped]  # it has no type information
import sqlalchemy as sa
import uvicorn
from botocore.config import Config
from fastapi import FastAPI, Header, HTTPException
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, UUID, insert
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

TICKET_SECONDS = 900
KEY_SECONDS = 20.0
ContentType = Literal[
    "image/jpeg", "image/png", "image/webp", "image/gif", "image/avif", "image/heic", "image/heif", "image/tiff"
]

metadata = sa.MetaData()
tenants = sa.Table(
    "tenants",
    metadata,
    sa.Column("id", UUID, primary_key=True),
    sa.Column("max_images", sa.BigInteger),
    sa.Column("max_bytes", sa.BigInteger),
)
api_keys = sa.Table(
    "api_keys",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("tenant_id", UUID),
    sa.Column("secret_sha256", sa.LargeBinary),
    sa.Column("scopes", ARRAY(sa.Text)),
    sa.Column("revoked_at", sa.DateTime(timezone=True)),
)
usage = sa.Table(
    "usage",
    metadata,
    sa.Column("tenant_id", UUID, primary_key=True),
    sa.Column("images", sa.BigInteger),
    sa.Column("bytes", sa.BigInteger),
)
images = sa.Table(
    "images",
    metadata,
    sa.Column("tenant_id", UUID, primary_key=True),
    sa.Column("id", UUID, primary_key=True),
    sa.Column("state", sa.Text),
    sa.Column("filename", sa.Text),
    sa.Column("content_type", sa.Text),
    sa.Column("size", sa.BigInteger),
    sa.Column("sha256", sa.LargeBinary),
    sa.Column("presets", ARRAY(sa.Text)),
    sa.Column("tags", JSONB),
    sa.Column("upload_expires_at", sa.DateTime(timezone=True)),
    sa.Column("created_at", sa.DateTime(timezone=True)),
    sa.Column("updated_at", sa.DateTime(timezone=True)),
)
requests = sa.Table(
    "requests",
    metadata,
    sa.Column("tenant_id", UUID, primary_key=True),
    sa.Column("request_id", sa.Text, primary_key=True),
    sa.Column("image_id", UUID),
    sa.Column("request_sha256", sa.LargeBinary),
    sa.Column("created_at", sa.DateTime(timezone=True)),
)


class NewImage(BaseModel):
    """The body of a registration."""

    model_config = ConfigDict(extra="forbid")

    filename: str = Field(min_length=1, max_length=255)
    content_type: ContentType
    size: int = Field(ge=1, le=100 * 1024**2)
    sha256: str | None = Field(None, pattern="^[0-9a-f]{64}$")
    upload: Literal["put"] = "put"
    variants: list[Literal["thumb", "small", "medium", "large"]] = []
    tags: dict[Annotated[str, Field(max_length=128)], Annotated[str, Field(max_length=128)]] = Field({}, max_length=20)


class Tenant(BaseModel):
    """Who calls, and its limits."""

    id: uuid.UUID
    max_images: int
    max_bytes: int


class Service:
    """What the routes work with."""

    def __init__(self, engine: AsyncEngine) -> None:
        self.engine = engine
        self.s3 = boto3.client(
            "s3",
            endpoint_url=os.environ["AWS_ENDPOINT_URL"],
            config=Config(signature_version="s3v4", s3={"addressing_style": "path"}),
        )
        self._keys: dict[str, tuple[float, Tenant]] = {}

    async def tenant(self, key: str) -> Tenant:
        """The tenant of a key, or 401."""
        known = self._keys.get(key)
        if known is not None and known[0] > time.monotonic():
            return known[1]
        _, _, rest = key.partition("_")
        key_id, _, secret = rest.partition("_")
        query = (
            sa.select(api_keys, tenants.c.max_images, tenants.c.max_bytes)
            .join(tenants, tenants.c.id == api_keys.c.tenant_id)
            .where(api_keys.c.id == key_id, api_keys.c.revoked_at.is_(None))
        )
        async with self.engine.connect() as connection:
            row = (await connection.execute(query)).one_or_none()
        digest = hashlib.sha256(secret.encode()).digest()
        if row is None or not hmac.compare_digest(row.secret_sha256, digest) or "images:write" not in row.scopes:
            raise HTTPException(401)
        found = Tenant(id=row.tenant_id, max_images=row.max_images, max_bytes=row.max_bytes)
        self._keys[key] = (time.monotonic() + KEY_SECONDS, found)
        return found

    async def register(self, tenant: Tenant, body: NewImage, request_id: str) -> dict[str, Any]:
        """The image: a new one, or the one that the first call with this request id made."""
        now = dt.datetime.now(dt.UTC)
        image = {
            "tenant_id": tenant.id,
            "id": uuid.uuid4(),
            "state": "AWAITING_UPLOAD",
            "filename": body.filename,
            "content_type": body.content_type,
            "size": body.size,
            "sha256": bytes.fromhex(body.sha256) if body.sha256 else None,
            "presets": body.variants,
            "tags": body.tags,
            "upload_expires_at": now + dt.timedelta(seconds=TICKET_SECONDS),
            "created_at": now,
            "updated_at": now,
        }
        digest = hashlib.sha256(body.model_dump_json().encode()).digest()
        async with self.engine.begin() as connection:
            await connection.execute(_SCOPE, {"tenant": str(tenant.id)})
            claimed = await connection.execute(
                insert(requests)
                .values(
                    tenant_id=tenant.id,
                    request_id=request_id,
                    image_id=image["id"],
                    request_sha256=digest,
                    created_at=now,
                )
                .on_conflict_do_nothing()
            )
            if claimed.rowcount == 0:
                return await self._first(connection, tenant, request_id, digest)
            counted = await connection.execute(
                sa.update(usage)
                .where(
                    usage.c.tenant_id == tenant.id,
                    usage.c.images < tenant.max_images,
                    usage.c.bytes + body.size <= tenant.max_bytes,
                )
                .values(images=usage.c.images + 1, bytes=usage.c.bytes + body.size)
            )
            if counted.rowcount == 0:
                raise HTTPException(429, "the quota is used up")
            await connection.execute(sa.insert(images).values(**image))
        return image

    async def _first(
        self, connection: AsyncConnection, tenant: Tenant, request_id: str, digest: bytes
    ) -> dict[str, Any]:
        query = (
            sa.select(images, requests.c.request_sha256)
            .join(requests, (requests.c.tenant_id == images.c.tenant_id) & (requests.c.image_id == images.c.id))
            .where(requests.c.tenant_id == tenant.id, requests.c.request_id == request_id)
        )
        row = (await connection.execute(query)).mappings().one()
        if row["request_sha256"] != digest:
            raise HTTPException(422, "the Idempotency-Key was used with another body")
        return {column.name: row[column.name] for column in images.columns}

    def ticket(self, image: dict[str, Any], checksum: str | None) -> dict[str, Any]:
        """A sealed PUT ticket."""
        sealed = {"ChecksumSHA256": checksum} if checksum else {}
        url = self.s3.generate_presigned_url(
            "put_object",
            Params={
                "Bucket": "darkroom-incoming",
                "Key": f"incoming/{image['tenant_id']}/{image['id']}",
                "ContentType": image["content_type"],
                "ContentLength": image["size"],
                "IfNoneMatch": "*",
                **sealed,
            },
            ExpiresIn=TICKET_SECONDS,
        )
        headers = {"content-type": image["content_type"], "if-none-match": "*"}
        if checksum:
            headers["x-amz-checksum-sha256"] = checksum
        expires_at = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=TICKET_SECONDS)
        return {"method": "PUT", "url": url, "headers": headers, "expires_at": expires_at}


_SCOPE = sa.text("SELECT set_config('peer.tenant', :tenant, true)")


def create_app() -> FastAPI:
    """The application."""
    held: dict[str, Service] = {}

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> Any:
        engine = create_async_engine(os.environ["DATABASE_URL"], pool_size=10, max_overflow=0)
        held["service"] = Service(engine)
        yield
        await engine.dispose()

    app = FastAPI(lifespan=lifespan)

    @app.post("/v1/images", status_code=201)
    async def register(
        body: NewImage, x_api_key: Annotated[str, Header()], idempotency_key: Annotated[str, Header(max_length=255)]
    ) -> dict[str, Any]:
        service = held["service"]
        tenant = await service.tenant(x_api_key)
        image = await service.register(tenant, body, idempotency_key)
        checksum = None
        if image["sha256"]:
            checksum = base64.b64encode(image["sha256"]).decode()
        shown = {**image, "sha256": body.sha256, "variants": [], "problem": None}
        return {"image": shown, "upload": service.ticket(image, checksum)}

    return app


if __name__ == "__main__":
    uvicorn.run(
        create_app(),
        host="127.0.0.1",
        port=int(os.environ["PORT"]),
        loop="uvloop",
        http="httptools",
        access_log=False,
        log_level="warning",
    )
