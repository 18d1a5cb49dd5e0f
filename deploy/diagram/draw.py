"""Makes the SVG of a picture. Pure: the same picture gives the same bytes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from math import hypot
from typing import Final
from xml.sax.saxutils import escape

from deploy.diagram.elements import Arrow, Box, Frame, Line, Picture, Point
from deploy.diagram.icons import ICONS

FONT: Final = "Inter, -apple-system, 'Segoe UI', 'Helvetica Neue', 'DejaVu Sans', Arial, sans-serif"
CORNER: Final = 10.0  # radius where an arrow turns
HEAD: Final = 8.0
STEPS_PER_COLUMN: Final = 4

INK: Final = "#26221d"
FRAMES: Final = {
    "region": ("#fffdf9", "#cfc7b8", "", "#8a8070"),
    "vpc": ("#f3f6f1", "#7f9a78", "", "#54704d"),
    "zone": ("none", "#a9bda3", "6 5", "#6f8a68"),
    "lane": ("#f7f1ea", "none", "", "#9a8a74"),
}
BOXES: Final = {  # fill, stroke, stroke width
    "service": ("#ffffff", "#2f4a7c", 1.8),
    "aws": ("#fff8ec", "#c08a35", 1.5),
    "data": ("#fdeeea", "#b4493d", 1.7),
    "outside": ("#ffffff", "#55504a", 1.6),
    "plain": ("#ffffff", "#b7ae9f", 1.2),
}
LINES: Final = {  # colour, width, dashes
    "call": ("#2f4a7c", 1.9, ""),
    "bytes": ("#b4493d", 4.0, ""),
    "event": ("#6a4c93", 2.0, "7 5"),
    "quiet": ("#9b9284", 1.3, "3 4"),
}
MEANINGS: Final[dict[Line, str]] = {
    "call": "call",
    "bytes": "bytes of a file",
    "event": "message",
    "quiet": "belongs to",
}


def svg(picture: Picture) -> str:
    """The picture as SVG, on its own light ground: legible on light pages and on dark ones."""
    width, height = picture.size
    opening = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" width="{width:g}" '
        f'height="{height:g}" font-family="{FONT}" role="img" aria-labelledby="title desc">'
    )
    parts = [
        opening,
        f'<title id="title">{escape(picture.title)}</title>',
        f'<desc id="desc">{escape(picture.description)}</desc>',
        f'<rect width="{width:g}" height="{height:g}" rx="16" fill="#f4f1ea"/>',
        *(line for frame in picture.frames for line in _frame(frame)),
        *(line for box in picture.boxes for line in _box(box)),
        *(line for arrow in picture.arrows for line in _arrow(arrow)),
        *(line for arrow in picture.arrows for line in _labels(arrow)),
        *_key(picture.key_at),
        *_legend(picture),
        *_name(picture),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _frame(frame: Frame) -> Iterator[str]:
    fill, stroke, dashes, ink = FRAMES[frame.look]
    (x, y), (width, height) = frame.at, frame.size
    dash = f' stroke-dasharray="{dashes}"' if dashes else ""
    yield (
        f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="12" fill="{fill}" stroke="{stroke}" '
        f'stroke-width="1.4"{dash}/>'
    )
    yield _text(frame.title, frame.title_at or (x + 14, y + 22), 13, ink, weight=600, spacing=0.4)


def _box(box: Box) -> Iterator[str]:
    fill, stroke, stroke_width = BOXES[box.look]
    (x, y), (width, height) = box.at, box.size
    yield (
        f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="9" fill="{fill}" stroke="{stroke}" '
        f'stroke-width="{stroke_width:g}"/>'
    )
    left = x + 14
    lines = len(box.text)
    top = y + (height - (17 + 16.5 * lines)) / 2 if not box.chips else y + 8
    if box.icon:
        size = 24 if height > 50 else 20
        middle = top + 12 if box.chips else y + height / 2
        yield (
            f'<g transform="translate({left:g} {middle - size / 2:g}) scale({size / 24:g})" fill="none" '
            f'stroke="{stroke}" stroke-width="1.7" stroke-linecap="round" stroke-linejoin="round">{ICONS[box.icon]}</g>'
        )
        left += size + 11
    yield _text(box.title, (left, top + 15), 16, INK, weight=600)
    for i, line in enumerate(box.text):
        yield _text(line, (left, top + 33 + 16.5 * i), 12.5, "#5d564c")
    for centre, text in box.chips:
        half = 6.2 + 3.35 * len(text)
        yield (
            f'<rect x="{centre - half:g}" y="{y + height - 29:g}" width="{2 * half:g}" height="20" rx="10" '
            f'fill="{stroke}" fill-opacity=".11" stroke="{stroke}" stroke-width=".9"/>'
        )
        yield _text(text, (centre, y + height - 14.8), 11.5, stroke, anchor="middle", weight=600)


def _arrow(arrow: Arrow) -> Iterator[str]:
    colour, width, dashes = LINES[arrow.line]
    dash = f' stroke-dasharray="{dashes}"' if dashes else ""
    points = list(arrow.points)
    head = HEAD + width
    ends = [_head(points[-2], points[-1], head, colour)]
    points[-1] = _before(points[-2], points[-1], head - 1)
    if arrow.both:
        ends.append(_head(points[1], points[0], head, colour))
        points[0] = _before(points[1], points[0], head - 1)
    yield f'<path d="{_path(points)}" fill="none" stroke="{colour}" stroke-width="{width:g}"{dash}/>'
    yield from ends


def _labels(arrow: Arrow) -> Iterator[str]:
    colour = LINES[arrow.line][0]
    if arrow.text and arrow.text_at:
        yield _text(arrow.text, arrow.text_at, 12.5, colour, weight=500, halo=True)
    if arrow.number is not None and arrow.number_at:
        yield _number(arrow.number, arrow.number_at, colour)


def _number(number: int, at: Point, colour: str) -> str:
    return f'<circle cx="{at[0]:g}" cy="{at[1]:g}" r="12" fill="{colour}" stroke="#fffdf9" stroke-width="2"/>' + _text(
        str(number), (at[0], at[1] + 4.6), 13, "#ffffff", anchor="middle", weight=700
    )


def _key(at: Point) -> Iterator[str]:
    """What the lines mean."""
    for i, (line, meaning) in enumerate(MEANINGS.items()):
        x, y = at[0], at[1] + 26 * i
        yield from _arrow(Arrow(((x, y), (x + 52, y)), line))
        yield _text(meaning, (x + 64, y + 4.4), 12.5, "#5d564c")


def _name(picture: Picture) -> Iterator[str]:
    """The title, over two lines in the upper left corner."""
    first, _, rest = picture.title.partition(" ")
    yield _text(first, (26, 62), 27, INK, weight=700, spacing=-0.3)
    yield _text(rest, (26, 92), 20, "#8a8070", weight=500)


def _legend(picture: Picture) -> Iterator[str]:
    """The steps in columns, at the foot of the picture."""
    width, height = picture.size
    colours = {arrow.number: LINES[arrow.line][0] for arrow in picture.arrows if arrow.number is not None}
    columns = -(-len(picture.steps) // STEPS_PER_COLUMN)
    top = height - 26 * STEPS_PER_COLUMN - 6
    for i, step in enumerate(picture.steps):
        column, row = divmod(i, STEPS_PER_COLUMN)
        x, y = 46 + column * (width - 60) / columns, top + 26 * row
        yield _number(i + 1, (x, y), colours[i + 1])
        yield _text(step, (x + 21, y + 4.6), 13.5, INK)


def _text(
    text: str,
    at: Point,
    size: float,
    colour: str,
    *,
    anchor: str = "start",
    weight: int = 400,
    spacing: float = 0,
    halo: bool = False,
) -> str:
    more = f' text-anchor="{anchor}"' if anchor != "start" else ""
    more += f' font-weight="{weight}"' if weight != 400 else ""
    more += f' letter-spacing="{spacing:g}"' if spacing else ""
    more += ' paint-order="stroke" stroke="#fffdf9" stroke-width="4" stroke-linejoin="round"' if halo else ""
    return f'<text x="{at[0]:g}" y="{at[1]:g}" font-size="{size:g}" fill="{colour}"{more}>{escape(text)}</text>'


def _before(start: Point, end: Point, length: float) -> Point:
    """The point that lies `length` before `end` on the way from `start`."""
    whole = hypot(end[0] - start[0], end[1] - start[1])
    share = length / whole
    return end[0] - (end[0] - start[0]) * share, end[1] - (end[1] - start[1]) * share


def _head(start: Point, end: Point, length: float, colour: str) -> str:
    back = _before(start, end, length)
    across = ((end[1] - back[1]) * 0.42, (back[0] - end[0]) * 0.42)
    corners = (end, (back[0] + across[0], back[1] + across[1]), (back[0] - across[0], back[1] - across[1]))
    return f'<path d="M{" L".join(f"{x:.1f} {y:.1f}" for x, y in corners)}z" fill="{colour}"/>'


def _path(points: Sequence[Point]) -> str:
    commands = [f"M{points[0][0]:.1f} {points[0][1]:.1f}"]
    for (one, turn), (_, end) in pairwise(pairwise(points)):
        radius = min(
            CORNER, hypot(turn[0] - one[0], turn[1] - one[1]) / 2, hypot(end[0] - turn[0], end[1] - turn[1]) / 2
        )
        begin, after = _before(one, turn, radius), _before(end, turn, radius)
        commands.append(f"L{begin[0]:.1f} {begin[1]:.1f}Q{turn[0]:.1f} {turn[1]:.1f} {after[0]:.1f} {after[1]:.1f}")
    commands.append(f"L{points[-1][0]:.1f} {points[-1][1]:.1f}")
    return "".join(commands)
