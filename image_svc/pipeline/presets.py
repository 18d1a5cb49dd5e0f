"""Presets: which derivatives are made of a photo. Data, held in Parameter Store, validated here."""

from __future__ import annotations

import base64
import binascii
import re
import zlib
from collections import Counter
from pathlib import Path
from typing import Any, Final, Literal, get_args, get_type_hints

import msgspec

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")
_COLOR: Final = re.compile(r"#[0-9a-f]{6}")
# A larger side than WebP can hold (16,383), and more output than any page asks for.
_MAX_SIDE: Final = 8192
_MAX_PRESETS: Final = 32
# A watermark: all presets together share the 8 KB of a parameter.
_MAX_MARK: Final = 4096
_MAX_MARK_SIDE: Final = 1024
# Eight bytes a pixel, and one a row in each of the passes of an interlaced one, with room to spare.
_MAX_MARK_PIXELS: Final = 9 * _MAX_MARK_SIDE * _MAX_MARK_SIDE
# Bits and colour type: https://www.w3.org/TR/png-3/, 11.2.1.
_KINDS_OF_PNG: Final = frozenset(
    {(1, 0), (2, 0), (4, 0), (8, 0), (16, 0), (1, 3), (2, 3), (4, 3), (8, 3)}
    | {(bits, color) for bits in (8, 16) for color in (2, 4, 6)}
)
_PNG: Final = b"\x89PNG\r\n\x1a\n"
_UNKNOWN: Final = re.compile("Object contains unknown field `(.*)`", re.DOTALL)
_MISSING: Final = re.compile("Object missing required field `(.*)`")
_DEFAULTS: Final = Path(__file__).parent.parent / "presets.json"

# Media type and extension of each output format.
_OUTPUTS: Final = {
    "webp": ("image/webp", "webp"),
    "jpeg": ("image/jpeg", "jpg"),
    "avif": ("image/avif", "avif"),
    "png": ("image/png", "png"),
}

Fit = Literal["inside", "cover", "pad"]
OutputFormat = Literal["webp", "jpeg", "avif", "png"]


class PresetError(ValueError):
    """The presets are not valid; the text names preset and field, and says what is allowed."""


Position = Literal["top-left", "top-right", "bottom-left", "bottom-right", "center", "tile"]


