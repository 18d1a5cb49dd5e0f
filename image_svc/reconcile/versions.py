"""Which versions of a key go. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta

from image_svc.reconcile.model import Object, Verdict, Version


def superfluous(found: Object, verdict: Verdict, now: datetime, minimum_age: timedelta) -> list[Version]:
    """The versions to remove, none of them younger than the minimum age.

    All of a key that is to go. Of one that stays: what lies beneath its newest version, as nothing shows it any more;
    or, where that is a delete marker, whatever hides the bytes.
    """
    old = [version for version in found.versions if version.modified + minimum_age <= now]
    if verdict is Verdict.REMOVE or not found.there:
        return old
    shown = next(version for version in found.versions if not version.marker)
    above = found.versions[: found.versions.index(shown)]
    if any(version not in old for version in above):
        return []  # somebody has just deleted it: by the next run it is known why
    return [version for version in old if version is not shown]
