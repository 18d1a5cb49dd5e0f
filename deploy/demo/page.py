"""The page that the demo leaves behind: one HTML file that holds everything, pictures included."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any, Final

from deploy.demo.facts import Facts, data_url

_STYLE: Final = (Path(__file__).with_name("page.css")).read_text()


@dataclass(frozen=True)
class Variant:
    """One finished picture as it came through its signed URL."""

    name: str
    content_type: str
    content: bytes
    facts: Facts


@dataclass(frozen=True)
class Story:
    """All that happened to one photograph. `stages` are (what, milliseconds)."""

    name: str
    original: Facts
    preview: str  # data URL
    image: dict[str, Any]  # as the API gave it
    variants: tuple[Variant, ...]
    stages: tuple[tuple[str, float], ...]
    refusal: str


def render(stories: list[Story], made_at: str) -> str:
    """The whole page."""
    total_in = sum(story.original.size for story in stories)
    total_out = sum(variant.facts.size for story in stories for variant in story.variants)
    count = sum(len(story.variants) for story in stories)
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Darkroom: {len(stories)} photographs developed</title><style>{_STYLE}</style></head><body>
<header><h1>Darkroom</h1>
<p>{len(stories)} photographs went in ({size(total_in)}), {count} finished pictures came out ({size(total_out)}),
and nobody opened the door in between.</p>
<p class="quiet">Registered through API Gateway, put straight to S3 with sealed tickets, developed by image_svc from the
queue, fetched by signed URLs. {escape(made_at)}</p></header>
<main>{"".join(_story(story) for story in stories)}</main>
</body></html>
"""


def size(count: int) -> str:
    """Bytes for people."""
    return f"{count / 1e6:.1f} MB" if count >= 1e6 else f"{count / 1e3:.1f} kB"


def _story(story: Story) -> str:
    image = story.image
    placeholder = image.get("placeholder") or {}
    color = escape(placeholder.get("color") or "#333")
    original = story.original
    turned = "" if original.orientation == "upright" else f" The camera noted: {original.orientation}."
    return f"""<section>
<h2>{escape(story.name)} <span class="state">{escape(image["state"])}</span></h2>
<div class="pair">
<figure class="original"><img alt="the original's pixels" src="{story.preview}">
<figcaption><b>Original</b>, its pixels as they are stored.{turned}
{_table(_original_rows(original))}</figcaption></figure>
<div class="variants">{"".join(_variant(variant, original, color) for variant in story.variants)}</div>
</div>
<div class="facts">{_table(_image_rows(story, color))}
<table class="stages"><caption>The way</caption>{"".join(_stage(*stage) for stage in story.stages)}</table></div>
</section>"""


def _original_rows(facts: Facts) -> list[tuple[str, str]]:
    return [
        ("file", f"{facts.format}, {facts.width}\N{MULTIPLICATION SIGN}{facts.height}, {size(facts.size)}"),
        ("camera", escape(facts.camera or "-")),
        ("taken", escape(facts.taken or "-")),
        ("place (GPS)", f'<em class="secret">{escape(facts.place)}</em>' if facts.place else "-"),
        ("colours", escape(facts.profile or "no profile: sRGB")),
        ("metadata inside", _badges(facts.metadata)),
    ]


def _image_rows(story: Story, color: str) -> list[tuple[str, str]]:
    image = story.image
    return [
        ("id", f"<code>{escape(image['id'])}</code>"),
        ("seen as", f"{escape(str(image['format']))}, {image['width']}\N{MULTIPLICATION SIGN}{image['height']}"),
        ("SHA-256", f"<code>{escape(str(image['sha256']))[:24]}\N{HORIZONTAL ELLIPSIS}</code>"),
        ("placeholder colour", f'<i class="swatch" style="background:{color}"></i> <code>{color}</code>'),
        ("thumbhash", f"<code>{escape((image.get('placeholder') or {}).get('thumbhash') or '-')}</code>"),
        ("perceptual hash", f"<code>{escape(str(image.get('perceptual_hash')))}</code>"),
        ("the ticket used twice", escape(story.refusal)),
    ]


def _variant(variant: Variant, original: Facts, color: str) -> str:
    facts = variant.facts
    share = 100 * facts.size / original.size
    return f"""<figure><div class="frame" style="background:{color}">
<img alt="{escape(variant.name)}" src="{data_url(variant.content_type, variant.content)}" loading="lazy"></div>
<figcaption><b>{escape(variant.name)}</b> {facts.format}, {facts.width}\N{MULTIPLICATION SIGN}{facts.height},
{size(facts.size)} <span class="quiet">({share:.1f} % of the original)</span><br>
metadata inside: {_badges(facts.metadata)}</figcaption></figure>"""


def _badges(kinds: tuple[str, ...]) -> str:
    if not kinds:
        return '<span class="none">none</span>'
    return " ".join(f'<span class="badge">{escape(kind)}</span>' for kind in kinds)


def _table(rows: list[tuple[str, str]]) -> str:
    return "<table>" + "".join(f"<tr><th>{name}</th><td>{value}</td></tr>" for name, value in rows) + "</table>"


def _stage(what: str, milliseconds: float) -> str:
    return f'<tr><th>{escape(what)}</th><td class="number">{milliseconds:,.0f} ms</td></tr>'
