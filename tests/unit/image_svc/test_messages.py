"""What a message asks for: everything readable is read, everything else is left, nothing else is raised."""

import json
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
from darkroom.image.v1 import command_pb2
from google.protobuf import json_format
from hypothesis import example, given
from hypothesis import strategies as st

from image_svc.domain.messages import (
    Created,
    Ignored,
    Order,
    Task,
    Unreadable,
    parse,
    process_command,
)

_BUCKET = "incoming-test"
_TENANT = "0190aaaa-0000-7000-8000-000000000001"
_IMAGE = "0190bbbb-0000-7000-8000-000000000001"

# S3 takes any UTF-8 of up to 1,024 bytes; a lone surrogate is none.
_keys = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=100).map(lambda rest: f"incoming/{rest}")
_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=20,
)


def _record(key: str, **changes: Any) -> dict[str, Any]:
    return {
        "eventVersion": "2.1",
        "eventSource": "aws:s3",
        "eventName": "ObjectCreated:Put",
        "s3": {"bucket": {"name": _BUCKET}, "object": {"key": key, "size": 1, "sequencer": "0055AED6DCD90281E5"}},
    } | changes


def _body(*records: Any) -> str:
    return json.dumps({"Records": list(records)})


def _command(**changes: Any) -> dict[str, Any]:
    return {
        "schema": "darkroom.purge/1",
        "tenant_id": _TENANT,
        "image_id": _IMAGE,
        "original_key": f"incoming/{_TENANT}/{_IMAGE}",
        "media_prefix": f"media/{_TENANT}/{_IMAGE}/",
    } | changes


@given(_keys)
@example("incoming/a b+c%d")
@example("incoming/사진 1.jpg")
def test_a_key_comes_out_as_it_was_whichever_way_it_was_encoded(key: str) -> None:
    # S3 writes a space as `+`, LocalStack as `%20`.
    assert parse(_body(_record(quote_plus(key, safe="/"))), bucket=_BUCKET) == [Created(key)]
    assert parse(_body(_record(quote(key, safe="/"))), bucket=_BUCKET) == [Created(key)]


@given(st.lists(_keys, min_size=1, max_size=10))
def test_every_record_of_a_message_counts(keys: list[str]) -> None:
    body = _body(*(_record(quote_plus(key)) for key in keys))
    assert parse(body, bucket=_BUCKET) == [Created(key) for key in keys]


@given(st.integers(min_value=0, max_value=10_000), _json)
def test_a_minor_version_and_what_it_adds_are_tolerated(minor: int, addition: object) -> None:
    body = _body(_record("incoming/a", eventVersion=f"2.{minor}", added=addition))
    assert parse(body, bucket=_BUCKET) == [Created("incoming/a")]


@given(st.text(max_size=6).filter(lambda version: version.split(".")[0] != "2"))
def test_an_unknown_major_version_is_left(version: str) -> None:
    with pytest.raises(Unreadable):
        parse(_body(_record("incoming/a", eventVersion=version)), bucket=_BUCKET)


@given(st.text(max_size=40).filter(lambda name: not name.startswith("ObjectCreated:")))
def test_other_events_are_no_business_of_ours(name: str) -> None:
    (item,) = parse(_body(_record("incoming/a", eventName=name)), bucket=_BUCKET)
    assert isinstance(item, Ignored)


@given(_keys)
def test_other_prefixes_are_no_business_of_ours(key: str) -> None:
    (item,) = parse(_body(_record(quote_plus(f"exports/{key}"))), bucket=_BUCKET)
    assert isinstance(item, Ignored)


def test_an_event_of_another_bucket_is_left_because_a_setting_may_be_wrong() -> None:
    with pytest.raises(Unreadable):
        parse(_body(_record("incoming/a")), bucket="another")