class Watermark(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A mark over every picture of a preset.

    `image` is a PNG in base64, best with transparency: a few hundred bytes, for it travels with the preset. `size` is
    its width and `opacity` its strength, both in percent: of the variant's width, and of what the PNG has.
    """

    image: str
    position: Position = "bottom-right"
    opacity: int = 50
    size: int = 20

    @property
    def content(self) -> bytes:
        """The PNG. Raises ValueError where it is none."""
        return base64.b64decode(self.image, validate=True)

    def problem(self) -> str | None:
        """What is wrong with it, in a few words."""
        for field, value in (("opacity", self.opacity), ("size", self.size)):
            if not 1 <= value <= 100:
                return f"{field} is {value}, not 1-100"
        try:
            content = self.content
        except binascii.Error as error:
            return f"image is not base64: {error}"
        sides = int.from_bytes(content[16:20], "big"), int.from_bytes(content[20:24], "big")
        if not content.startswith(_PNG) or not 1 <= min(sides) <= max(sides) <= _MAX_MARK_SIDE:
            return f"image is not a PNG of at most {_MAX_MARK_SIDE}x{_MAX_MARK_SIDE} pixels"
        if len(content) > _MAX_MARK:
            return f"image has {len(content)} bytes, not at most {_MAX_MARK}"
        return None if _whole(content) else "image is a PNG that is damaged or ends too early"


def _whole(png: bytes) -> bool:
    """Whether it can be decoded, as far as is seen without a decoder: one that cannot would fail every photo."""
    at, kind, pixels = len(_PNG), b"", b""
    while kind != b"IEND":
        length, kind = int.from_bytes(png[at : at + 4], "big"), png[at + 4 : at + 8]
        end = at + 8 + length
        if len(kind) < 4 or zlib.crc32(png[at + 4 : end]) != int.from_bytes(png[end : end + 4], "big"):
            return False
        pixels += png[at + 8 : end] if kind == b"IDAT" else b""
        at = end + 4
    inflater = zlib.decompressobj()
    try:
        inflater.decompress(pixels, _MAX_MARK_PIXELS)
    except zlib.error:
        return False
    return inflater.eof and png[8:16] == b"\0\0\0\rIHDR" and tuple(png[24:26]) in _KINDS_OF_PNG


class Preset(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One derivative: its box in pixels, how the picture is fitted into it, and how it is encoded.

    `inside` keeps all of the picture and its shape, `cover` fills the box and crops the rest, `pad` keeps all and fills
    the box with `background`. Nothing is enlarged unless `enlarge` says so. `background` (`#rrggbb`) also stands behind
    transparent pixels where the format has no alpha. `animated` keeps an animation moving that has at most `max_frames`
    frames and a reasonable size (WebP only); otherwise its first frame is taken. `eager` presets are made with the
    upload, the others on demand. `watermark` lies over the finished picture, over every frame of an animation.
    """

    name: str
    width: int
    height: int
    format: OutputFormat
    fit: Fit = "inside"
    quality: int = 80
    eager: bool = True
    enlarge: bool = False
    background: str = "#ffffff"
    animated: bool = False
    max_frames: int = 100
    watermark: Watermark | None = None

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueError(
                f"the name {self.name!r} is not 1-32 of a-z, 0-9, - and _, starting with one of the first two"
            )
        for field, least, value, most in (
            ("width", 1, self.width, _MAX_SIDE),
            ("height", 1, self.height, _MAX_SIDE),
            ("quality", 1, self.quality, 100),
            ("max_frames", 1, self.max_frames, 1000),
        ):
            if not least <= value <= most:
                raise ValueError(f"preset {self.name}: {field} is {value}, not {least}-{most}")
        if not _COLOR.fullmatch(self.background):
            raise ValueError(f"preset {self.name}: background is {self.background!r}, not #rrggbb in lower case")
        if self.animated and self.format != "webp":
            raise ValueError(f"preset {self.name}: only webp can be animated")
        if self.watermark is not None and (problem := self.watermark.problem()):
            raise ValueError(f"preset {self.name}: watermark: {problem}")

    @property
    def content_type(self) -> str:
        """The media type of its variants."""
        return _OUTPUTS[self.format][0]

    @property
    def extension(self) -> str:
        """What the names of its variants end in, without a dot."""
        return _OUTPUTS[self.format][1]


def parse_presets(json_text: str | bytes) -> tuple[Preset, ...]:
    """The presets in a JSON list of objects, in its order. Raises `PresetError`: it names the preset, the field, and
    what is allowed there.
    """
    try:
        given = msgspec.json.decode(json_text)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise PresetError(f"presets: not JSON: {error}") from None
    if not isinstance(given, list):
        raise PresetError("presets: must be a list of objects, one for each preset")
    if not 1 <= len(given) <= _MAX_PRESETS:
        raise PresetError(f"presets: there are {len(given)}, not 1-{_MAX_PRESETS}")
    presets = tuple(_preset(number, fields) for number, fields in enumerate(given, 1))
    twice = [name for name, count in Counter(preset.name for preset in presets).items() if count > 1]
    if twice:
        raise PresetError(f"presets: the name {twice[0]!r} is used twice")
    return presets


def _preset(number: int, fields: object) -> Preset:
    """One of the list."""
    given = fields if isinstance(fields, dict) else {}
    label = f"preset {given['name']}" if isinstance(given.get("name"), str) else f"preset number {number}"
    try:
        return msgspec.convert(fields, Preset)
    except msgspec.ValidationError as error:
        if error.__cause__ is not None:  # from `__post_init__`, which names preset and field itself
            raise PresetError(f"presets: {error.__cause__}") from None
        raise PresetError(f"presets: {label}: {_explained(str(error), given)}") from None


def _explained(text: str, given: object) -> str:
    """What msgspec says of one preset, with the field first and what may stand there."""
    reason, _, where = text.partition(" - at `$")
    path = [step for step in where.rstrip("`").split(".") if step]
    owner: Any = Preset
    for step in path if _UNKNOWN.fullmatch(reason) or _MISSING.fullmatch(reason) else path[:-1]:
        owner = _struct(get_type_hints(owner).get(step))
    within = f" in {'.'.join(path)}" if path else ""
    if unknown := _UNKNOWN.fullmatch(reason):
        return f"there is no field {unknown[1]!r}{within}; there are {', '.join(owner.__struct_fields__)}"
    if missing := _MISSING.fullmatch(reason):
        return f"{missing[1]} is missing{within}"
    if not path:
        return f"must be an object ({text})"
    field = ".".join(path)
    allowed = get_args(get_type_hints(owner).get(path[-1]))
    if allowed and all(isinstance(choice, str) for choice in allowed):
        value = given
        for step in path:
            value = value.get(step) if isinstance(value, dict) else None
        return f"{field} is {value!r}, not one of {', '.join(allowed)}"
    return f"{field}: {reason[:1].lower()}{reason[1:]}"


def _struct(hint: Any) -> Any:
    """The class of a field's values, where it is one of ours and may be missing: `X | None`."""
    return next((kind for kind in (hint, *get_args(hint)) if hasattr(kind, "__struct_fields__")), Preset)


def default_presets() -> tuple[Preset, ...]:
    """The presets that come with the code (`image_svc/presets.json`)."""
    return parse_presets(_DEFAULTS.read_bytes())
