"""The sheet as one picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import pillow_avif  # noqa: F401  # importing it teaches Pillow AVIF
from PIL import Image, ImageDraw, ImageFont

from tests.sheet.placeholder import shown
from tests.sheet.shot import PRESETS, Row

_CELL: Final = (150, 120)
_NAME: Final = 250
_FACTS: Final = 130
_GAP: Final = 12
_HEAD: Final = 40
_INK: Final = (29, 35, 41)
_PALE: Final = (91, 102, 112)
_RED: Final = (170, 30, 20)
_SQUARE: Final = 8
# Files of one picture: what is more goes onto the page only, for no viewer likes pictures of any height.
MOST: Final = 120


def draw(rows: Sequence[Row]) -> Image.Image:
    """All rows under each other, each with its verdict, facts, colour, placeholder and variants."""
    rows = rows[:MOST]
    width = _NAME + _FACTS + len(PRESETS) * (_CELL[0] + _GAP) + 2 * _GAP
    height = _HEAD + len(rows) * (_CELL[1] + 2 * _GAP) + _GAP
    sheet = Image.new("RGB", (width, height), (255, 255, 255))
    pen = ImageDraw.Draw(sheet)
    font, small = ImageFont.load_default(14), ImageFont.load_default(12)
    left = _GAP + _NAME + _FACTS
    for place, preset in enumerate(PRESETS):
        pen.text((left + place * (_CELL[0] + _GAP), _GAP), preset.name, _INK, font)
    for number, row in enumerate(rows):
        top = _HEAD + number * (_CELL[1] + 2 * _GAP)
        pen.line([(0, top - _GAP), (width, top - _GAP)], (213, 219, 225))
        pen.text((_GAP, top), _cut(row.name, 32), _INK, font)
        pen.text((_GAP, top + 20), row.verdict, _INK if row.verdict == "READY" else _RED, small)
        if row.facts is None:
            pen.text((_GAP + 70, top + 20), row.detail, _RED, small)
            continue
        facts = row.facts
        lines = (
            f"{facts.format}  {facts.width}x{facts.height}  frames {facts.frames}",
            f"{row.size / 1024:,.0f} KiB  {row.cpu_seconds * 1000:.0f} ms",
            f"{facts.perceptual_hash:016x}",
            facts.color,
        )
        for line, text in enumerate(lines):
            pen.text((_GAP, top + 38 + 17 * line), text, _PALE, small)
        pen.rectangle((_GAP + _NAME, top, _GAP + _NAME + 40, top + 40), facts.color, (213, 219, 225))
        preview = shown(facts.thumbhash)
        scale = min(96 / preview.width, 72 / preview.height)
        size = round(preview.width * scale), round(preview.height * scale)
        _lay(sheet, preview.resize(size), (_GAP + _NAME, top + 48))
        for place, made in enumerate(row.outputs):
            x = left + place * (_CELL[0] + _GAP)
            with Image.open(made.path) as picture:
                picture.thumbnail((_CELL[0], _CELL[1] - 18), Image.Resampling.LANCZOS)
                _lay(sheet, picture.convert("RGBA"), (x, top))
            pen.text((x, top + _CELL[1] - 14), f"{made.width}x{made.height} {made.size / 1024:.1f} K", _PALE, small)
    return sheet


def _lay(sheet: Image.Image, picture: Image.Image, place: tuple[int, int]) -> None:
    """A picture on squares, which show where it is transparent."""
    ground = Image.new("RGBA", picture.size, (255, 255, 255, 255))
    pen = ImageDraw.Draw(ground)
    for y in range(0, picture.height, _SQUARE):
        for x in range(y // _SQUARE % 2 * _SQUARE, picture.width, 2 * _SQUARE):
            pen.rectangle((x, y, x + _SQUARE - 1, y + _SQUARE - 1), (217, 217, 217, 255))
    sheet.paste(Image.alpha_composite(ground, picture), place)


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 3]}..."
