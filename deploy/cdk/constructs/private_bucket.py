"""A bucket of ours that no client of the product sees: templates on their way to CloudFormation, access logs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from aws_cdk import aws_s3
from constructs import Construct

from deploy.cdk import names
from deploy.cdk.acknowledge import acknowledge
from deploy.cdk.constructs.keep import keep
from deploy.cdk.settings import Environment


class PrivateBucket(Construct):
    """Private, encrypted by S3, TLS only; what is in it ends after `days`. `more` are further statements."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        env: Environment,
        *,
        unit: str,
        days: int,
        unlogged: str,
        more: Sequence[dict[str, Any]] = (),
    ) -> None:
        """`unlogged` says, in a sentence, why the bucket needs no access log of its own."""
        super().__init__(scope, construct_id)
        self.name = names.bucket(env, unit)
        self.resource = aws_s3.CfnBucket(
            self,
            "Bucket",
            bucket_name=self.name,
            public_access_block_configuration={
                "blockPublicAcls": True,
                "blockPublicPolicy": True,
                "ignorePublicAcls": True,
                "restrictPublicBuckets": True,
            },
            ownership_controls={"rules": [{"objectOwnership": "BucketOwnerEnforced"}]},
            bucket_encryption={
                "serverSideEncryptionConfiguration": [{"serverSideEncryptionByDefault": {"sseAlgorithm": "AES256"}}]
            },
            versioning_configuration={"status": "Enabled"},
            lifecycle_configuration={
                "rules": [
                    {
                        "id": "ends",
                        "status": "Enabled",
                        "expirationInDays": days,
                        "noncurrentVersionExpiration": {"noncurrentDays": 1},
                        "abortIncompleteMultipartUpload": {"daysAfterInitiation": 1},
                    }
                ]
            },
        )
        keep(self.resource, env)
        acknowledge(self.resource, "AwsSolutions-S1", "CKV_AWS_18", reason=unlogged)
        self.policy = aws_s3.CfnBucketPolicy(
            self,
            "Policy",
            bucket=self.resource.ref,
            policy_document={
                "Version": "2012-10-17",
                "Statement": [
                    {
                        "Sid": "TlsOnly",
                        "Effect": "Deny",
                        "Principal": "*",
                        "Action": "s3:*",
                        "Resource": [self.resource.attr_arn, f"{self.resource.attr_arn}/*"],
                        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
                    },
                    *more,
                ],
            },
        )
