"""Variants made on demand: one more for an image that is READY.

There is no lease and no state of its own: two workers that make the same variant write the same bytes under the same
key, and the row takes the first. What must not happen is that a variant joins an image which was processed again
meanwhile, or that an object appears after a deletion's last purge. The number of the image's last attempt fences the
first; `render_until`, written before the work starts, tells a deletion how long to wait with its last purge.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from metadata_svc.domain.decision import Decision, booked, change, changed
from metadata_svc.domain.image import Image, State, Variant
from runtime.errors import DarkroomError, Kind


@dataclass(frozen=True, slots=True)
class Rendering:
    """The variant is to be made of the image as it now stands."""

    image: Image


def begin_rendering(image: Image | None, preset: str, now: datetime, lease: timedelta) -> Decision[Rendering | Variant]:
    """What is to be made, or the variant that is there. Objects may come into being for `lease` from now."""
    image = _ready(image)
    found = _named(image, preset)
    if found is not None:
        return Decision(found)
    if image.original_removed_at is not None:
        raise DarkroomError(Kind.WRONG_STATE, "the original was removed, so nothing more can be made of it")
    until = now + lease
    if image.render_until is not None and image.render_until >= until:
        return Decision(Rendering(image))
    after = booked(image, render_until=until)
    return Decision(Rendering(after), change(image, after))


def record_variant(image: Image | None, attempt: int, variant: Variant, now: datetime) -> Decision[Variant]:
    """Adds the variant, if the image is still the one that it was made of; the first of a name stays."""
    if image is None or image.state is not State.READY or image.attempt != attempt:
        raise DarkroomError(Kind.STALE_ATTEMPT, "the image was processed again, or deleted, meanwhile")
    found = _named(image, variant.name)
    if found is not None:
        return Decision(found)
    after = changed(image, now, variants=(*image.variants, variant))
    return Decision(variant, change(image, after))


def _ready(image: Image | None) -> Image:
    if image is None:
        raise DarkroomError(Kind.NOT_FOUND, "no such image")
    if image.state is State.DELETED:
        raise DarkroomError(Kind.GONE, "the image was deleted")
    if image.state is not State.READY:
        raise DarkroomError(
            Kind.WRONG_STATE, f"the image is {image.state.name}; variants are made of one that is READY"
        )
    return image


def _named(image: Image, name: str) -> Variant | None:
    return next((variant for variant in image.variants if variant.name == name), None)
