import asyncio
import datetime as dt
import os
import sys
import time
import uuid
from pathlib import Path
from typing import Any, Final

import aiohttp

from deploy.demo import facts, page
from deploy.demo.client import CallFailed, Client
from deploy.local.cluster import Cluster, ClusterError
from deploy.local.layout import DEFAULT, Layout
from deploy.local.provision import Provisioned, ProvisionError
from deploy.local.readiness import NotReady
from deploy.local.report import table
from deploy.setup.console import say, step

_PHOTOS: Final = Path(__file__).with_name("photos")
_TYPES: Final = {".jpg": "image/jpeg", ".heic": "image/heic"}
_PAGE: Final = DEFAULT / "demo" / "index.html"


class Stages:
    """Prints a line for each stage with its time, and keeps them for the page."""

    def __init__(self) -> None:
        self.kept: list[tuple[str, float]] = []
        self._started = time.perf_counter()

    def done(self, what: str, said: str) -> None:
        """The stage that has just ended, and what came of it."""
        now = time.perf_counter()
        milliseconds = (now - self._started) * 1000
        self.kept.append((what, milliseconds))
        say(f"  {milliseconds:7.0f} ms  {what:<42} {said}")
        self._started = time.perf_counter()


async def _develop(client: Client, photo: Path, content: bytes) -> page.Story:
    """One photograph, all the way. Raises `CallFailed`."""
    before = facts.read(content)
    say(f"\n{photo.name}  ({before.format}, {before.width}x{before.height}, {page.size(len(content))})")
    stages = Stages()
    made = await client.register(photo.name, _TYPES[photo.suffix], content, key=f"demo-{uuid.uuid4()}")
    ticket = made["upload"]
    stages.done("register: POST /v1/images", f"201, image {made['image']['id']}")
    answer = await client.upload(ticket, content)
    stages.done("upload: PUT straight to S3", f"{answer.status}, {len(ticket['headers'])} headers sealed")
    image = await client.settled(made["image"]["id"])
    stages.done("develop: S3 event, SQS, image_svc", image["state"])
    if image["state"] != "READY":
        raise CallFailed(f"{photo.name} ended {image['state']}: {image['problem']}")
    variants = [await _fetched(client, variant) for variant in image["variants"]]
    stages.done("fetch: variants by signed URLs", f"{len(variants)} pictures")
    status = await client.replay(ticket, content)
    stages.done("replay: the same ticket again", f"{status}, refused" if status == 412 else f"{status}: NOT REFUSED")
    _print_variants(before, variants)
    return page.Story(
        name=photo.name,
        original=before,
        preview=facts.preview(content),
        image=image,
        variants=tuple(variants),
        stages=tuple(stages.kept),
        refusal=f"refused with {status}" if status == 412 else f"status {status}",
    )


async def _fetched(client: Client, variant: dict[str, Any]) -> page.Variant:
    content = (await client.fetch(variant["url"])).body
    return page.Variant(variant["name"], variant["content_type"], content, facts.read(content))


def _print_variants(before: facts.Facts, variants: list[page.Variant]) -> None:
    rows: list[tuple[str, ...]] = [("picture", "format", "pixels", "size", "of original", "metadata")]
    original = page.Variant("original", "", b"", before)
    for variant in (original, *variants):
        seen = variant.facts
        share = f"{100 * seen.size / before.size:.1f} %"
        what = ", ".join(seen.metadata) or "none"
        rows.append((variant.name, seen.format, f"{seen.width}x{seen.height}", page.size(seen.size), share, what))
    text = table(rows, right=("pixels", "size", "of original"))
    say("\n".join(["", *(f"  {line}" for line in text.splitlines())]))


async def _run(made: Provisioned, photos: dict[Path, bytes]) -> list[page.Story]:
    async with aiohttp.ClientSession(auto_decompress=False) as http:
        client = Client(http, made.api_url, made.api_key)
        return [await _develop(client, photo, content) for photo, content in photos.items()]


def main() -> int:
    """Runs the demo; returns the exit status."""
    started = time.monotonic()
    say("Darkroom: the main job on real photographs\n\nThe cluster (what runs already is left alone)")
    try:
        made = Cluster(Layout(DEFAULT), step).up()
        photos = {path: path.read_bytes() for path in sorted(_PHOTOS.iterdir()) if path.suffix in _TYPES}
        stories = asyncio.run(_run(made, photos))
    except (CallFailed, ClusterError, NotReady, ProvisionError, RuntimeError, TimeoutError) as error:
        print(f"\nThe demo stopped: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    _PAGE.parent.mkdir(parents=True, exist_ok=True)
    now = dt.datetime.now().astimezone()
    _PAGE.write_text(page.render(stories, now.strftime("Made on %Y-%m-%d at %H:%M.")))
    say(
        f"\nAll {len(stories)} photographs are READY, {time.monotonic() - started:.1f} s in all."
        f"\nOriginals and variants side by side: {os.path.relpath(_PAGE)}"
        "\nThe cluster stays up: `make status`, `make logs`; `make down` ends it."
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
