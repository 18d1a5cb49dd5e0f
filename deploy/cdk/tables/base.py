"""What every table of settings is made of, and how a rule between settings says which one is wrong."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import AfterValidator, BaseModel, ConfigDict
from pydantic_core import PydanticCustomError

# The type of errors made by `wrong`; their text is whole.
RULE: Final = "darkroom"
# The type of errors about one value of one setting.
VALUE: Final = "darkroom_value"
# Days that CloudWatch Logs can keep a log (API reference, PutRetentionPolicy).
_DAYS: Final = (1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653)
RETENTIONS: Final = ", ".join(map(str, _DAYS))


def _kept(days: int) -> int:
    if days not in _DAYS:
        raise PydanticCustomError(VALUE, "CloudWatch Logs cannot keep a log for that long")
    return days


RetentionDays = Annotated[int, AfterValidator(_kept)]


class Table(BaseModel):
    """A group of settings. None has a default; each has a description that says what is allowed, and one example."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def wrong(name: str, reason: str) -> PydanticCustomError:
    """The error of a rule between settings. `name` is the setting to change, relative to the table that the rule
    stands in (`network.nat_gateways` in a rule of the whole environment).
    """
    return PydanticCustomError(RULE, "{reason}", {"name": name, "reason": reason})
