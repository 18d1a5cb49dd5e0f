"""`make costs`: what dev and prod cost a month, into the table of docs/aws.md (synthesises both: half a minute)."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Final

from deploy import generated
from deploy.capacity.inputs import Inputs, load
from deploy.capacity.planner import Month
from deploy.capacity.report import grid
from deploy.capacity.standing import Item, Templates, busy, standing
from deploy.cdk.synth import synthesise
from deploy.gates.gate import environment

DOCUMENT: Final = Path(__file__).resolve().parents[2] / "docs" / "aws.md"
BLOCK: Final = "costs"
# A month whose calendar is known, so that the table says the same whenever it is made.
MONTH: Final[Month] = (2026, 12)
DEV_IMAGES: Final = 30_000
PROD_IMAGES: Final = 3_000_000
PAPER_IMAGES: Final = 100_000_000


def table(inputs: Inputs, dev: Templates, prod: Templates) -> str:
    """The table as Markdown: a column for each case, a line for each component."""
    columns: dict[str, list[Item]] = {
        "dev, idle": standing(inputs, dev),
        f"dev, {DEV_IMAGES:,} images": busy(inputs, dev, MONTH, DEV_IMAGES),
        "prod, idle": standing(inputs, prod),
        f"prod, {PROD_IMAGES / 1e6:g} M images": busy(inputs, prod, MONTH, PROD_IMAGES),
        f"prod, {PAPER_IMAGES / 1e6:g} M images": busy(inputs, prod, MONTH, PAPER_IMAGES),
    }
    # What stands there first, in prod's order, then what grows with the images.
    order = [*columns["prod, idle"], *(item for items in columns.values() for item in items)]
    components = dict.fromkeys(item.component for item in order)
    body = []
    for component in components:
        cells = [sum(item.usd for item in items if item.component == component) for items in columns.values()]
        body.append((component, *(f"{usd:,.0f}" if usd >= 0.5 else "<1" if usd else "0" for usd in cells)))
    body.append(("**all, USD a month**", *(f"{sum(i.usd for i in items):,.0f}" for items in columns.values())))
    counted = "; ".join(f"{item.component}: {item.quantity}" for item in columns["prod, idle"])
    prices = inputs.prices
    return (
        f"{grid(('', *columns), body)}\n\n"
        f"USD in {prices.region} without tax, free tiers and discounts, prices of {prices.as_of}. "
        f"Counted in prod's templates: {counted}."
    )


def main() -> None:
    """Writes the table."""
    with tempfile.TemporaryDirectory() as folder:
        made = {name: synthesise(environment(name), Path(folder, name)).templates for name in ("dev", "prod")}
    text = table(load(), made["dev"], made["prod"])
    generated.write(DOCUMENT, BLOCK, text)
    print(text)
    print(f"\nwrote {DOCUMENT}")


if __name__ == "__main__":
    main()
