"""What a picture is made of. Lengths are in SVG units; `at` is (x, y) of the upper left corner."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Point = tuple[float, float]
Look = Literal["service", "aws", "data", "outside", "plain"]
Line = Literal["call", "bytes", "event", "quiet"]


@dataclass(frozen=True)
class Box:
    """A box; `shows` is what of the templates it stands for (see `coverage`): nothing where it is `outside` of them."""

    title: str
    text: tuple[str, ...]
    at: Point
    size: Point
    look: Look
    icon: str = ""
    shows: tuple[str, ...] = ()
    chips: tuple[tuple[float, str], ...] = ()  # (x, text): a task or an instance in the zone at that place


@dataclass(frozen=True)
class Frame:
    """A rectangle around others with its name, in the upper left corner unless `title_at` says where."""

    title: str
    at: Point
    size: Point
    look: Literal["region", "vpc", "zone", "lane"]
    shows: tuple[str, ...] = ()
    title_at: Point | None = None


@dataclass(frozen=True)
class Arrow:
    """A line through points, with rounded corners; a number puts it into the way of an upload."""

    points: tuple[Point, ...]
    line: Line = "call"
    number: int | None = None
    number_at: Point | None = None
    text: str = ""
    text_at: Point | None = None
    both: bool = False  # a head at either end


@dataclass(frozen=True)
class Picture:
    """The whole; `steps` explains the numbers in order."""

    title: str
    description: str
    size: Point
    frames: tuple[Frame, ...]
    boxes: tuple[Box, ...]
    arrows: tuple[Arrow, ...]
    steps: tuple[str, ...]
    key_at: Point  # of the explanation of lines
