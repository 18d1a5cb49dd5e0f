"""The credentials of the database's roles."""

from __future__ import annotations

import json

from aws_cdk import aws_secretsmanager
from constructs import Construct

from deploy.cdk import names
from deploy.cdk.acknowledge import acknowledge
from deploy.cdk.constructs.keep import keep
from deploy.cdk.constructs.key import Key
from deploy.cdk.parameters import SECRETS, DatabaseSecret
from deploy.cdk.settings import Environment

DATABASE = "darkroom"
PASSWORD_LENGTH = 40


class DatabaseSecrets(Construct):
    """One secret for each role: user name and a generated password. Where the database is gets added when it is
    attached (`AWS::SecretsManager::SecretTargetAttachment` on AWS, the cluster's set-up locally). The owner comes
    first: on AWS it is the master user, as whom the others are rotated.
    """

    def __init__(self, scope: Construct, construct_id: str, env: Environment, *, key: Key | None) -> None:
        super().__init__(scope, construct_id)
        self.names = {secret.unit: names.secret(env, secret.unit) for secret in SECRETS}
        self.resources: dict[str, aws_secretsmanager.CfnSecret] = {}
        for secret in SECRETS:
            self.resources[secret.unit] = self._secret(env, secret, key)

    def _secret(self, env: Environment, secret: DatabaseSecret, key: Key | None) -> aws_secretsmanager.CfnSecret:
        content = {"username": secret.username, "dbname": DATABASE}
        if secret.unit != "owner" and not env.local:
            # Where the function that rotates it finds the user who may (deploy.cdk.constructs.rotation).
            content["masterarn"] = self.resources["owner"].ref
        resource = aws_secretsmanager.CfnSecret(
            self,
            secret.unit.capitalize(),
            name=self.names[secret.unit],
            description=secret.description,
            kms_key_id=None if key is None else key.arn,
            generate_secret_string=aws_secretsmanager.CfnSecret.GenerateSecretStringProperty(
                secret_string_template=json.dumps(content),
                generate_string_key="password",
                password_length=PASSWORD_LENGTH,
                exclude_punctuation=True,  # passwords end up in URLs
            ),
        )
        keep(resource, env)
        if key is None:
            acknowledge(
                resource,
                "CKV_AWS_149",
                reason="It is encrypted with Secrets Manager's own KMS key of this account, at no cost. A key whose "
                "policy is ours is the setting encryption = kms.",
            )
        acknowledge(
            resource,
            "AwsSolutions-SMG4",
            reason="The emulator's database lives as long as its cluster, and nobody else reaches it."
            if env.local
            else "It is rotated on a schedule that the stack Database makes, because that knows the cluster; "
            "the rule looks for schedules in this stack alone.",
        )
        return resource
