import argparse
import os
import re
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import botocore.session
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

from deploy.cdk import settings, synth
from deploy.images import catalogue
from deploy.images.tools import ImageError
from deploy.rollout import assembly, plan
from deploy.rollout.errors import RolloutError
from deploy.rollout.rollout import Clients, Rollout
from deploy.setup.console import say, step

# What ECR takes as a tag.
_TAG: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_CONNECT: Final = 10  # seconds
_READ: Final = 60
# Dated scaling actions that lie in the past are refused: the plan of capacity starts now.
_AS_OF: Final = "DARKROOM_DEPLOY_CAPACITY__PLAN_AS_OF"


def _clients(region: str) -> Clients:
    session = botocore.session.Session()
    made: dict[str, Any] = {}
    config = Config(connect_timeout=_CONNECT, read_timeout=_READ, retries={"mode": "standard", "total_max_attempts": 8})

    def client(service: str) -> Any:
        if service not in made:
            made[service] = session.create_client(service, region_name=region, config=config)
        return made[service]

    return client


def _tag(given: str) -> str:
    """The tag: as given, or the commit. Raises `RolloutError` where that would name what nobody has."""
    if given:
        if not _TAG.fullmatch(given):
            raise RolloutError(f"TAG={given}: letters, digits and _.- only, at most 128; e.g. TAG=2026-12-01.1")
        return given
    revision = catalogue.revision()
    if not revision.clean:
        raise RolloutError("the working tree has changes: commit them, or give the images a name of their own: TAG=…")
    if revision.epoch == 0:
        raise RolloutError("this is no git repository, so that no commit can name the images: give TAG=…")
    return revision.commit[:12]


def _settings(stage: str, confirmed: str, *, only_look: bool) -> settings.Environment:
    """The stage's settings, or why it may not be deployed."""
    if stage == "local":
        raise RolloutError("local is the cluster on this machine: make up")
    if stage == "prod" and confirmed != "prod" and not only_look:
        raise RolloutError("this is production. PLAN=1 and CHANGES=1 show what would be done; CONFIRM=prod does it")
    now = datetime.now(UTC).replace(second=0, microsecond=0).isoformat()
    os.environ.setdefault(_AS_OF, now)
    return settings.load(stage)


def _run(options: argparse.Namespace) -> None:
    env = _settings(options.stage, options.confirm, only_look=options.plan or options.changes)
    tag = _tag(options.tag)
    with tempfile.TemporaryDirectory(prefix="darkroom-rollout-") as folder:
        with step(f"synth of {env.stage}"):
            synth.synthesise(env, Path(folder))
        stacks = assembly.read(Path(folder))
    if options.plan:
        say(f"make deploy STAGE={env.stage}, to account {env.account} in {env.region}; nothing of this is done now:")
        for line in plan.lines(stacks, tag):
            say(line)
        return
    rollout = Rollout(
        env, stacks, tag, options.base or catalogue.DEFAULT_BASE, _clients(env.region), say, options.accept_loss
    )
    rollout.check()
    if options.changes:
        rollout.preview()
        say("Nothing was changed.")
        return
    rollout.run()
    say(f"{env.stage} runs {tag}: {rollout.outputs['Edge']['ApiUrl']}")


def main() -> int:
    """Command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="make deploy", description="From an account to a running system.")
    parser.add_argument("stage", choices=settings.STAGES)
    parser.add_argument("--tag", default="", help="of the images; default: the commit")
    parser.add_argument("--base", default="", help="a Debian 12 image to build on")
    parser.add_argument("--confirm", default="", help="prod, for production")
    parser.add_argument("--plan", action="store_true", help="only say what would be done; needs no credentials")
    parser.add_argument("--changes", action="store_true", help="only say what each change set would do")
    parser.add_argument("--accept-loss", nargs="*", default=[], metavar="ID", help="may be removed or replaced")
    try:
        _run(parser.parse_args())
    except NoCredentialsError:
        print("\nno AWS credentials: set AWS_PROFILE, or AWS_ACCESS_KEY_ID and its secret", file=sys.stderr)
        return 1
    except (RolloutError, ImageError, settings.EnvironmentError, BotoCoreError, ClientError) as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    except subprocess.SubprocessError as error:
        print(f"\na program that the roll-out needs failed: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(
            "\nstopped; what CloudFormation and ECS have begun goes on. The same command waits for it.", file=sys.stderr
        )
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
