"""Gives LocalStack back what it lost: `python -m deploy.local.watch FOLDER`, run by supervisord beside the services.

LocalStack keeps nothing over a restart. When it is there but empty, the stacks, secrets and keys are made again under
the same names and values: services and clients go on by themselves. What lay in its buckets and queues is lost, which
cannot happen on AWS; images whose file was lost end FAILED or answer without one.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any, Final

from botocore.exceptions import BotoCoreError, ClientError

from deploy.local import localstack, provision
from deploy.local.layout import Layout

_INTERVAL: Final = 2.0  # seconds; one cheap call each


def check(layout: Layout, ssm: Any) -> bool:
    """Makes everything again if LocalStack is there and empty; says whether that was so."""
    try:
        if provision.is_provisioned(ssm):
            return False
        localstack.wait(provision.endpoint(layout.load()))
    except (BotoCoreError, ClientError, TimeoutError):
        return False  # not there: supervisord is starting it
    provision.ensure(layout)
    return True


def main() -> None:
    """Watches until it is ended."""
    layout = Layout(Path(sys.argv[1]))
    ssm = localstack.client("ssm", provision.endpoint(layout.load()))
    while True:
        if check(layout, ssm):
            print("LocalStack was empty: buckets, queues, API, secrets and keys are made again", flush=True)
        time.sleep(_INTERVAL)


if __name__ == "__main__":
    main()
