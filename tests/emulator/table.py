"""What the emulator enforces and what it does not: one table, rendered into docs/emulator.md and probed by the tests.

A probe asks a running LocalStack and says whether it behaves as AWS does. A newer emulator, or AWS itself, that answers
otherwise than the table says fails the test: then the table, and what we build on it, is to be looked at again.
"""

from __future__ import annotations

import gzip
import hashlib
import http.client
import json
import time
import uuid
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from botocore.exceptions import ClientError

from deploy.local import localstack

BODY: Final = b"undeveloped film"
Template = dict[str, Any]


class Emulator:
    """A LocalStack to ask."""

    def __init__(self, endpoint_url: str, upstream: str) -> None:
        """`upstream` is `host:port` of an HTTP server that answers `/moved` with 302, `/slow` late, `/packed` with
        `BODY` compressed by gzip, and all else with 200.
        """
        self.endpoint_url = endpoint_url
        self.upstream = upstream

    def client(self, service: str) -> Any:
        return localstack.client(service, self.endpoint_url)

    def bucket(self) -> str:
        name = f"probe-{uuid.uuid4().hex[:20]}"
        self.client("s3").create_bucket(
            Bucket=name, CreateBucketConfiguration={"LocationConstraint": localstack.REGION}
        )
        return name

    def queue(self, **attributes: str) -> str:
        made = self.client("sqs").create_queue(QueueName=f"probe-{uuid.uuid4().hex[:20]}", Attributes=attributes)
        return str(made["QueueUrl"])

    def send(
        self, method: str, url: str, body: bytes = b"", headers: dict[str, str] | None = None
    ) -> tuple[int, bytes]:
        """A request without any help of a library: status and body. Redirects are not followed."""
        parts = urlsplit(url)
        connection = http.client.HTTPConnection(parts.netloc, timeout=60)
        try:
            connection.request(method, f"{parts.path}?{parts.query}", body=body, headers=headers or {})
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def ticket(self, bucket: str, key: str = "incoming/x", **more: Any) -> str:
        """A sealed PUT for `BODY`."""
        parameters = {
            "Bucket": bucket,
            "Key": key,
            "ContentType": "image/png",
            "ContentLength": len(BODY),
            "IfNoneMatch": "*",
            "ChecksumSHA256": CHECKSUM,
        }
        return str(
            self.client("s3").generate_presigned_url("put_object", Params=parameters, ExpiresIn=more.get("expires", 60))
        )

    def put(self, url: str, body: bytes = BODY, **changed: Any) -> int:
        """Sends a ticket with its headers, less or other ones as `changed` says."""
        headers = {
            "content-type": "image/png",
            "if-none-match": "*",
            "x-amz-checksum-sha256": CHECKSUM,
            **{name.replace("_", "-"): value for name, value in changed.items()},
        }
        return self.send("PUT", url, body, {name: value for name, value in headers.items() if value is not None})[0]

    def api(self, *, throttle: int | None = None, response: str | None = None) -> tuple[str, str]:
        """A REST API that asks for a key and hands everything to the upstream: its URL and a key."""
        document: dict[str, Any] = {
            "openapi": "3.0.1",
            "info": {"title": "probe", "version": "1"},
            "paths": {
                "/{proxy+}": {
                    "x-amazon-apigateway-any-method": {
                        "parameters": [{"name": "proxy", "in": "path", "required": True, "schema": {"type": "string"}}],
                        "security": [{"api_key": []}],
                        "responses": {"200": {"description": "as it comes"}},
                        "x-amazon-apigateway-integration": {
                            "type": "http_proxy",
                            "httpMethod": "ANY",
                            "uri": f"http://{self.upstream}/{{proxy}}",
                            "requestParameters": {"integration.request.path.proxy": "method.request.path.proxy"},
                            "timeoutInMillis": 50,
                        },
                    }
                }
            },
            "components": {"securitySchemes": {"api_key": {"type": "apiKey", "name": "x-api-key", "in": "header"}}},
        }
        if response is not None:
            document["x-amazon-apigateway-gateway-responses"] = {
                "INVALID_API_KEY": {"responseTemplates": {"application/problem+json": response}}
            }
        gateway = self.client("apigateway")
        api = gateway.import_rest_api(body=json.dumps(document).encode())["id"]
        gateway.create_deployment(restApiId=api, stageName="live")
        plan = gateway.create_usage_plan(
            name=f"probe-{api}",
            apiStages=[{"apiId": api, "stage": "live"}],
            **({"throttle": {"rateLimit": throttle, "burstLimit": throttle}} if throttle else {}),
        )["id"]
        key = gateway.create_api_key(name=f"probe-{api}", enabled=True)
        gateway.create_usage_plan_key(usagePlanId=plan, keyId=key["id"], keyType="API_KEY")
        return f"{self.endpoint_url}/_aws/execute-api/{api}/live", str(key["value"])


