import argparse
import os
import sys
from pathlib import Path

from deploy.local import report
from deploy.local.cluster import Cluster, ClusterError
from deploy.local.layout import DEFAULT, Layout
from deploy.local.provision import Provisioned, ProvisionError
from deploy.local.readiness import NotReady
from deploy.setup.console import say, step


def _summary(layout: Layout, made: Provisioned) -> str:
    variables = made.variables
    return f"""
Darkroom is up.
  API (through API Gateway)  {variables["DARKROOM_API_URL"]}
  the gateway itself         {variables["DARKROOM_GATEWAY_URL"]}    its description: /docs
  keys, queues, buckets      {os.path.relpath(layout.env_file)}

  Try it:  set -a; . {os.path.relpath(layout.env_file)}; set +a
           curl -s -H "x-api-key: $DARKROOM_API_KEY" "$DARKROOM_API_URL/v1/usage"
  Then:    make demo | make status | make logs | make scale image_svc=2 | make down"""


def _up(cluster: Cluster, _options: argparse.Namespace) -> None:
    say("Starting the cluster (what runs already is left alone)")
    made = cluster.up()
    say(_summary(cluster.layout, made))


def _down(cluster: Cluster, _options: argparse.Namespace) -> None:
    left = cluster.down()
    say(f"Down. {left} process(es) were left over and have been ended." if left else "Down. Nothing is left running.")


def _status(cluster: Cluster, _options: argparse.Namespace) -> None:
    say(report.status(cluster))


def _logs(cluster: Cluster, options: argparse.Namespace) -> None:
    found = sorted(cluster.layout.logs.glob(f"{options.service}*.log" if options.service else "*.log"))
    if not found:
        raise ClusterError(f"there are no logs of {options.service or 'the cluster'} in {cluster.layout.logs}")
    sys.stdout.flush()
    os.execvp("tail", ["tail", "-n", str(options.lines), "-F", *map(str, found)])


def _scale(cluster: Cluster, options: argparse.Namespace) -> None:
    wanted: dict[str, int] = {}
    for item in options.wanted:
        service, _, count = item.partition("=")
        if not count.isdigit():
            raise ClusterError(f"{item!r} is not of the form image_svc=3")
        wanted[service] = int(count)
    if not wanted:
        raise ClusterError("say which service and how many processes: make scale image_svc=3")
    cluster.scale(wanted)
    say(report.status(cluster))


def _migrate(cluster: Cluster, _options: argparse.Namespace) -> None:
    say(cluster.migrate())


def _once(cluster: Cluster, options: argparse.Namespace) -> None:
    status = cluster.once(options.command, options.arguments)
    if status:
        raise ClusterError(f"{options.command} ended with status {status}: its last line says why")


def main() -> int:
    """Command line of the local cluster; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m deploy.local", description="The cluster on this machine.")
    parser.add_argument("--folder", type=Path, default=DEFAULT, help="where it keeps everything; default: .local")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, run, text in (
        ("up", _up, "start what is not running"),
        ("down", _down, "stop everything"),
        ("status", _status, "show processes and queues"),
        ("migrate", _migrate, "bring the database's schema up to date"),
    ):
        commands.add_parser(name, help=text).set_defaults(run=run)
    logs = commands.add_parser("logs", help="follow the logs")
    logs.add_argument("--service", default="", help="of one service only")
    logs.add_argument("--lines", type=int, default=10, help="so many lines of each first")
    logs.set_defaults(run=_logs)
    for name, text in (
        ("prune", "delete rows whose time is over, now"),
        ("reconcile", "compare buckets and rows, now"),
    ):
        once = commands.add_parser(name, help=text, prefix_chars="+")
        once.add_argument("arguments", nargs="*", metavar="ARGUMENT", help="passed on, as --dry-run")
        once.set_defaults(run=_once, command=name)
    scale = commands.add_parser("scale", help="run so many processes of a service")
    scale.add_argument("wanted", nargs="*", metavar="SERVICE=N")
    scale.set_defaults(run=_scale)
    options = parser.parse_args()
    cluster = Cluster(Layout(options.folder.resolve()), step)
    try:
        options.run(cluster, options)
    except (ClusterError, ProvisionError, NotReady, RuntimeError, TimeoutError) as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
