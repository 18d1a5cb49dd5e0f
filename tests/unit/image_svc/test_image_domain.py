"""Verdicts' texts, back-off and what becomes of a message with several records."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from image_svc.domain import problems
from image_svc.domain.backoff import backoff
from image_svc.domain.model import Disposition, Done, Later, Leave, joined
from image_svc.pipeline.types import Reason

# Contract, section 1.
_REASONS = {
    "not_an_image",
    "unsupported_format",
    "content_type_mismatch",
    "truncated",
    "too_many_pixels",
    "too_many_frames",
    "too_large",
    "too_complex",
    "content_mismatch",
}


def test_every_reason_of_the_contract_has_its_own_text() -> None:
    made = [problems.rejected(reason, "") for reason in Reason]
    assert {problem.type for problem in made} == _REASONS
    assert len({problem.title for problem in made}) == len(_REASONS)


@pytest.mark.parametrize(
    ("detail", "text"),
    [("it ends early", "It ends early. Check"), ("It ends early.", "It ends early. Check"), ("", "Check")],
)
def test_a_problem_says_what_was_wrong_and_what_to_do(detail: str, text: str) -> None:
    assert problems.rejected(Reason.TRUNCATED, detail).detail.startswith(text)


@given(st.integers(0, 10_000), st.floats(0.1, 10), st.floats(10, 50_000))
def test_a_pause_has_a_floor_and_a_ceiling(tries: int, first: float, longest: float) -> None:
    assert first / 2 <= backoff(tries, first=first, longest=longest) <= longest


@given(st.lists(st.sampled_from([Done(), Leave(), Later(5.0), Later(0.0)]), min_size=1))
def test_a_message_goes_only_when_each_of_its_records_is_done(dispositions: list[Disposition]) -> None:
    result = joined(dispositions)
    assert (result == Done()) == all(one == Done() for one in dispositions)
    if any(isinstance(one, Later) for one in dispositions):
        assert isinstance(result, Later)
