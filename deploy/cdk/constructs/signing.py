"""ECR signs every image as it is pushed (managed signing), with a profile of AWS Signer. See ADR 0016."""

from __future__ import annotations

from typing import Final

from aws_cdk import aws_ecr, aws_signer
from constructs import Construct

from deploy.cdk import names

# Signer's platform for container images: Notary Project signatures, beside the image as OCI referrers.
PLATFORM: Final = "Notation-OCI-SHA384-ECDSA"
# Months; Signer's longest and its default: an image that runs must not lose its signature.
VALIDITY: Final = 135


class Signing(Construct):
    """The profile, and the registry's rule that uses it.

    An account has one registry a region, with one set of rules: of several stages that share both, one owns the rules
    (setting rollout.image_signing), and they cover the repositories of all. Whoever pushes needs `signer:SignPayload`
    on the profile: ECR signs in their name.
    """

    def __init__(self, scope: Construct, construct_id: str) -> None:
        super().__init__(scope, construct_id)
        # Without a name of ours: a profile that was deleted is only cancelled, and keeps its name for years.
        self.profile = aws_signer.CfnSigningProfile(
            self,
            "Profile",
            platform_id=PLATFORM,
            signature_validity_period=aws_signer.CfnSigningProfile.SignatureValidityPeriodProperty(
                type="MONTHS", value=VALIDITY
            ),
        )
        aws_ecr.CfnSigningConfiguration(
            self,
            "Rules",
            rules=[
                aws_ecr.CfnSigningConfiguration.RuleProperty(
                    signing_profile_arn=self.profile.attr_arn,
                    repository_filters=[
                        aws_ecr.CfnSigningConfiguration.RepositoryFilterProperty(
                            filter=f"{names.PRODUCT}-*", filter_type="WILDCARD_MATCH"
                        )
                    ],
                )
            ],
        )
