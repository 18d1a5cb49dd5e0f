"""`python -m tests.bench.imaging`; see `app`."""

from tests.bench.imaging.app import main

main()
