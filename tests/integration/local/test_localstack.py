"""The emulator as the product needs it: on loopback only, with real calls answered."""

import os
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

from aiobotocore.session import get_session

from tests.support.localstack import LocalStack


async def test_an_object_comes_back_through_the_endpoint_that_localstack_client_gives(localstack: LocalStack) -> None:
    async with get_session().create_client(
        "s3", region_name=localstack.region, endpoint_url=localstack.endpoint("s3")
    ) as s3:
        await s3.create_bucket(
            Bucket="support-check", CreateBucketConfiguration={"LocationConstraint": localstack.region}
        )
        await s3.put_object(Bucket="support-check", Key="k", Body=b"bytes")
        answer = await s3.get_object(Bucket="support-check", Key="k")
        assert await answer["Body"].read() == b"bytes"


def test_it_listens_on_loopback_only(localstack: LocalStack) -> None:
    port = urlsplit(localstack.endpoint_url).port
    assert port is not None
    listening = [
        line.split()[1]
        for table in ("tcp", "tcp6")
        for line in Path(f"/proc/self/net/{table}").read_text().splitlines()[1:]
        if line.split()[3] == "0A" and line.split()[1].endswith(f":{port:04X}")
    ]
    assert listening == [f"0100007F:{port:04X}"]


def test_the_process_holds_the_test_credentials_meanwhile(localstack: LocalStack) -> None:
    assert os.environ["AWS_ACCESS_KEY_ID"] == localstack.environment["AWS_ACCESS_KEY_ID"]
    with urllib.request.urlopen(localstack.endpoint_url + "/_localstack/health") as answer:
        assert answer.status == 200
