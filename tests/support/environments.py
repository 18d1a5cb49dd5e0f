"""What an AWS environment needs from whoever deploys it, for synths in tests."""

from __future__ import annotations

from typing import Final

# As environment variables: the files of the environments leave these out.
OWNERS: Final = {
    "DARKROOM_DEPLOY_ACCOUNT": "123456789012",
    "DARKROOM_DEPLOY_BROWSER_ORIGINS": "https://photos.example.com",
    "DARKROOM_DEPLOY_LOAD_BALANCER__CERTIFICATE_ARN": (
        "arn:aws:acm:ap-northeast-2:123456789012:certificate/0b1c2d3e-0000-4000-8000-000000000000"
    ),
    "DARKROOM_DEPLOY_LOAD_BALANCER__DOMAIN": "gateway.internal.example.com",
}
