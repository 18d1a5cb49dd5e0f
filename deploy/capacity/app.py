"""Composition root of `python -m deploy.capacity`: arguments in, tables and the figure out."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from datetime import date, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from deploy import generated
from deploy.capacity import figure, money, quotas, report
from deploy.capacity.business_calendar import next_month
from deploy.capacity.compare import ALWAYS_ON, SCHEDULED, compare, leanest_always_on
from deploy.capacity.inputs import InputError, Inputs, load
from deploy.capacity.plan import Plan
from deploy.capacity.planner import Month, PlanError, build
from deploy.capacity.surprises import surprise_table

FIGURE = Path(__file__).parents[2] / "docs" / "img" / "scaling.svg"
DOCUMENT = Path(__file__).parents[2] / "docs" / "scaling.md"
QUOTAS = "quotas"
BILL = "bill"
PAPER_PLAN_IMAGES = 100e6
# The month of the document's tables is December 2026.
DOCUMENTED_AT = datetime.fromisoformat("2026-11-24T09:00+09:00")


def main(argv: Sequence[str] | None = None) -> None:
    """Runs the command; exits with 2 and one clear text when an input is wrong."""
    try:
        _run(_arguments(argv))
    except (InputError, PlanError) as error:
        print(f"capacity: {error}", file=sys.stderr)
        raise SystemExit(2) from None


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m deploy.capacity", description="Capacity plan and month simulation."
    )
    parser.add_argument("--inputs", type=Path, metavar="DIR", help="own data files; what is missing is the default's")
    parser.add_argument("--measured", type=Path, metavar="FILE", help="a benchmark's JSON, see docs/scaling.md")
    parser.add_argument("--as-of", type=datetime.fromisoformat, help="moment of deployment; now, if not given")
    parser.add_argument("--month", type=_month, metavar="YYYY-MM", help="month to simulate; the next, if not given")
    parser.add_argument("--seeds", type=int, default=3, metavar="N", help="months to simulate (seeds 1 to N; 3)")
    parser.add_argument("--surprises", action="store_true", help="also simulate forecasts that prove wrong")
    parser.add_argument("--json", action="store_true", help="print the plan as JSON, nothing else")
    parser.add_argument("--figure", type=Path, default=FIGURE, metavar="FILE", help="where the SVG goes")
    arguments = parser.parse_args(argv)
    if arguments.seeds < 1:
        parser.error("--seeds: at least 1")
    return arguments


def _month(text: str) -> Month:
    try:
        first = date.fromisoformat(f"{text}-01")
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a month, e.g. 2026-12") from None
    return first.year, first.month


def _run(arguments: argparse.Namespace) -> None:
    inputs = load(arguments.inputs, arguments.measured)
    zone = ZoneInfo(inputs.calendar.time_zone)
    as_of: datetime = arguments.as_of or datetime.now(zone)
    if as_of.tzinfo is None:
        as_of = as_of.replace(tzinfo=zone)
    plan = build(inputs, as_of)
    if arguments.json:
        print(plan.model_dump_json(indent=2))
        return
    _print_plan(inputs, plan)
    month: Month = arguments.month or next_month(plan.as_of.year, plan.as_of.month)
    _simulate(inputs, plan, month, arguments)


def _print_plan(inputs: Inputs, plan: Plan) -> None:
    measured, horizon = inputs.measured, plan.horizon
    print(
        f"Plan as of {plan.as_of:%Y-%m-%d %H:%M} {plan.time_zone}, {inputs.forecast.images_per_month:,} images a month"
    )
    print(f"One vCPU does {measured.rate_per_vcpu:.2f} images/s ({measured.seconds_per_image * 1000:.0f} ms each)\n")
    print(report.plan_table(plan))
    print("\nimage_svc:")
    print(report.action_list(plan, "image_svc"))
    print(f"\nFrom {horizon.fallback_from} on only the fallback serves: {horizon.days_left} days.", end=" ")
    print(
        f"ALARM: under {horizon.alarm_days}, renew calendar.toml." if horizon.due else f"Alarm at {horizon.alarm_days}."
    )


def _simulate(inputs: Inputs, plan: Plan, month: Month, arguments: argparse.Namespace) -> None:
    comparisons = [compare(inputs, month, seed) for seed in range(1, arguments.seeds + 1)]
    rows = report.rows(inputs, comparisons)
    up_to = comparisons[0].outcomes[ALWAYS_ON].strategy.initial
    rows.append(report.row(inputs, [leanest_always_on(inputs, comparisons[0].workload, up_to)]))
    print(
        f"\n{month[0]}-{month[1]:02d} simulated, workers only (worst of {arguments.seeds} seeds; hours and USD: mean)\n"
    )
    print(report.comparison_table(rows))
    lines = money.bill(inputs, month, comparisons[0].outcomes[SCHEDULED])
    print(f"\nBill with scheduled + reactive, USD in {inputs.prices.region} as of {inputs.prices.as_of}\n")
    print(report.bill_table(lines, len(comparisons[0].workload.put)))
    print("\nQuotas, the first to be met first\n")
    print(paper_plan(inputs, month, plan))
    if arguments.surprises:
        print("\nWhen the forecast is wrong (seed 1; READY <= 30 s, p99.9 s, worst backlog)\n")
        print(surprise_table(inputs, month))
    arguments.figure.parent.mkdir(parents=True, exist_ok=True)
    arguments.figure.write_text(figure.draw(inputs, comparisons[0]), encoding="utf-8")
    print(f"\nFigure: {arguments.figure}")
    if arguments.inputs is None and arguments.measured is None:  # the document is about our own figures
        generated.write(DOCUMENT, QUOTAS, documented_quotas(inputs))
        generated.write(DOCUMENT, BILL, documented_bill(inputs))
        print(f"Bill and quotas: {DOCUMENT}")


def paper_plan(inputs: Inputs, month: Month, plan: Plan) -> str:
    """Every quota that is met on the way to the paper plan's volume, with what to do."""
    met = quotas.table(inputs, month, plan, PAPER_PLAN_IMAGES)
    now = inputs.forecast.images_per_month
    return f"{report.quota_table(met, now, PAPER_PLAN_IMAGES)}\n\n{report.remedy_list(met)}"


def documented_quotas(inputs: Inputs) -> str:
    """The same for the document: as of a moment that does not move with the clock."""
    plan = build(inputs, DOCUMENTED_AT)
    return paper_plan(inputs, next_month(DOCUMENTED_AT.year, DOCUMENTED_AT.month), plan)


def documented_bill(inputs: Inputs) -> str:
    """The bill of that month, of one simulation."""
    month = next_month(DOCUMENTED_AT.year, DOCUMENTED_AT.month)
    found = compare(inputs, month, 1, only=(SCHEDULED,))
    return report.bill_table(money.bill(inputs, month, found.outcomes[SCHEDULED]), len(found.workload.put))
