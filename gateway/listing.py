"""The query of `GET /v1/images`: filters and page, checked."""

from __future__ import annotations

import re
from typing import Final

from darkroom.metadata.v1 import metadata_pb2 as pb
from multidict import MultiMapping

from gateway import models, problems
from gateway.ids import known_form

MAX_PAGE: Final = 100
_STATES: Final = tuple(
    name for name, number in pb.Image.State.items() if number not in {pb.Image.STATE_UNSPECIFIED, pb.Image.DELETED}
)
_ONCE: Final = ("state", "sha256", "similar_to", "page_size", "page_token")
_NAMES: Final = (*_ONCE, "tag")
_DIGITS: Final = re.compile(r"[0-9]{1,9}")
_SHA256: Final = re.compile(r"[0-9A-Fa-f]{64}")
_TOKEN: Final = re.compile(r"[!-~]{1,1024}")


def query(given: MultiMapping[str]) -> pb.ListImagesRequest:
    """What is asked for, for metadata_svc, less the tenant. Raises `Refusal` (400, or 404 for a strange image id)."""
    for name in given:
        if name not in _NAMES:
            raise problems.malformed(f"/{name}", f"is not a parameter here; there are {', '.join(_NAMES)}")
    for name in _ONCE:
        if len(given.getall(name, [])) > 1:
            raise problems.malformed(f"/{name}", "may be given once")
    wanted = pb.ListImagesRequest(tags=_tags(given.getall("tag", [])))
    if "state" in given:
        if given["state"] not in _STATES:
            raise problems.malformed("/state", f"must be one of {', '.join(_STATES)}")
        wanted.state = pb.Image.State.Value(given["state"])
    if "sha256" in given:
        wanted.sha256 = bytes.fromhex(_matching(given, "sha256", _SHA256, "must be 64 hexadecimal digits"))
    if "similar_to" in given:
        wanted.similar_to = known_form(given["similar_to"])
    if "page_token" in given:
        wanted.page_token = _matching(given, "page_token", _TOKEN, "must be the next_page_token of a page")
    if "page_size" in given:
        reason = f"must be 1 to {MAX_PAGE}"
        wanted.page_size = int(_matching(given, "page_size", _DIGITS, reason))
        if not 1 <= wanted.page_size <= MAX_PAGE:
            raise problems.malformed("/page_size", reason)
    return wanted


def _matching(given: MultiMapping[str], name: str, form: re.Pattern[str], reason: str) -> str:
    if not form.fullmatch(given[name]):
        raise problems.malformed(f"/{name}", reason)
    return given[name]


def _tags(given: list[str]) -> dict[str, str]:
    tags: dict[str, str] = {}
    for tag in given:
        key, colon, value = tag.partition(":")
        if not colon or not key or models.has_control(tag):
            raise problems.malformed("/tag", "must be key:value, without control characters")
        if tags.setdefault(key, value) != value:
            raise problems.malformed("/tag", "asks for two values of one key")
    if len(tags) > models.MAX_TAGS:
        raise problems.malformed("/tag", f"may be given at most {models.MAX_TAGS} times")
    return tags
