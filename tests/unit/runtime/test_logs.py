"""Logs: JSON lines with their ids, and never a secret."""

from __future__ import annotations

import io
import json
import logging
import sys
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from runtime import logs, trace

SIGNATURE = "5ac5383c3f149f65896662238563ae5e13575af9f89b12bbe5d62f7ada5f7371"
TOKEN = "IQoJb3JpZ2luX2VjEJr/+hEXAMPLE=="
KEY = "drk_abcdefgh12345678_Zm9vYmFy-_x0123456789012345678901234567890123"
URL = (
    f"https://b.s3.amazonaws.com/k?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=ASIAEXAMPLE%2F20261124"
    f"&X-Amz-Security-Token={TOKEN}&X-Amz-Signature={SIGNATURE}"
)


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """What goes to stderr, with the logging of a service set up; the tests' own is put back afterwards."""
    before = structlog.get_config()
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    logs.configure("presign_svc")
    yield stream
    logging.captureWarnings(False)
    structlog.reset_defaults()
    structlog.configure(**before)
    structlog.contextvars.clear_contextvars()
    root.handlers[:], root.level = handlers, level


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def logger() -> Any:
    return structlog.get_logger("test")


def test_a_line_is_one_json_object_with_service_time_and_ids(written: io.StringIO) -> None:
    token = trace.current.set("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
    structlog.contextvars.bind_contextvars(request_id="r-1", image_id="i-1")
    try:
        logger().info("registered", size=5, text="a\nb")
        logging.getLogger("library").warning("slow %s", "thing")
    finally:
        trace.current.reset(token)
    ours, theirs = lines(written)
    assert ours["event"] == "registered"
    assert (ours["size"], ours["text"], ours["level"]) == (5, "a\nb", "info")
    assert (theirs["event"], theirs["logger"], theirs["level"]) == ("slow thing", "library", "warning")
    for line in (ours, theirs):
        assert line["service"] == "presign_svc"
        assert line["time"].endswith("Z")
        assert line["trace_id"] == "4bf92f3577b34da6a3ce929d0e0e4736"
        assert (line["request_id"], line["image_id"]) == ("r-1", "i-1")


SECRETS = {
    "url": URL,
    "encoded url": URL.replace("=", "%3D").replace("&", "%26"),
    "key": f"x-api-key: {KEY}",
    "header": f"X-Amz-Security-Token: {TOKEN}",
    "dict": {"X-Amz-Security-Token": TOKEN, "x-api-key": KEY},
    "text of a dict": str({"X-Amz-Security-Token": TOKEN, "x-amz-signature": SIGNATURE}),
    "text of a dict of bytes": str({b"x-amz-security-token": TOKEN.encode()}),
    "authorization": f"AWS4-HMAC-SHA256 Credential=AKID/x, SignedHeaders=host, Signature={SIGNATURE}",
    "list": [URL, KEY],
}


def clean(text: str) -> bool:
    return not any(secret in text for secret in (SIGNATURE, TOKEN, "hEXAMPLE", KEY.rsplit("_", 1)[0], "Zm9vYmFy"))


@pytest.mark.parametrize("form", SECRETS)
def test_a_secret_is_blotted_out_in_every_form(written: io.StringIO, form: str) -> None:
    secret = SECRETS[form]
    logger().info("line", value=secret)
    logger().error(f"line {secret}")
    logging.getLogger("library").error("value %s", secret)
    assert len(lines(written)) == 3
    assert clean(written.getvalue()), written.getvalue()
    assert "[redacted]" in written.getvalue()


def test_a_secret_in_an_exception_is_blotted_out(written: io.StringIO) -> None:
    try:
        try:
            raise ValueError(f"bad key {KEY}")
        except ValueError as error:
            raise RuntimeError(f"no answer from {URL}") from error
    except RuntimeError:
        logger().exception("failed")
        logging.getLogger("library").exception("failed")
    ours, theirs = lines(written)
    assert "RuntimeError" in ours["exception"]
    assert "ValueError" in theirs["exception"]
    assert clean(written.getvalue())


def test_what_surrounds_a_secret_stays_readable(written: io.StringIO) -> None:
    logger().info("put", url=URL, key=KEY)
    line = lines(written)[0]
    assert line["url"].startswith("https://b.s3.amazonaws.com/k?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=")
    assert line["key"] == "drk_abcdefgh12345678_[redacted]"


@pytest.mark.parametrize("value", [2**100, {1: object()}, {(1, 2): 3}, "\ud800", b"\xff", float("nan"), {1, 2}, ...])
def test_no_value_keeps_a_line_from_being_written(written: io.StringIO, value: Any) -> None:
    logger().info("odd", value=value)
    assert lines(written)[0]["event"].strip("'") == "odd"


def test_warnings_are_lines_too(written: io.StringIO) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(True)
        warnings.warn("beware", UserWarning, stacklevel=1)
    assert "beware" in lines(written)[0]["event"]


def test_the_level_can_change_once_settings_are_known(written: io.StringIO) -> None:
    log = logger()
    log.debug("unseen")
    log.info("seen")
    logs.set_level("error")
    log.info("unseen")
    log.error("seen")
    logging.getLogger("library").warning("unseen")
    logs.set_level("debug")
    logging.getLogger("library").info("unseen: libraries speak from warning on")
    assert {line["event"] for line in lines(written)} == {"seen"}


@given(st.text())
def test_redaction_leaves_other_text_alone(text: str) -> None:
    if "drk_" not in text.lower() and "amz" not in text.lower() and "signature" not in text.lower():
        assert logs.redact(text) == text
