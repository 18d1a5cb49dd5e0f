"""Composition root of `python -m deploy.capacity`."""


def main() -> None:
    """Prints the plan."""
