"""The picture as PNG, made of the SVG by resvg."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import Final

import resvg_py
from PIL import Image, PngImagePlugin

_IMAGES: Final = Path(__file__).resolve().parents[2] / "docs" / "img"
SVG: Final = _IMAGES / "aws.svg"
PNG: Final = _IMAGES / "aws.png"
FONTS: Final = Path("/usr/share/fonts/opentype/inter")  # Debian's fonts-inter
SCALE: Final = 1.5
# Name of the PNG's text that says of which SVG it was made: whether it is up to date is seen without rendering it.
SOURCE: Final = "darkroom:svg-sha256"


def render(text: str) -> bytes:
    """The PNG of an SVG; the corners outside of its ground are transparent."""
    whole = resvg_py.svg_to_bytes(svg_string=text, zoom=SCALE, font_dirs=[str(FONTS)], skip_system_fonts=True)
    picture = Image.open(io.BytesIO(whole))
    note = PngImagePlugin.PngInfo()
    note.add_text(SOURCE, digest(text))
    out = io.BytesIO()
    picture.save(out, "PNG", optimize=True, pnginfo=note)
    return out.getvalue()


def digest(text: str) -> str:
    """What the PNG of this SVG says of it."""
    return hashlib.sha256(text.encode()).hexdigest()
