"""Trace context as W3C has it."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime import trace

GIVEN = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00"
FORM = re.compile(r"00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")


def test_a_given_trace_goes_on_in_a_new_span_with_its_flags() -> None:
    ours = trace.continued(GIVEN)
    assert FORM.fullmatch(ours)
    assert trace.trace_id(ours) == trace.trace_id(GIVEN) == "4bf92f3577b34da6a3ce929d0e0e4736"
    assert ours[36:52] != GIVEN[36:52]
    assert ours.endswith("-00")


@pytest.mark.parametrize(
    "wrong",
    [
        None,
        "",
        "garbage",
        GIVEN.upper(),
        "ff" + GIVEN[2:],
        GIVEN + "-more",
        GIVEN + "\n",
        f"00-{'0' * 32}-00f067aa0ba902b7-01",
        f"00-4bf92f3577b34da6a3ce929d0e0e4736-{'0' * 16}-01",
    ],
)
def test_what_is_no_trace_begins_a_new_one(wrong: str | None) -> None:
    ours = trace.continued(wrong)
    assert FORM.fullmatch(ours)
    assert ours[3:35] not in (wrong or "")


@given(st.text())
def test_no_header_can_break_it(header: str) -> None:
    assert FORM.fullmatch(trace.continued(header))
    assert isinstance(trace.trace_id(header), str)
