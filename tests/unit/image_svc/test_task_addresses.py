"""The reconciler finds metadata_svc's tasks: ECS is asked in its own words, by a server that speaks them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiobotocore.session import AioSession, get_session
from aiohttp import web

from image_svc.adapters.tasks import resolved
from image_svc.ports import Unreachable
from runtime.aws import AwsSettings

TARGET = "ecs:darkroom-prod-services/metadata_svc:9090"


def task(number: int, status: str = "RUNNING") -> dict[str, Any]:
    """A task as ECS describes it, on Fargate with Service Connect."""
    details = [{"name": "subnetId", "value": "subnet-1"}, {"name": "privateIPv4Address", "value": f"10.40.0.{number}"}]
    return {
        "taskArn": f"arn:aws:ecs:ap-northeast-2:123456789012:task/darkroom-prod-services/{number}",
        "lastStatus": status,
        "attachments": [
            {"id": "a", "type": "Service Connect", "status": "ATTACHED", "details": []},
            {"id": "b", "type": "ElasticNetworkInterface", "status": "ATTACHED", "details": details},
        ],
    }


class Ecs:
    """ECS's JSON protocol for two calls."""

    def __init__(self) -> None:
        self.tasks: list[dict[str, Any]] = []
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.endpoint = ""

    async def answer(self, request: web.Request) -> web.Response:
        call = request.headers["x-amz-target"].rpartition(".")[2]
        body = await request.json()
        self.asked.append((call, body))
        if body["cluster"] != "darkroom-prod-services":
            return web.json_response(
                {"__type": "ClusterNotFoundException", "message": "Cluster not found."},
                status=400,
                content_type="application/x-amz-json-1.1",
            )
        if call == "ListTasks":
            return web.json_response(
                {"taskArns": [found["taskArn"] for found in self.tasks]}, content_type="application/x-amz-json-1.1"
            )
        wanted = [found for found in self.tasks if found["taskArn"] in body["tasks"]]
        return web.json_response({"tasks": wanted, "failures": []}, content_type="application/x-amz-json-1.1")


@pytest.fixture
async def ecs() -> AsyncIterator[Ecs]:
    served = Ecs()
    app = web.Application()
    app.router.add_post("/", served.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    served.endpoint = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield served
    await runner.cleanup()


@pytest.fixture
def session(monkeypatch: pytest.MonkeyPatch) -> AioSession:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    return get_session()


def at(endpoint: str) -> AwsSettings:
    return AwsSettings(AWS_ENDPOINT_URL=endpoint)


async def test_every_running_task_is_an_address(ecs: Ecs, session: AioSession) -> None:
    ecs.tasks = [task(5), task(7, "PENDING"), task(9)]
    assert await resolved(session, at(ecs.endpoint), TARGET) == "ipv4:10.40.0.5:9090,10.40.0.9:9090"
    assert ecs.asked[0] == (
        "ListTasks",
        {"cluster": "darkroom-prod-services", "serviceName": "metadata_svc", "desiredStatus": "RUNNING"},
    )


async def test_a_service_without_tasks_is_unreachable(ecs: Ecs, session: AioSession) -> None:
    with pytest.raises(Unreachable, match="no task of metadata_svc"):
        await resolved(session, at(ecs.endpoint), TARGET)


async def test_a_cluster_that_is_not_there_is_unreachable(ecs: Ecs, session: AioSession) -> None:
    with pytest.raises(Unreachable, match="Cluster not found"):
        await resolved(session, at(ecs.endpoint), "ecs:elsewhere/metadata_svc:9090")


@pytest.mark.parametrize("target", ["127.0.0.1:9090", "ipv4:10.0.0.1:1,10.0.0.2:1", "proxy:metadata-svc:9090"])
async def test_any_other_target_is_left_as_it_is(session: AioSession, target: str) -> None:
    assert await resolved(session, at("http://127.0.0.1:1"), target) == target


@pytest.mark.parametrize("target", ["ecs:cluster", "ecs:cluster/service", "ecs:/service:9090", "ecs:a/b:port"])
async def test_a_target_out_of_form_is_refused(session: AioSession, target: str) -> None:
    with pytest.raises(ValueError, match="not of the form"):
        await resolved(session, at("http://127.0.0.1:1"), target)
