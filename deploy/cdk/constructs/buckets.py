"""The two buckets: `incoming` (uploads, written by tickets, read by the worker) and `media` (variants)."""

from __future__ import annotations

from typing import Any, Final

from aws_cdk import aws_s3
from constructs import Construct

from deploy.cdk import names
from deploy.cdk.acknowledge import acknowledge
from deploy.cdk.constructs.keep import keep
from deploy.cdk.constructs.key import Key
from deploy.cdk.constructs.queues import Queues
from deploy.cdk.settings import Environment

# What a browser sends with a sealed ticket, in lower case as S3 compares them.
UPLOAD_HEADERS: Final = ("content-type", "if-none-match", "x-amz-checksum-sha256")
PREFLIGHT_SECONDS: Final = 3_600  # how long a browser remembers the answer to a preflight


class Buckets(Construct):
    """Private, encrypted, TLS only, no ACLs, old signatures refused; `incoming/` is create-only and announces uploads.

    Versioning is off on purpose: create-only already rules out overwriting, and a deleted picture must be gone. The
    lifecycle would still end old versions within a day if somebody switched it on.
    """

    def __init__(
        self, scope: Construct, construct_id: str, env: Environment, *, queues: Queues, key: Key | None
    ) -> None:
        super().__init__(scope, construct_id)
        self._env = env
        self._key = key
        self.incoming = self._bucket(
            "Incoming",
            "incoming",
            methods=("PUT", "GET", "HEAD"),
            headers=UPLOAD_HEADERS,
            notification=aws_s3.CfnBucket.NotificationConfigurationProperty(
                queue_configurations=[
                    aws_s3.CfnBucket.QueueConfigurationProperty(
                        event="s3:ObjectCreated:*",
                        queue=queues.queue.attr_arn,
                        filter=aws_s3.CfnBucket.NotificationFilterProperty(
                            s3_key=aws_s3.CfnBucket.S3KeyFilterProperty(
                                rules=[aws_s3.CfnBucket.FilterRuleProperty(name="prefix", value=names.INCOMING_PREFIX)]
                            )
                        ),
                    )
                ]
            ),
        )
        # S3 sends a test message when the notification is set: the queue must admit it by then.
        self.incoming.add_resource_dependency(queues.policy)
        self.media = self._bucket("Media", "media", methods=("GET", "HEAD"), headers=(), notification=None)
        self._policy(
            "IncomingPolicy",
            self.incoming,
            oldest_signature=env.longest_ticket_seconds,
            more=[create_only(names.bucket_arn(env, "incoming"))],
        )
        self._policy("MediaPolicy", self.media, oldest_signature=env.longest_download_seconds, more=[])

    def _bucket(
        self,
        construct_id: str,
        unit: str,
        *,
        methods: tuple[str, ...],
        headers: tuple[str, ...],
        notification: aws_s3.CfnBucket.NotificationConfigurationProperty | None,
    ) -> aws_s3.CfnBucket:
        env = self._env
        default = (
            aws_s3.CfnBucket.ServerSideEncryptionByDefaultProperty(sse_algorithm="AES256")
            if self._key is None
            else aws_s3.CfnBucket.ServerSideEncryptionByDefaultProperty(
                sse_algorithm="aws:kms", kms_master_key_id=self._key.arn
            )
        )
        bucket = aws_s3.CfnBucket(
            self,
            construct_id,
            bucket_name=names.bucket(env, unit),
            public_access_block_configuration=aws_s3.CfnBucket.PublicAccessBlockConfigurationProperty(
                block_public_acls=True,
                block_public_policy=True,
                ignore_public_acls=True,
                restrict_public_buckets=True,
            ),
            ownership_controls=aws_s3.CfnBucket.OwnershipControlsProperty(
                rules=[aws_s3.CfnBucket.OwnershipControlsRuleProperty(object_ownership="BucketOwnerEnforced")]
            ),
            bucket_encryption=aws_s3.CfnBucket.BucketEncryptionProperty(
                server_side_encryption_configuration=[
                    aws_s3.CfnBucket.ServerSideEncryptionRuleProperty(
                        server_side_encryption_by_default=default,
                        # One data key for many objects: a hundredth of the calls to KMS.
                        bucket_key_enabled=None if self._key is None else True,
                    )
                ]
            ),
            cors_configuration=aws_s3.CfnBucket.CorsConfigurationProperty(
                cors_rules=[
                    aws_s3.CfnBucket.CorsRuleProperty(
                        id="browsers",
                        allowed_origins=list(env.browser_origins),
                        allowed_methods=list(methods),
                        allowed_headers=list(headers),
                        exposed_headers=["ETag"],
                        max_age=PREFLIGHT_SECONDS,
                    )
                ]
            ),
            lifecycle_configuration=aws_s3.CfnBucket.LifecycleConfigurationProperty(rules=self._lifecycle()),
            notification_configuration=notification,
        )
        keep(bucket, env)
        acknowledge(
            bucket,
            "AwsSolutions-S1",
            "CKV_AWS_18",
            reason="Server access logs hold whole request addresses, so every presigned URL with its signature, and "
            "come on best effort. An account that must audit reads turns on CloudTrail data events for both buckets.",
        )
        acknowledge(
            bucket,
            "CKV_AWS_21",
            reason="Nothing here is ever overwritten: uploads are create-only and derivatives have names made of their "
            "content. A deleted picture must be gone at once, which old versions would contradict.",
        )
        return bucket

    def _lifecycle(self) -> list[aws_s3.CfnBucket.RuleProperty]:
        env = self._env
        return [
            aws_s3.CfnBucket.RuleProperty(
                id="dangling-multipart-uploads",
                status="Enabled",
                abort_incomplete_multipart_upload=aws_s3.CfnBucket.AbortIncompleteMultipartUploadProperty(
                    days_after_initiation=env.abort_multipart_days
                ),
            ),
            aws_s3.CfnBucket.RuleProperty(
                id="seldom-read",
                status="Enabled",
                transitions=[
                    aws_s3.CfnBucket.TransitionProperty(
                        storage_class="INTELLIGENT_TIERING", transition_in_days=env.colder_after_days
                    )
                ],
            ),
            aws_s3.CfnBucket.RuleProperty(
                id="no-old-versions",
                status="Enabled",
                noncurrent_version_expiration=aws_s3.CfnBucket.NoncurrentVersionExpirationProperty(noncurrent_days=1),
                expired_object_delete_marker=True,
            ),
        ]

    def _policy(
        self,
        construct_id: str,
        bucket: aws_s3.CfnBucket,
        *,
        oldest_signature: int,
        more: list[dict[str, Any]],
    ) -> None:
        arn = bucket.attr_arn
        aws_s3.CfnBucketPolicy(
            self,
            construct_id,
            bucket=bucket.ref,
            policy_document={
                "Version": "2012-10-17",
                "Statement": [
                    {
                        "Sid": "TlsOnly",
                        "Effect": "Deny",
                        "Principal": "*",
                        "Action": "s3:*",
                        "Resource": [arn, f"{arn}/*"],
                        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
                    },
                    {
                        "Sid": "NoOldSignatures",
                        "Effect": "Deny",
                        "Principal": "*",
                        "Action": "s3:*",
                        "Resource": f"{arn}/*",
                        # Milliseconds since the signature was made.
                        "Condition": {"NumericGreaterThan": {"s3:signatureAge": oldest_signature * 1000}},
                    },
                    *more,
                ],
            },
        )


def create_only(arn: str) -> dict[str, Any]:
    """Objects are made by `PutObject` and `CompleteMultipartUpload`, and those must be conditional. Parts make none and
    cannot be: `s3:ObjectCreationOperation` spares them. It also rules out CopyObject, which knows no such condition
    (S3 user guide, "Enforce conditional writes").
    """
    return {
        "Sid": "CreateOnly",
        "Effect": "Deny",
        "Principal": "*",
        "Action": "s3:PutObject",
        "Resource": f"{arn}/{names.INCOMING_PREFIX}*",
        "Condition": {"Null": {"s3:if-none-match": "true"}, "Bool": {"s3:ObjectCreationOperation": "true"}},
    }
