"""Names of physical resources. They are given, not generated: policies that point at each other need no order then.

A bucket's name is unique in the world (account and region are in it), every other name within account and region.
"""

from __future__ import annotations

from typing import Final

from deploy.cdk.settings import Environment

PRODUCT: Final = "darkroom"
# The one prefix of the incoming bucket's keys (metadata_svc makes them: `incoming/{tenant}/{id}`).
INCOMING_PREFIX: Final = "incoming/"


def bucket(env: Environment, unit: str) -> str:
    """Name of a bucket; at most 63 characters with every region's code."""
    return f"{PRODUCT}-{env.stage}-{unit}-{env.account}-{env.region}"


def resource(env: Environment, unit: str) -> str:
    """Name of a queue, a topic, an alarm, an API."""
    return f"{PRODUCT}-{env.stage}-{unit}"


def arn(env: Environment, service: str, name: str) -> str:
    """ARN of a resource of ours in the same account and region."""
    return f"arn:aws:{service}:{env.region}:{env.account}:{name}"


def bucket_arn(env: Environment, unit: str) -> str:
    """ARN of a bucket."""
    return f"arn:aws:s3:::{bucket(env, unit)}"


def parameter(env: Environment, folder: str, name: str) -> str:
    """Path of a parameter; `folder` is a service, `shared` or `edge`."""
    return f"/{PRODUCT}/{env.stage}/{folder}/{name}"


def secret(env: Environment, role: str) -> str:
    """Name of the secret with a database role's credentials."""
    return f"{PRODUCT}/{env.stage}/database/{role}"


def repository(env: Environment, service: str) -> str:
    """Name of the ECR repository of a service's images."""
    return f"{PRODUCT}-{env.stage}/{service}"


def log_group(env: Environment, unit: str) -> str:
    """Name of a log group."""
    return f"/{PRODUCT}/{env.stage}/{unit}"


def cluster_arn(env: Environment) -> str:
    """ARN of the ECS cluster."""
    return arn(env, "ecs", f"cluster/{resource(env, 'services')}")


def alarm_topic(env: Environment) -> str:
    """ARN of the topic that alarms go to."""
    return arn(env, "sns", resource(env, "alarms"))


def new_key_secret(env: Environment, name: str) -> str:
    """Name of the secret that a new API key is put into until somebody fetches it (`metadata_svc.admin --into`)."""
    return f"{PRODUCT}/{env.stage}/keys/{name}"
