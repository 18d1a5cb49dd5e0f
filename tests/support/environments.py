"""What an AWS environment needs from whoever deploys it, for synths in tests."""

from __future__ import annotations

from typing import Final

from deploy.gates.gate import EXAMPLE

# As environment variables: the files of the environments leave these out.
OWNERS: Final = dict(EXAMPLE)
