"""Errors keep their kind and reason across gRPC."""

from __future__ import annotations

import grpc
import pytest
from google.protobuf import any_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2
from hypothesis import given
from hypothesis import strategies as st

from runtime.errors import DarkroomError, Kind


@pytest.mark.parametrize("kind", Kind)
def test_every_kind_has_a_code_and_comes_back_as_it_went(kind: Kind) -> None:
    error = DarkroomError(kind, "what was wrong", pointer="/items/0", retry_after=1.5)
    status = status_pb2.Status.FromString(error.to_status().SerializeToString())
    assert status.code == error.code.value[0]
    back = DarkroomError.from_status(status)
    assert (back.kind, back.detail, back.pointer, back.retry_after) == (kind, "what was wrong", "/items/0", 1.5)


@given(
    kind=st.sampled_from(Kind),
    detail=st.text(),
    pointer=st.none() | st.text(),
    retry_after=st.none() | st.floats(0, 1e9),
)
def test_nothing_is_lost_on_the_way(kind: Kind, detail: str, pointer: str | None, retry_after: float | None) -> None:
    back = DarkroomError.from_status(DarkroomError(kind, detail, pointer=pointer, retry_after=retry_after).to_status())
    assert (back.kind, back.detail, back.pointer, back.retry_after) == (kind, detail, pointer, retry_after)


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (code_pb2.UNAVAILABLE, Kind.UNAVAILABLE),
        (code_pb2.CANCELLED, Kind.UNAVAILABLE),
        (code_pb2.RESOURCE_EXHAUSTED, Kind.UNAVAILABLE),
        (code_pb2.DEADLINE_EXCEEDED, Kind.DEADLINE_EXCEEDED),
        (code_pb2.UNIMPLEMENTED, Kind.INTERNAL),
        (code_pb2.NOT_FOUND, Kind.INTERNAL),
    ],
)
def test_a_status_that_is_not_ours_tells_by_its_code_and_never_its_text(code: int, kind: Kind) -> None:
    error = DarkroomError.from_status(status_pb2.Status(code=code, message="ipv4:10.1.2.3: secret"))
    assert error.kind is kind
    assert "10.1.2.3" not in error.detail


@pytest.mark.parametrize("code", [9999, -1])
def test_a_code_that_grpc_does_not_know_is_an_internal_error(code: int) -> None:
    assert DarkroomError.from_status(status_pb2.Status(code=code)).kind is Kind.INTERNAL


def packed(message: object) -> any_pb2.Any:
    wrapped = any_pb2.Any()
    wrapped.Pack(message)  # type: ignore[arg-type]  # any message will do
    return wrapped


def test_a_kind_of_a_newer_release_is_taken_by_its_code() -> None:
    info = error_details_pb2.ErrorInfo(reason="brand_new", domain="darkroom")
    status = status_pb2.Status(code=code_pb2.UNAVAILABLE, details=[packed(info)])
    assert DarkroomError.from_status(status).kind is Kind.UNAVAILABLE


def test_a_reason_of_another_house_is_not_taken_for_ours() -> None:
    info = error_details_pb2.ErrorInfo(reason="gone", domain="googleapis.com")
    status = status_pb2.Status(code=code_pb2.UNAVAILABLE, details=[packed(info), packed(status_pb2.Status())])
    assert DarkroomError.from_status(status).kind is Kind.UNAVAILABLE


@pytest.mark.parametrize("retry_after", ["soon", "nan", "-1", "inf"])
def test_a_retry_after_that_is_no_time_is_left_out(retry_after: str) -> None:
    info = error_details_pb2.ErrorInfo(reason="unavailable", domain="darkroom", metadata={"retry_after": retry_after})
    status = status_pb2.Status(code=code_pb2.UNAVAILABLE, details=[packed(info)])
    assert DarkroomError.from_status(status).retry_after is None


def test_only_what_may_be_repeated_is_unavailable() -> None:
    codes = {kind: DarkroomError(kind, "").code for kind in Kind}
    assert [kind for kind, code in codes.items() if code is grpc.StatusCode.UNAVAILABLE] == [Kind.UNAVAILABLE]