CHECKSUM: Final = b64encode(hashlib.sha256(BODY).digest()).decode()


@dataclass(frozen=True, slots=True)
class Row:
    """One behaviour: what AWS does, whether the emulator does it too, and what follows for us."""

    name: str
    area: str
    aws: str
    same: bool
    follows: str
    probe: Callable[[Emulator], bool]


def _altered(**changed: Any) -> Callable[[Emulator], bool]:
    return lambda on: on.put(on.ticket(on.bucket()), **changed) == 403


def _bad_digest(on: Emulator) -> bool:
    return on.put(on.ticket(on.bucket()), body=BODY[::-1]) == 400


def _expired(on: Emulator) -> bool:
    url = on.ticket(on.bucket(), expires=1)
    time.sleep(2.1)
    return on.put(url) == 403


def _single_use(on: Emulator) -> bool:
    url = on.ticket(on.bucket())
    return [on.put(url), on.put(url)] == [200, 412]


def _signature(on: Emulator) -> bool:
    url = on.ticket(on.bucket())
    return on.put(url[:-1] + ("0" if url[-1] != "0" else "1")) == 403


def _length(on: Emulator) -> bool:
    return on.put(on.ticket(on.bucket()), body=BODY + b"!", x_amz_checksum_sha256=CHECKSUM) == 403


def _bucket_policy(on: Emulator) -> bool:
    bucket = on.bucket()
    deny = {"Effect": "Deny", "Principal": "*", "Action": "s3:PutObject", "Resource": f"arn:aws:s3:::{bucket}/*"}
    on.client("s3").put_bucket_policy(Bucket=bucket, Policy=json.dumps({"Version": "2012-10-17", "Statement": [deny]}))
    return on.put(on.ticket(bucket)) == 403


def _public_access_block(on: Emulator) -> bool:
    bucket, s3 = on.bucket(), on.client("s3")
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    return on.send("GET", f"{on.endpoint_url}/{bucket}/k")[0] == 403


def _post_policy(on: Emulator) -> bool:
    post = on.client("s3").generate_presigned_post(on.bucket(), "k")
    fields = {**post["fields"], "x-amz-signature": "0" * 64, "file": "x"}
    boundary = "probe"
    body = "".join(
        f'--{boundary}\r\ncontent-disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in fields.items()
    )
    headers = {"content-type": f"multipart/form-data; boundary={boundary}"}
    return on.send("POST", post["url"], f"{body}--{boundary}--\r\n".encode(), headers)[0] == 403


def _events(on: Emulator, keys: list[str]) -> list[dict[str, Any]]:
    bucket, queue, sqs, s3 = on.bucket(), on.queue(), on.client("sqs"), on.client("s3")
    arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    s3.put_bucket_notification_configuration(
        Bucket=bucket,
        NotificationConfiguration={"QueueConfigurations": [{"QueueArn": arn, "Events": ["s3:ObjectCreated:*"]}]},
    )
    for key in keys:
        s3.put_object(Bucket=bucket, Key=key, Body=b"x")
    records: list[dict[str, Any]] = []
    for _ in range(20):
        for message in sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=1, MaxNumberOfMessages=10).get(
            "Messages", []
        ):
            records += json.loads(message["Body"]).get("Records", [])
        if len(records) >= len(keys):
            break
    return records


