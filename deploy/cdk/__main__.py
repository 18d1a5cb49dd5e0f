"""`make synth STAGE=dev`: `python -m deploy.cdk <stage> [folder]` writes the templates of an environment."""

import sys
from pathlib import Path

from deploy.cdk import settings, synth


def main() -> None:
    """Command line: the templates go to the folder, `cdk.out/<stage>` unless given."""
    if len(sys.argv) not in {2, 3}:
        sys.exit(f"usage: make synth STAGE=<{'|'.join(settings.STAGES)}>, or python -m deploy.cdk <stage> [folder]")
    stage = sys.argv[1]
    folder = Path(sys.argv[2]) if len(sys.argv) == 3 else Path("cdk.out") / stage
    try:
        env = settings.load(stage)
        made = synth.synthesise(env, folder)
    except settings.EnvironmentError as error:
        sys.exit(f"synth: {error}")
    print(f"{stage}, account {env.account}, {env.region}: {len(made.templates)} stacks")
    print(synth.summary(made))


main()
