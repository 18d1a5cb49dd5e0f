"""A bucket's listing, in stretches of whole images, whatever its size: one page is held at a time."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from itertools import groupby
from typing import Final

from image_svc.reconcile.model import Object, Page, Version

# `incoming/{tenant}/{image}` and `media/{tenant}/{image}/…`: these many parts of a key name its image.
_PARTS: Final = 3


async def stretches(
    page: Callable[[tuple[str, str] | None], Awaitable[Page]],
) -> AsyncIterator[tuple[list[Object], bool]]:
    """Objects in the order of their keys, and whether they are the last. A stretch never ends within an image: the
    last image of a page waits for the next one.
    """
    held: list[Version] = []
    after: tuple[str, str] | None = None
    while True:
        found = await page(after)
        held += found.versions
        after = found.after
        if after is None:
            yield _objects(held), True
            return
        whole = _whole(held)
        if whole:
            yield _objects(held[:whole]), False
            held = held[whole:]


def _whole(versions: Sequence[Version]) -> int:
    """How many versions there are before those of the last image."""
    last = _image(versions[-1].key) if versions else None
    count = len(versions)
    while count and _image(versions[count - 1].key) == last:
        count -= 1
    return count


def _image(key: str) -> list[str]:
    return key.split("/", _PARTS)[:_PARTS]


def _objects(versions: Sequence[Version]) -> list[Object]:
    return [Object(key, tuple(group)) for key, group in groupby(versions, key=lambda version: version.key)]