def _event_arrives(on: Emulator) -> bool:
    return [record["s3"]["object"]["key"] for record in _events(on, ["plain"])] == ["plain"]


def _space_is_plus(on: Emulator) -> bool:
    return bool(_events(on, ["a b"])[0]["s3"]["object"]["key"] == "a+b")


def _sequencer(on: Emulator) -> bool:
    first, second = (record["s3"]["object"]["sequencer"] for record in _events(on, ["one", "two"]))
    return bool(first != second)


def _queue_policy(on: Emulator) -> bool:
    policy = {"Effect": "Deny", "Principal": "*", "Action": "sqs:SendMessage", "Resource": "*"}
    queue = on.queue(Policy=json.dumps({"Version": "2012-10-17", "Statement": [policy]}))
    try:
        on.client("sqs").send_message(QueueUrl=queue, MessageBody="x")
    except ClientError:
        return True
    return False


def _visibility(on: Emulator) -> bool:
    queue, sqs = on.queue(), on.client("sqs")
    sqs.send_message(QueueUrl=queue, MessageBody="x")
    (message,) = sqs.receive_message(QueueUrl=queue, VisibilityTimeout=30)["Messages"]
    hidden = "Messages" not in sqs.receive_message(QueueUrl=queue)
    sqs.change_message_visibility(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=0)
    return hidden and "Messages" in sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=2)


