"""What every table of settings is made of, and how a rule between settings says which one is wrong."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict
from pydantic_core import PydanticCustomError

# The type of errors made by `wrong`; their text is whole.
RULE = "darkroom"


class Table(BaseModel):
    """A group of settings. None has a default; each has a description that says what is allowed, and one example."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def wrong(name: str, reason: str) -> PydanticCustomError:
    """The error of a rule between settings. `name` is the setting to change, relative to the table that the rule
    stands in (`network.nat_gateways` in a rule of the whole environment).
    """
    return PydanticCustomError(RULE, "{reason}", {"name": name, "reason": reason})
