"""`make synth STAGE=dev`: `python -m deploy.cdk <stage> [folder]` writes the templates of an environment.

Without a stage it writes those of every stage, with examples of what belongs to whoever deploys: to be looked at.
"""

import sys
from collections.abc import Mapping
from pathlib import Path

from deploy.cdk import example, settings, synth

OUT = Path("cdk.out")


def main() -> None:
    """Command line: the templates go to the folder, `cdk.out/<stage>` unless given."""
    match sys.argv[1:]:
        case []:
            for stage in settings.STAGES:
                write(stage, OUT / "example" / stage, example.variables(stage))
            print("with examples of account, origins, certificate and domain; with yours: make synth STAGE=dev")
        case [stage]:
            write(stage, OUT / stage)
        case [stage, folder]:
            write(stage, Path(folder))
        case _:
            sys.exit(f"usage: make synth STAGE=<{'|'.join(settings.STAGES)}>, or python -m deploy.cdk <stage> [folder]")


def write(stage: str, folder: Path, variables: Mapping[str, str] | None = None) -> None:
    """Writes and lists the templates of a stage. `variables` stand for the process's own. Exits where a setting is
    missing or wrong, with its name.
    """
    try:
        env = settings.load(stage, variables)
        made = synth.synthesise(env, folder)
    except settings.EnvironmentError as error:
        sys.exit(f"synth: {error}")
    print(f"{stage}, account {env.account}, {env.region}: {len(made.templates)} stacks")
    print(synth.summary(made), flush=True)


main()