def _dead_letters(on: Emulator) -> bool:
    sqs, dead = on.client("sqs"), on.queue()
    arn = sqs.get_queue_attributes(QueueUrl=dead, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    queue = on.queue(RedrivePolicy=json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": 1}))
    sqs.send_message(QueueUrl=queue, MessageBody="x")
    for _ in range(2):
        sqs.receive_message(QueueUrl=queue, VisibilityTimeout=0)
    return "Messages" in sqs.receive_message(QueueUrl=dead, WaitTimeSeconds=5)


def _key_needed(on: Emulator) -> bool:
    url, key = on.api()
    without = on.send("GET", f"{url}/x")[0]
    wrong = on.send("GET", f"{url}/x", headers={"x-api-key": "wrong" * 8})[0]
    return (without, wrong, on.send("GET", f"{url}/x", headers={"x-api-key": key})[0]) == (403, 403, 200)


def _gateway_response(on: Emulator) -> bool:
    url, _ = on.api(response='{"title":"ours"}')
    return b"ours" in on.send("GET", f"{url}/x")[1]


def _throttle(on: Emulator) -> bool:
    url, key = on.api(throttle=1)
    return 429 in {on.send("GET", f"{url}/x", headers={"x-api-key": key})[0] for _ in range(15)}


def _redirect(on: Emulator) -> bool:
    url, key = on.api()
    return on.send("GET", f"{url}/moved", headers={"x-api-key": key})[0] == 302


def _timeout(on: Emulator) -> bool:
    url, key = on.api()
    return on.send("GET", f"{url}/slow", headers={"x-api-key": key})[0] == 504


def _packed(on: Emulator) -> bool:
    url, key = on.api()
    body = on.send("GET", f"{url}/packed", headers={"x-api-key": key, "accept-encoding": "gzip"})[1]
    return body[:2] == gzip.compress(b"")[:2]


def _stack(on: Emulator, *templates: Template) -> tuple[str, str]:
    """Creates a stack from the first template and updates it to each further one: its name and last status."""
    formation, name, status = on.client("cloudformation"), f"probe-{uuid.uuid4().hex[:12]}", ""
    for number, resources in enumerate(templates):
        act = formation.update_stack if number else formation.create_stack
        act(StackName=name, TemplateBody=json.dumps({"Resources": resources}))
        for _ in range(200):
            status = formation.describe_stacks(StackName=name)["Stacks"][0]["StackStatus"]
            if not status.endswith("_IN_PROGRESS"):
                break
            time.sleep(0.1)
    return name, status


def _bucket_resource(name: str, **properties: Any) -> Template:
    return {"Bucket": {"Type": "AWS::S3::Bucket", "Properties": {"BucketName": name, **properties}}}


def _cors(origin: str) -> dict[str, Any]:
    return {"CorsRules": [{"AllowedOrigins": [origin], "AllowedMethods": ["GET"]}]}


def _update(on: Emulator) -> bool:
    name = f"probe-{uuid.uuid4().hex[:20]}"
    templates = [_bucket_resource(name, CorsConfiguration=_cors(f"https://{host}.example")) for host in ("a", "b")]
    _stack(on, *templates)
    (rule,) = on.client("s3").get_bucket_cors(Bucket=name)["CORSRules"]
    return bool(rule["AllowedOrigins"] == ["https://b.example"])


def _lifecycle(on: Emulator) -> bool:
    name = f"probe-{uuid.uuid4().hex[:20]}"
    abort = {"Status": "Enabled", "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 2}}
    _stack(on, _bucket_resource(name, LifecycleConfiguration={"Rules": [abort]}))
    try:
        return bool(on.client("s3").get_bucket_lifecycle_configuration(Bucket=name)["Rules"])
    except ClientError:
        return False


def _rolled_back(on: Emulator) -> bool:
    name = f"/probe/{uuid.uuid4().hex}"
    good = {"Type": "AWS::SSM::Parameter", "Properties": {"Name": name, "Type": "String", "Value": "x"}}
    bad = {"Type": "AWS::SSM::Parameter", "Properties": {"Name": f"{name}/bad", "Type": "Nothing", "Value": "x"}}
    _stack(on, {"Good": good, "Bad": {**bad, "DependsOn": "Good"}})
    try:
        on.client("ssm").get_parameter(Name=name)
    except ClientError:
        return True
    return False


def _retained(on: Emulator) -> bool:
    name = f"probe-{uuid.uuid4().hex[:20]}"
    resources = _bucket_resource(name)
    resources["Bucket"]["DeletionPolicy"] = "Retain"
    stack, _ = _stack(on, resources)
    formation = on.client("cloudformation")
    formation.delete_stack(StackName=stack)
    formation.get_waiter("stack_delete_complete").wait(StackName=stack, WaiterConfig={"Delay": 1, "MaxAttempts": 20})
    return name in {bucket["Name"] for bucket in on.client("s3").list_buckets()["Buckets"]}


def _unknown_type(on: Emulator) -> bool:
    name, _ = _stack(on, {"Cluster": {"Type": "AWS::ECS::Cluster", "Properties": {}}})
    (resource,) = on.client("cloudformation").describe_stack_resources(StackName=name)["StackResources"]
    return resource.get("PhysicalResourceId") not in {"unknown", None, ""}


_SEALED: Final = "Tickets are tested here against the real refusal."

TABLE: Final = (
    Row("signature", "S3", "a changed signature is refused (403)", True, _SEALED, _signature),
    Row(
        "content type",
        "S3",
        "another content type than signed is refused (403)",
        True,
        _SEALED,
        _altered(content_type="image/jpeg"),
    ),
    Row("content length", "S3", "another length than signed is refused (403)", True, _SEALED, _length),
    Row(
        "checksum left out",
        "S3",
        "a signed checksum header that is missing is refused (403)",
        True,
        _SEALED,
        _altered(x_amz_checksum_sha256=None),
    ),
    Row(
        "other bytes", "S3", "bytes that do not match the signed checksum are refused (400)", True, _SEALED, _bad_digest
    ),
    Row(
        "header too many",
        "S3",
        "an x-amz header that was not signed is refused (403)",
        True,
        _SEALED,
        _altered(x_amz_meta_more="x"),
    ),
    Row("expiry", "S3", "a ticket past its time is refused (403)", True, _SEALED, _expired),
    Row("single use", "S3", "the second PUT with `If-None-Match: *` is refused (412)", True, _SEALED, _single_use),
    Row(
        "bucket policy",
        "S3",
        "a Deny in the bucket policy refuses the PUT",
        False,
        "TLS only, create-only and signature age are tested over the template; try them after the first deployment.",
        _bucket_policy,
    ),
    Row(
        "private by default",
        "S3",
        "an unsigned GET is refused (403)",
        False,
        "Public access block is tested over the template. Nothing of ours hands out unsigned URLs.",
        _public_access_block,
    ),
    Row(
        "POST policy",
        "S3",
        "a POST with a wrong signature is refused (403)",
        False,
        "We issue no POST policies (ADR 0002).",
        _post_policy,
    ),
    Row(
        "events",
        "S3",
        "an object that is created announces itself on the queue",
        True,
        "The whole path is tested with real events.",
        _event_arrives,
    ),
    Row(
        "space in a key",
        "S3",
        "a space comes as `+` in an event's key",
        False,
        "It comes as %20 here; the parser takes both, tested with events of both kinds.",
        _space_is_plus,
    ),
    Row(
        "sequencer",
        "S3",
        "events of one key can be ordered by their sequencer",
        False,
        "It is constant here. Nothing of ours relies on order: attempts are fenced.",
        _sequencer,
    ),
    Row(
        "queue policy",
        "SQS",
        "a Deny in the queue policy refuses the message",
        False,
        "Tested over the template.",
        _queue_policy,
    ),
    Row(
        "visibility",
        "SQS",
        "a received message is hidden until its time, or at once with 0",
        True,
        "Hand-back and heartbeat are tested here.",
        _visibility,
    ),
    Row(
        "dead letters",
        "SQS",
        "a message moves after its last receive",
        True,
        "The watcher of dead letters is tested here.",
        _dead_letters,
    ),
    Row(
        "API keys",
        "API Gateway",
        "no key, or a wrong one, is refused (403); a right one passes",
        True,
        "Tested through the API; the gateway checks again by itself.",
        _key_needed,
    ),
    Row(
        "gateway responses",
        "API Gateway",
        "its own refusals have the body that the document sets",
        False,
        "Here they are its own JSON, on AWS problem+json; tested over the derived document.",
        _gateway_response,
    ),
    Row(
        "throttle",
        "API Gateway",
        "a usage plan's rate is enforced (429)",
        False,
        "The gateway's own rates are tested without it.",
        _throttle,
    ),
    Row(
        "redirects",
        "API Gateway",
        "a 302 of the integration reaches the client",
        True,
        "LocalStack as it comes follows it, key and all; the cluster's launcher corrects that "
        "(`deploy/local/_localstack_main.py`).",
        _redirect,
    ),
    Row(
        "compressed answers",
        "API Gateway",
        "what the integration compressed arrives compressed",
        False,
        "It is unpacked here and still says `content-encoding: gzip`. The gateway compresses nothing.",
        _packed,
    ),
    Row(
        "integration time-out",
        "API Gateway",
        "a late integration is answered with 504",
        False,
        "Our own deadlines are below the 29 s; tested at the gateway.",
        _timeout,
    ),
    Row(
        "unknown types",
        "CloudFormation",
        "every type is made, or the stack fails",
        False,
        "An unknown type completes with the id `unknown`; make up treats that as an error.",
        _unknown_type,
    ),
    Row(
        "updates",
        "CloudFormation",
        "an update changes what its template changes",
        False,
        "It says UPDATE_COMPLETE and leaves a bucket as it is; make up compares digests and makes the stack anew.",
        _update,
    ),
    Row(
        "lifecycle of a bucket",
        "CloudFormation",
        "a bucket has the lifecycle of its template",
        False,
        "Dangling uploads do not end here by themselves; the rules are tested over the template.",
        _lifecycle,
    ),
    Row(
        "failed creation",
        "CloudFormation",
        "a stack that fails takes back what it made",
        False,
        "It stays; the next make up deletes it first.",
        _rolled_back,
    ),
    Row(
        "retained resources",
        "CloudFormation",
        "what is to be retained outlives its stack",
        False,
        "It goes, with its objects; make up refuses to replace buckets that hold any. Production's policies are tested "
        "over the template.",
        _retained,
    ),
)
