"""What `make status` prints: each process as supervisord and the kernel see it, and how full the queues are."""

from __future__ import annotations

from typing import Final

from botocore.exceptions import BotoCoreError, ClientError

from deploy.local import localstack, processes, provision
from deploy.local.cluster import Cluster
from deploy.local.layout import GRPC_SERVICES, State

_HEAD: Final = ("process", "state", "pid", "port", "uptime", "RSS", "CPU")
_COUNTS: Final = {
    "waiting": "ApproximateNumberOfMessages",
    "in hand": "ApproximateNumberOfMessagesNotVisible",
    "delayed": "ApproximateNumberOfMessagesDelayed",
}


def status(cluster: Cluster) -> str:
    """The table of processes and the queues' depths, as text."""
    if not cluster.supervisor.running():
        return "The cluster is not running: `make up` starts it."
    state = cluster.layout.load()
    rows: list[tuple[str, ...]] = [_HEAD]
    for name, info in sorted(cluster.supervisor.processes().items(), key=lambda item: _order(item[0])):
        seen = processes.read(info.pid) if info.pid else None
        port = str(_port(name, state) or "-")
        if seen is None:
            rows.append((name, info.state, "-", port, info.detail or "-", "-", "-"))
            continue
        tree = processes.tree(info.pid)
        rss = sum(process.rss for process in tree)
        cpu = sum(process.cpu_seconds for process in tree)
        rows.append(
            (name, info.state, str(info.pid), port, _duration(processes.uptime(seen)), _size(rss), f"{cpu:.1f} s")
        )
    return f"{table(rows, right=('pid', 'port', 'uptime', 'RSS', 'CPU'))}\n\n{_queues(cluster, state)}"


def table(rows: list[tuple[str, ...]], right: tuple[str, ...] = ()) -> str:
    """Rows as columns of text; the first row is the head. Columns named in `right` are aligned to the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "  ".join(
            cell.rjust(width) if name in right else cell.ljust(width)
            for cell, width, name in zip(row, widths, rows[0], strict=True)
        ).rstrip()
        for row in rows
    ]
    return "\n".join([lines[0], "  ".join("-" * width for width in widths), *lines[1:]])


def _queues(cluster: Cluster, state: State) -> str:
    try:
        variables = provision.read_env(cluster.layout)
        sqs = localstack.client("sqs", provision.endpoint(state), read_timeout=5)
        rows: list[tuple[str, ...]] = [("queue", *_COUNTS)]
        for label, name in (("images", "QUEUE_URL"), ("dead letters", "DLQ_URL")):
            got = sqs.get_queue_attributes(QueueUrl=variables[name], AttributeNames=list(_COUNTS.values()))[
                "Attributes"
            ]
            rows.append((label, *(got[attribute] for attribute in _COUNTS.values())))
    except (BotoCoreError, ClientError, provision.ProvisionError) as error:
        return f"queues: cannot be asked ({error})"
    return table(rows, right=tuple(_COUNTS))


def _order(name: str) -> tuple[int, str]:
    service = name.rsplit("-", 1)[0]
    known = ("gateway", "presign_svc", "metadata_svc", "image_svc")
    return (known.index(service) if service in known else len(known), name)


def _port(name: str, state: State) -> int | None:
    service, _, number = name.rpartition("-")
    if service in GRPC_SERVICES:
        return state.ports[service] + int(number)
    return state.ports.get(service or name)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}"


def _size(count: int) -> str:
    return f"{count / 2**20:.0f} MB"
