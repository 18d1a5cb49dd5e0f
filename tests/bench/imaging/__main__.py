"""`python -m tests.bench.imaging`; see `app`."""

import runtime.grpc_core  # noqa: F401  # its steps are a worker's
from tests.bench.imaging.app import main

main()
