"""The sheet as a page."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tests.sheet.placeholder import shown
from tests.sheet.shot import PRESETS, Row

_STYLE: Final = """
body { font: 14px/1.4 system-ui, sans-serif; margin: 24px; color: #1d2329; background: #fff; }
h1 { font-size: 20px; } table { border-collapse: collapse; }
td, th { padding: 8px; vertical-align: top; text-align: left; }
tr { border-top: 1px solid #d5dbe1; } th { position: sticky; top: 0; background: #fff; }
.name { width: 230px; overflow-wrap: anywhere; } .facts { color: #5b6670; font-size: 12px; }
.swatch { display: inline-block; width: 48px; height: 48px; border: 1px solid #d5dbe1; vertical-align: top; }
img.variant { max-width: 200px; max-height: 160px; display: block;
  background: repeating-conic-gradient(#d9d9d9 0 25%, #fff 0 50%) 0 0 / 16px 16px; }
img.placeholder { width: 96px; image-rendering: auto; }
.rejected { color: #8a2b1d; } .failed { color: #fff; background: #b00020; }
"""


def render(rows: Sequence[Row], folder: Path) -> str:
    """The page; variants are linked relative to the folder that it goes into."""
    heads = "".join(f"<th>{preset.name}</th>" for preset in PRESETS)
    body = "\n".join(_row(row, folder) for row in rows)
    ready = sum(row.verdict == "READY" for row in rows)
    return (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>Contact sheet</title><style>{_STYLE}</style>"
        f"<h1>Contact sheet: {len(rows)} files, {ready} READY</h1>"
        f"<table><thead><tr><th>file</th><th>colour, placeholder</th>{heads}</tr></thead>\n{body}\n</table></html>\n"
    )


def _row(row: Row, folder: Path) -> str:
    name = f"<strong>{html.escape(row.name)}</strong><br>"
    said = f'<span class="{row.verdict.lower()}">{row.verdict}</span> {html.escape(row.detail)}'
    if row.facts is None:
        return f'<tr><td class=name>{name}{said}</td><td colspan="{len(PRESETS) + 1}"></td></tr>'
    facts = row.facts
    lines = (
        f"{facts.format}, {facts.width}x{facts.height}, {facts.frames} frame{'s' if facts.frames > 1 else ''}",
        f"{row.size / 1024:,.0f} KiB, {row.cpu_seconds * 1000:.0f} ms CPU",
        f"hash {facts.perceptual_hash:016x}",
        f"colour {facts.color}",
    )
    cells = "".join(
        f'<td><a href="{(link := html.escape(str(made.path.relative_to(folder))))}">'
        f'<img class=variant src="{link}" alt="{made.preset}"></a>'
        f"<span class=facts>{made.width}x{made.height}, {made.size / 1024:.1f} KiB</span></td>"
        for made in row.outputs
    )
    return (
        f"<tr><td class=name>{name}{said}<br><span class=facts>{'<br>'.join(lines)}</span></td>"
        f'<td><span class=swatch style="background:{facts.color}"></span> '
        f'<img class=placeholder src="{_placeholder(facts.thumbhash)}" alt="placeholder"></td>{cells}</tr>'
    )


def _placeholder(hash_: bytes) -> str:
    buffer = io.BytesIO()
    shown(hash_).save(buffer, "PNG")
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
