"""What an AWS environment needs from whoever deploys it, for synths in tests."""

from __future__ import annotations

from typing import Final

from deploy.cdk import example

# As environment variables: the files of the environments leave these out.
OWNERS: Final = dict(example.OWNERS)
