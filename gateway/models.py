"""The JSON of the API: what comes in, checked; what goes out."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from gateway.problems import FieldError, Refusal
from runtime.errors import Kind

ContentType = Literal[
    "image/jpeg", "image/png", "image/webp", "image/gif", "image/avif", "image/heic", "image/heif", "image/tiff"
]
CONTENT_TYPES: Final = frozenset(ContentType.__args__)  # type: ignore[attr-defined]  # typing has no public way
MAX_TAGS: Final = 20
MAX_PRESETS: Final = 32

Filename = Annotated[str, Meta(min_length=1, max_length=255)]
Sha256 = Annotated[str, Meta(pattern="^[0-9A-Fa-f]{64}$")]
TagKey = Annotated[str, Meta(min_length=1, max_length=128)]
TagValue = Annotated[str, Meta(max_length=128)]
Tags = Annotated[dict[TagKey, TagValue], Meta(max_length=MAX_TAGS)]

# What PostgreSQL cannot hold (NUL) and what makes one line of a log two.
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")


class NewImage(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Body of `POST /v1/images`."""

    filename: Filename
    content_type: str
    size: int
    sha256: Sha256 | None = None
    upload: str = "put"
    variants: Annotated[list[str], Meta(min_length=1, max_length=MAX_PRESETS)] | None = None
    tags: Tags = {}


class ImageChange(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Body of `PATCH /v1/images/{id}`."""

    tags: Tags


class Placeholder(msgspec.Struct):
    """What to show until a variant is there."""

    thumbhash: bytes
    color: str


class Variant(msgspec.Struct):
    """One derivative with its signed URL."""

    name: str
    content_type: str
    width: int
    height: int
    size: int
    url: str
    url_expires_at: datetime


class ImageProblem(msgspec.Struct):
    """Why an image is REJECTED or FAILED."""

    type: str
    title: str
    detail: str


class Image(msgspec.Struct):
    """An image as clients see it."""

    id: str
    state: str
    filename: str
    content_type: str
    size: int
    sha256: str | None
    format: str | None
    width: int | None
    height: int | None
    animated: bool | None
    placeholder: Placeholder | None
    perceptual_hash: str | None
    variants: list[Variant]
    problem: ImageProblem | None
    tags: dict[str, str]
    etag: str
    created_at: datetime
    updated_at: datetime
    ready_at: datetime | None


class Upload(msgspec.Struct):
    """A sealed ticket."""

    method: str
    url: str
    headers: dict[str, str]
    expires_at: datetime


class ImageWithUpload(msgspec.Struct):
    """An image and the ticket for its bytes."""

    image: Image
    upload: Upload | None


class ImageAlone(msgspec.Struct):
    """An image, where more may stand beside it one day."""

    image: Image


class ImagePage(msgspec.Struct):
    """A page of a list."""

    images: list[Image]
    next_page_token: str | None


class Deletion(msgspec.Struct):
    """The receipt of a removal."""

    receipt: str
    deleted_at: datetime


class Limits(msgspec.Struct):
    """What a tenant may have."""

    max_image_bytes: int
    max_images: int
    max_bytes: int
    requests_per_second: int


class Usage(msgspec.Struct):
    """What a tenant has."""

    images: int
    bytes: int
    limits: Limits


encoder: Final = msgspec.json.Encoder()
_new_image: Final = msgspec.json.Decoder(NewImage)
_image_change: Final = msgspec.json.Decoder(ImageChange)
# msgspec's texts end with the path of what is wrong: " - at `$.tags[...]`".
_WHERE: Final = re.compile(r" - at (?:`key` in )?`\$([^`]*)`$")
_FIELD: Final = re.compile(r"(?:unknown|missing required) field `([^`]*)`")
_STEP: Final = re.compile(r"\.([A-Za-z0-9_]+)|\[(\d+|\.\.\.)\]")


def new_image(body: bytes) -> NewImage:
    """The body of `POST /v1/images`, with its shape checked. Raises `Refusal`."""
    image: NewImage = _decoded(_new_image, body)
    if has_control(image.filename):
        raise _malformed("/filename", "must not contain control characters")
    _check_tags(image.tags)
    return image


def image_change(body: bytes) -> ImageChange:
    """The body of `PATCH /v1/images/{id}`, with its shape checked. Raises `Refusal`."""
    change: ImageChange = _decoded(_image_change, body)
    _check_tags(change.tags)
    return change


def has_control(text: str) -> bool:
    """Whether the text has a control character."""
    return _CONTROL.search(text) is not None


def _check_tags(tags: dict[str, str]) -> None:
    for key, value in tags.items():
        if has_control(key) or has_control(value):
            raise _malformed(f"/tags/{_escaped(key)}", "must not contain control characters")


def _decoded(decoder: msgspec.json.Decoder[Any], body: bytes) -> Any:
    try:
        decoded = decoder.decode(body)
        encoder.encode(decoded)  # lone surrogates pass the decoder and nothing after it
    except msgspec.ValidationError as error:
        raise _malformed(*_located(str(error), body)) from None
    except (msgspec.DecodeError, UnicodeError) as error:
        raise Refusal(Kind.MALFORMED, f"The body is not valid JSON: {error}") from None
    except RecursionError:
        raise Refusal(Kind.MALFORMED, "The body is nested too deeply.") from None
    return decoded


def _located(text: str, body: bytes) -> tuple[str, str]:
    """The pointer and the reason in a text of msgspec's, which names neither a field too many nor the key of a map."""
    where = _WHERE.search(text)
    path, reason = ("", text) if where is None else (where[1], text[: where.start()])
    pointer = "".join(f"/{name or index}" for name, index in _STEP.findall(path))
    field = _FIELD.search(reason)
    if field is not None:
        pointer += f"/{_escaped(field[1])}"
    elif pointer == "/tags/...":
        pointer = f"/tags/{_escaped(_wrong_tag(body))}"
    return pointer, f"{reason[0].lower()}{reason[1:]}"


def _wrong_tag(body: bytes) -> str:
    """The key of the first tag that is not acceptable."""
    for key, value in msgspec.json.decode(body)["tags"].items():
        try:
            msgspec.convert({key: value}, Tags)
        except msgspec.ValidationError:
            return str(key)
    return ""


def _escaped(key: str) -> str:
    return _CONTROL.sub("?", key).replace("~", "~0").replace("/", "~1")


def _malformed(pointer: str, detail: str) -> Refusal:
    return Refusal(Kind.MALFORMED, "The body does not have the right shape.", errors=[FieldError(pointer, detail)])
