"""Stretches of a listing, and which versions of a key go."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from image_svc.reconcile.listing import stretches
from image_svc.reconcile.model import Object, Page, Verdict, Version
from image_svc.reconcile.versions import superfluous

NOW = datetime(2026, 5, 1, tzinfo=UTC)
AGE = timedelta(hours=1)


@st.composite
def objects(draw: st.DrawFn) -> list[Object]:
    """Keys in order, each with its versions, newest first."""
    keys = draw(st.sets(st.from_regex(r"media/[ab]/[1-4]/[xyz]|media/q", fullmatch=True), max_size=15))
    return [Object(key, draw(versions(key))) for key in sorted(keys)]


@st.composite
def versions(draw: st.DrawFn, key: str = "k") -> tuple[Version, ...]:
    ages = sorted(draw(st.lists(st.integers(0, 200), min_size=1, max_size=4, unique=True)))
    return tuple(
        Version(key, f"{key}-{number}", NOW - timedelta(minutes=age), newest=number == 0, marker=draw(st.booleans()))
        for number, age in enumerate(ages)
    )


async def listed(found: Sequence[Object], size: int) -> list[tuple[list[Object], bool]]:
    flat = [version for one in found for version in one.versions]

    async def page(after: tuple[str, str] | None) -> Page:
        start = 0 if after is None else next(i for i, v in enumerate(flat) if (v.key, v.id) == after) + 1
        part = flat[start : start + size]
        more = start + size < len(flat)
        return Page(part, (part[-1].key, part[-1].id) if more else None)

    return [stretch async for stretch in stretches(page)]


@given(objects(), st.integers(1, 7))
def test_a_listing_comes_whole_in_order_and_never_ends_within_an_image(found: list[Object], size: int) -> None:
    got = asyncio.run(listed(found, size))
    assert [one for part, _ in got for one in part] == found
    assert [last for _, last in got] == [False] * (len(got) - 1) + [True]
    images = [{tuple(one.key.split("/")[:3]) for one in part} for part, _ in got]
    assert sum(map(len, images)) == len(set[tuple[str, ...]]().union(*images))


@given(versions(), st.sampled_from([Verdict.KEEP, Verdict.REMOVE, Verdict.ORDERED]))
def test_no_young_version_goes_and_what_stays_keeps_its_newest_bytes(
    of_key: tuple[Version, ...], verdict: Verdict
) -> None:
    one = Object("k", of_key)
    goes = superfluous(one, verdict, NOW, AGE)
    assert all(NOW - version.modified >= AGE for version in goes)
    stays = [version for version in of_key if version not in goes]
    bytes_ = [version for version in of_key if not version.marker]
    if verdict is Verdict.REMOVE or not bytes_:
        assert all(NOW - version.modified < AGE for version in stays)
    else:
        assert bytes_[0] in stays
    # Once done, and everything old, a second look finds no more to do.
    later = NOW + 2 * AGE
    second = superfluous(Object("k", tuple(stays)), verdict, later, AGE) if stays else []
    third = [version for version in stays if version not in second]
    assert not third or superfluous(Object("k", tuple(third)), verdict, later, AGE) == []


def test_a_kept_object_that_somebody_has_just_deleted_is_not_touched() -> None:
    marker = Version("k", "2", NOW - timedelta(minutes=1), newest=True, marker=True)
    under = Version("k", "1", NOW - timedelta(days=1), newest=False)
    assert superfluous(Object("k", (marker, under)), Verdict.KEEP, NOW, AGE) == []
    later = NOW + timedelta(hours=2)
    assert superfluous(Object("k", (marker, under)), Verdict.KEEP, later, AGE) == [marker]
