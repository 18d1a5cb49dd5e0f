"""`python -m deploy.cdk <stage> [folder]` synthesises the stacks of an environment."""

import sys

from deploy.cdk import node, settings


def main() -> None:
    """Command line: the templates go to the folder, `cdk.out` unless given."""
    if len(sys.argv) not in {2, 3}:
        sys.exit(f"usage: python -m deploy.cdk {{{'|'.join(settings.STAGES)}}} [folder]")
    try:
        env = settings.load(sys.argv[1])
    except settings.EnvironmentError as error:
        sys.exit(f"synth: {error}")
    node.on_path()
    from deploy.cdk.app import build  # starts node

    print(build(env, sys.argv[2] if len(sys.argv) == 3 else "cdk.out").synth().directory)


main()
