"""The chart of `docs/performance.md`: a panel for each photo, a bar for each engine. SVG written by hand."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Final

from tests.bench.imaging.engine import ENGINES, Engine
from tests.bench.imaging.measure import Figures, Results
from tests.bench.imaging.pictures import Photo

_COLUMNS: Final = 3
_PANEL: Final = (372, 252)
_MARGIN: Final = 24
_TOP: Final = 76
_LABEL: Final = 174  # pixels for an engine's name
_VALUE: Final = 44  # and for its figure
_BAR: Final = 18
_INK, _QUIET, _LINES, _PAPER = "#1f2933", "#52606d", "#e4e7eb", "#ffffff"
_COLOURS: Final = {"ours": "#0b7285", "peer": "#d9480f", "floor": "#adb5bd"}
_LIGHTER: Final = "#f4a261"  # a peer with our WebP effort
_FONT: Final = "font-family=\"system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif\""


def draw(results: Results, photos: Sequence[Photo]) -> str:
    """The whole chart: images per CPU second, each panel with a scale of its own."""
    shown = [photo for photo in photos if any(key[0] == photo.name for key in results)]
    rows = -(-len(shown) // _COLUMNS)
    width = _COLUMNS * _PANEL[0] + (_COLUMNS + 1) * _MARGIN
    height = _TOP + rows * (_PANEL[1] + _MARGIN)
    parts = [
        _text(_MARGIN, 36, "Images per CPU second, four variants each", size=21, weight=650),
        _text(_MARGIN, 59, "one thread; more is better; every panel has its own scale", fill=_QUIET),
        *_legend(width),
    ]
    for number, photo in enumerate(shown):
        left = _MARGIN + number % _COLUMNS * (_PANEL[0] + _MARGIN)
        top = _TOP + number // _COLUMNS * (_PANEL[1] + _MARGIN)
        parts += _panel(left, top, photo, results)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'role="img" aria-label="Images per CPU second of Darkroom and its peers, for each kind of photo" {_FONT}>\n'
        f'<rect width="{width}" height="{height}" fill="{_PAPER}"/>\n' + "\n".join(parts) + "\n</svg>\n"
    )


def _legend(width: float) -> list[str]:
    entries = (
        ("Darkroom", _COLOURS["ours"]),
        ("peers", _COLOURS["peer"]),
        ("peers with our WebP effort", _LIGHTER),
        ("decode + encode alone", _COLOURS["floor"]),
    )
    parts = []
    x = width - 610.0
    for label, colour in entries:
        parts.append(f'<rect x="{x:.0f}" y="26" width="14" height="12" fill="{colour}"/>')
        parts.append(_text(x + 20, 37, label))
        x += 46 + 6.9 * len(label)
    return parts


def _panel(left: float, top: float, photo: Photo, results: Results) -> list[str]:
    bars = [(engine, got) for engine in ENGINES if (got := results.get((photo.name, engine.name))) is not None]
    most = max(got.rate for _, got in bars)
    parts = [
        _text(left, top + 14, photo.title, size=14, weight=600),
        f'<path d="M{left} {top + 22}H{left + _PANEL[0]}" stroke="{_LINES}"/>',
    ]
    for place, (engine, got) in enumerate(bars):
        parts += _bar(left, top + 32 + place * (_BAR + 2), engine, got, most)
    return parts


def _bar(left: float, top: float, engine: Engine, got: Figures, most: float) -> list[str]:
    length = (_PANEL[0] - _LABEL - _VALUE) * got.rate / most
    weight = 600 if engine.kind == "ours" else 400
    title = "  with WebP effort 2" if engine.name.endswith("-2") else engine.title
    box = f'x="{left + _LABEL}" y="{top + 1:.1f}" width="{length:.1f}" height="{_BAR - 2}"'
    return [
        _text(left + _LABEL - 8, top + 13, title, anchor="end", size=11.5, weight=weight),
        f'<rect {box} fill="{colour(engine)}"/>',
        _text(left + _LABEL + length + 6, top + 13, f"{got.rate:.1f}", size=11.5, weight=weight),
    ]


def colour(engine: Engine) -> str:
    """Of an engine's bar."""
    return _LIGHTER if engine.name.endswith("-2") else _COLOURS[engine.kind]


def _text(
    x: float, y: float, text: str, *, size: float = 13, weight: int = 400, fill: str = _INK, anchor: str = "start"
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" fill="{fill}" text-anchor="{anchor}" '
        f'font-weight="{weight}">{escape(text)}</text>'
    )