def test_the_test_event_of_s3_is_no_business_of_ours() -> None:
    body = json.dumps({"Service": "Amazon S3", "Event": "s3:TestEvent", "Time": "2014-10-13T15:57:02.089Z"})
    (item,) = parse(body, bucket=_BUCKET)
    assert isinstance(item, Ignored)


def test_a_message_without_records_is_no_business_of_ours() -> None:
    (item,) = parse('{"Records": []}', bucket=_BUCKET)
    assert isinstance(item, Ignored)


@given(st.sampled_from(list(Task)), st.text(max_size=60))
def test_a_command_comes_out_as_metadata_wrote_it(task: Task, traceparent: str) -> None:
    traceparent = traceparent.encode("utf-8", "ignore").decode()
    command = command_pb2.Command(**_command(schema=task.value, traceparent=traceparent))
    body = json_format.MessageToJson(command, preserving_proto_field_name=True)
    assert parse(body, bucket=_BUCKET) == [
        Order(task, _TENANT, _IMAGE, command.original_key, command.media_prefix, traceparent)
    ]


def test_a_requeued_image_is_processed() -> None:
    body = process_command(_TENANT, _IMAGE, f"incoming/{_TENANT}/{_IMAGE}", "")
    (item,) = parse(body, bucket=_BUCKET)
    assert isinstance(item, Order)
    assert item.task is Task.PROCESS


@given(_json)
def test_a_field_that_a_newer_release_added_is_tolerated(addition: object) -> None:
    (item,) = parse(json.dumps(_command(added_later=addition)), bucket=_BUCKET)
    assert isinstance(item, Order)


@pytest.mark.parametrize(
    "changes",
    [
        {"schema": "darkroom.purge/2"},
        {"schema": "darkroom.unheard_of/1"},
        {"schema": 1},
        {"tenant_id": ""},
        {"image_id": ""},
        {"image_id": "another"},
        {"original_key": ""},
        {"original_key": f"media/{_TENANT}/{_IMAGE}"},
        {"media_prefix": ""},
        {"media_prefix": "media/"},
        {"media_prefix": f"media/{_TENANT}/"},
        {"media_prefix": f"media/{_TENANT}/{_IMAGE}"},
        {"media_prefix": None, "original_key": 7},
    ],
)
def test_an_order_that_could_hit_another_image_is_left(changes: dict[str, Any]) -> None:
    with pytest.raises(Unreadable):
        parse(json.dumps(_command(**changes)), bucket=_BUCKET)


def _mutations() -> st.SearchStrategy[str]:
    """JSON that looks like a message, with anything in place of any part."""
    record = st.fixed_dictionaries(
        {},
        optional={
            "eventVersion": st.just("2.1") | _json,
            "eventName": st.just("ObjectCreated:Put") | _json,
            "s3": st.fixed_dictionaries(
                {},
                optional={
                    "bucket": st.just({"name": _BUCKET}) | _json,
                    "object": st.fixed_dictionaries({}, optional={"key": st.text(max_size=9) | _json}) | _json,
                },
            )
            | _json,
        },
    )
    command = st.fixed_dictionaries(
        {"schema": st.sampled_from([task.value for task in Task]) | _json},
        optional={name: st.text(max_size=9) | _json for name in _command() if name != "schema"},
    )
    notification = st.fixed_dictionaries({"Records": st.lists(record | _json, max_size=3) | _json})
    return st.one_of(_json, notification, command, st.fixed_dictionaries({"Event": _json})).map(json.dumps)


@given(st.one_of(st.text(), _mutations()))
@example("[" * 100_000)
@example('{"schema":' * 100_000)
@example(_body(_record("%ff")))
@example("\ud800")
@example('"\\ud800"')
@example('{"schema": "darkroom.process/1", "tenant_id": "\\ud800"}')
def test_whatever_comes_nothing_is_raised_but_the_one_error(body: str) -> None:
    try:
        items = parse(body, bucket=_BUCKET)
    except Unreadable:
        return
    assert items
    assert all(isinstance(item, Created | Order | Ignored) for item in items)
