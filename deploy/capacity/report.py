"""The tables that `make plan` prints. Pure: results in, text out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import isinf
from statistics import fmean

from deploy.capacity.compare import ALWAYS_ON, OBJECTIVE_SECONDS, Comparison
from deploy.capacity.inputs import Inputs
from deploy.capacity.money import Line, fleet_cost
from deploy.capacity.plan import Plan
from deploy.capacity.quotas import Met
from deploy.capacity.simulation import Outcome

SHOWN_ACTIONS = 6


@dataclass(frozen=True)
class Row:
    """One strategy over several seeds: the worst of what is promised, the mean of what is paid."""

    name: str
    tasks: str
    p50: float
    p99: float
    p999: float
    within: float
    worst_backlog: int
    task_hours: float
    usd: float
    usd_on_demand: float


def rows(inputs: Inputs, comparisons: Sequence[Comparison]) -> list[Row]:
    """One row a strategy, in the order of the comparison."""
    return [row(inputs, [c.outcomes[name] for c in comparisons]) for name in comparisons[0].outcomes]


def row(inputs: Inputs, outcomes: Sequence[Outcome]) -> Row:
    """The row of one strategy."""
    costs = [fleet_cost(inputs, outcome) for outcome in outcomes]
    least = min(float(o.tasks.min()) for o in outcomes)
    most = max(float(o.tasks.max()) for o in outcomes)
    constant = not outcomes[0].strategy.reactive
    return Row(
        name=outcomes[0].strategy.name,
        tasks=f"{outcomes[0].strategy.initial}" if constant else f"{least:.0f}-{most:.0f}",
        p50=max(o.percentile(50) for o in outcomes),
        p99=max(o.percentile(99) for o in outcomes),
        p999=max(o.percentile(99.9) for o in outcomes),
        within=min(o.share_within(OBJECTIVE_SECONDS) for o in outcomes),
        worst_backlog=max(o.worst_backlog for o in outcomes),
        task_hours=fmean(o.task_hours for o in outcomes),
        usd=fmean(cost.total for cost in costs),
        usd_on_demand=fmean(cost.all_on_demand for cost in costs),
    )


def comparison_table(found: Sequence[Row]) -> str:
    """The strategies side by side; shares are of the fleet that is always on."""
    base = next(row for row in found if row.name == ALWAYS_ON)
    head = ("strategy", "tasks", "p50 s", "p99 s", "p99.9 s", "READY <= 30 s", "worst backlog", "task hours")
    body = [
        (
            r.name,
            r.tasks,
            f"{r.p50:.1f}",
            f"{r.p99:.1f}",
            f"{r.p999:.1f}",
            percent(r.within),
            f"{r.worst_backlog:,}",
            f"{r.task_hours:,.0f}",
            f"{r.usd:,.0f}",
            f"{r.usd / base.usd:.0%}",
            f"{r.usd_on_demand:,.0f}",
            f"{r.usd_on_demand / base.usd_on_demand:.0%}",
        )
        for r in found
    ]
    return grid((*head, "USD", "share", "USD no Spot", "share"), body)


def percent(share: float) -> str:
    """A share near one, cut, never rounded up to an objective it does not meet."""
    return f"{int(share * 1e5) / 1e3:.3f} %"


def plan_table(plan: Plan) -> str:
    """Minimum and maximum by service."""
    body = [
        (s.service, s.unit, f"{s.floor:g}", f"{s.peak:g}", f"{s.maximum:g}", str(len(s.actions)), s.mechanism)
        for s in plan.services
    ]
    return grid(("service", "unit", "floor", "peak", "maximum", "actions", "by"), body)


def action_list(plan: Plan, service: str) -> str:
    """The first one-time actions and all recurring ones of a service."""
    actions = plan.service(service).actions
    once = [a for a in actions if a.start is None and a.schedule.startswith("at(")]
    again = [a for a in actions if a.schedule.startswith("cron(")]
    lines = [f"  {a.schedule:<36} minimum {a.minimum:g}" for a in once[:SHOWN_ACTIONS]]
    if len(once) > SHOWN_ACTIONS:
        lines.append(f"  ... {len(once) - SHOWN_ACTIONS} more (--json shows all), the last {once[-1].schedule}")
    for a in again:
        since = f", from {a.start.date()}" if a.start else ""
        lines.append(f"  {a.schedule:<36} minimum {a.minimum:g}{since}")
    return "\n".join(lines)


def bill_table(lines: Iterable[Line], images: int) -> str:
    """The month's bill by component, and per million images."""
    lines = list(lines)
    body: list[tuple[str, ...]] = [
        (line.component, line.kind, f"{line.usd:,.2f}", f"{line.usd / images * 1e6:,.2f}") for line in lines if line.usd
    ]
    total = sum(line.usd for line in lines)
    fixed = sum(line.usd for line in lines if line.kind == "fixed")
    body += [
        ("all that grows with the images", "", f"{total - fixed:,.2f}", f"{(total - fixed) / images * 1e6:,.2f}"),
        ("all", "", f"{total:,.2f}", f"{total / images * 1e6:,.2f}"),
    ]
    return grid(("component", "kind", "USD a month", "USD per million images"), body)


def quota_table(met: Iterable[Met], now: float, then: float) -> str:
    """Quotas in the order in which growth meets them."""
    body = [
        (
            m.quota.service,
            m.quota.name,
            f"{m.quota.limit:,.0f}",
            number(m.now),
            number(m.then),
            "never" if isinf(m.met_at) else "from the start" if m.met_at == 0 else f"{m.met_at / 1e6:,.1f} M",
            "yes" if m.quota.adjustable else "no",
        )
        for m in met
    ]
    head = ("service", "quota", "default", f"at {now / 1e6:g} M", f"at {then / 1e6:g} M", "met at", "adjustable")
    return grid(head, body)


def remedy_list(met: Iterable[Met]) -> str:
    """What to do about each quota, in the same order."""
    lines = []
    for m in met:
        code = f" ({m.quota.code})" if m.quota.code else ""
        lines.append(f"- **{m.quota.service}: {m.quota.name}**{code}. {m.quota.remedy}")
    return "\n".join(lines)


def number(value: float) -> str:
    """A figure to two or three digits."""
    return f"{value:,.0f}" if value >= 10 else f"{value:.2g}"


def grid(head: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    """A Markdown table with aligned columns; the first is to the left, figures are to the right."""
    columns = [[title, *(line[i] for line in body)] for i, title in enumerate(head)]
    widths = [max(map(len, column)) for column in columns]
    left = [sum(cell[:1].isdigit() for cell in column[1:]) * 2 < len(column) - 1 for column in columns]

    def line(cells: Sequence[str]) -> str:
        padded = [c.ljust(w) if to_left else c.rjust(w) for c, w, to_left in zip(cells, widths, left, strict=True)]
        return f"| {' | '.join(padded)} |"

    rule = [("-" * w) if to_left else "-" * (w - 1) + ":" for w, to_left in zip(widths, left, strict=True)]
    return "\n".join([line(head), f"| {' | '.join(rule)} |", *(line(cells) for cells in body)])
