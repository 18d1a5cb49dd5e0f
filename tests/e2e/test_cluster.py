"""The cluster itself: kills lose nothing, nothing is reachable from outside, down leaves nothing."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path

import aiohttp
import pytest

from tests.support.api_client import Api
from tests.support.cluster import RunningCluster
from tests.support.pictures import picture

KEYS = """
    DARKROOM_API_URL DARKROOM_GATEWAY_URL DARKROOM_API_KEY DARKROOM_SECOND_API_KEY DARKROOM_ADMIN_KEY AWS_ENDPOINT_URL
    AWS_REGION DATABASE_URL QUEUE_URL DLQ_URL INCOMING_BUCKET MEDIA_BUCKET PRESIGN_TARGET METADATA_TARGET IMAGE_TARGET
"""


def test_the_environment_file_has_the_keys_of_the_contract_and_is_private(cluster: RunningCluster) -> None:
    file = cluster.folder / "cluster.env"
    assert [line.split("=")[0] for line in file.read_text().splitlines()] == KEYS.split()
    assert file.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("service", ["gateway", "presign_svc", "metadata_svc", "image_svc"])
async def test_a_service_killed_in_the_middle_delays_but_loses_nothing(
    api: Api, cluster: RunningCluster, service: str
) -> None:
    contents = [picture(seed=100 + n, size=(1200, 900)) for n in range(8)]

    async def developed(number: int) -> str:
        await asyncio.sleep(0.15 * number)  # so that the kill finds some in every stage
        made = await api.register(contents[number], "image/jpeg", idempotency_key=f"kill-{service}-{number}")
        if made["upload"] is not None:
            reply = await api.put(made["upload"], contents[number])
            assert reply.status in (200, 412), reply
        return str((await api.settled(made["image"]["id"], seconds=120))["state"])

    async def kill() -> None:
        await asyncio.sleep(0.7)
        assert await asyncio.to_thread(cluster.kill, service) == 1

    states, _ = await asyncio.gather(asyncio.gather(*map(developed, range(len(contents)))), kill())
    assert states == ["READY"] * len(contents)


async def test_scaling_starts_and_stops_processes_and_leaves_the_others_alone(
    api: Api, cluster: RunningCluster
) -> None:
    before = cluster.pids()
    await asyncio.to_thread(cluster.cluster.scale, {"presign_svc": 2, "gateway": 2})
    more = cluster.pids()
    assert more.keys() - before.keys() == {"presign_svc-1", "gateway-1"}
    assert {name: more[name] for name in before} == before
    assert (await api.settled(await api.upload(picture(seed=40), "image/jpeg")))["state"] == "READY"
    await asyncio.to_thread(cluster.cluster.scale, {"presign_svc": 1, "gateway": 1})
    assert cluster.pids() == before


def test_a_second_up_changes_nothing(cluster: RunningCluster) -> None:
    before, env = cluster.pids(), dict(cluster.env)
    cluster.up()
    assert cluster.pids() == before
    assert cluster.env == env


def test_everything_listens_on_loopback_only(cluster: RunningCluster) -> None:
    inodes = {inode for process in cluster.everything() for inode in _sockets(process.pid)}
    # 127.0.0.1, ::1, and the first as gRPC binds it: mapped into IPv6.
    loopback = {"0100007F", "00000000000000000000000001000000", "0000000000000000FFFF00000100007F"}
    listening = []
    for table in ("tcp", "tcp6", "udp", "udp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            # TCP: LISTEN. UDP has no such state; what is not connected takes from anybody.
            if fields[9] in inodes and fields[3] == ("0A" if table.startswith("tcp") else "07"):
                listening.append(fields[1])
    assert len(listening) >= 6  # LocalStack, PostgreSQL and the four services
    assert {address.split(":")[0] for address in listening} <= loopback


def _sockets(pid: int) -> set[str]:
    found = set()
    for descriptor in Path(f"/proc/{pid}/fd").glob("*"):
        try:
            target = str(descriptor.readlink())
        except FileNotFoundError:
            continue
        if target.startswith("socket:["):
            found.add(target[8:-1])
    return found


async def test_what_localstack_loses_in_a_restart_is_made_again(api: Api, cluster: RunningCluster) -> None:
    cluster.kill("localstack")
    deadline = time.monotonic() + 60
    content = picture(seed=41)
    while True:
        env = dict(line.split("=", 1) for line in (cluster.folder / "cluster.env").read_text().splitlines())
        api.url = env["DARKROOM_API_URL"]
        try:
            reply = await api.call("GET", "/v1/usage")
            if reply.status == 200:
                break
        except (aiohttp.ClientError, TimeoutError):
            pass
        assert time.monotonic() < deadline
        await asyncio.sleep(0.5)
    cluster.env = env
    assert (await api.settled(await api.upload(content, "image/jpeg")))["state"] == "READY"


def test_down_leaves_no_process_and_no_port_even_after_supervisord_was_killed(cluster: RunningCluster) -> None:
    ports = cluster.cluster.layout.load().ports
    try:
        os.kill(int((cluster.folder / "run" / "supervisord.pid").read_text()), signal.SIGKILL)
        assert cluster.everything()
        cluster.cluster.down()
        assert not cluster.everything()
        assert not _listening() & set(ports.values())
        assert not (cluster.folder / "cluster.env").exists()
    finally:
        cluster.up()


def _listening() -> set[int]:
    return {
        int(line.split()[1].split(":")[1], 16)
        for table in ("tcp", "tcp6")
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]
        if line.split()[3] == "0A"
    }


@pytest.mark.parametrize("command", ["prune", "reconcile"])
async def test_upkeep_can_be_run_at_once_and_finds_a_sound_cluster(cluster: RunningCluster, command: str) -> None:
    assert await asyncio.to_thread(cluster.cluster.once, command, []) == 0
    assert any(name == "upkeep" for name in cluster.cluster.supervisor.processes())
