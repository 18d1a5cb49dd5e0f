"""Money, quotas, tables, the figure and the command."""

from __future__ import annotations

import json
import re
from datetime import datetime
from functools import cache
from math import inf
from pathlib import Path
from xml.etree import ElementTree as ET
from zoneinfo import ZoneInfo

import pytest

from deploy.capacity import app, figure, quotas, report
from deploy.capacity.compare import ALWAYS_ON, REACTIVE, SCHEDULED, Comparison, compare
from deploy.capacity.inputs import DATA, Inputs, load
from deploy.capacity.money import bill, fleet_cost, level_hours, task_hour
from deploy.capacity.plan import Plan
from deploy.capacity.planner import build
from deploy.capacity.sizing import targets
from deploy.capacity.surprises import surprises

INPUTS = load()
MONTH = (2026, 12)


@cache
def default_plan() -> Plan:
    return build(INPUTS, datetime(2026, 11, 24, 9, tzinfo=ZoneInfo("Asia/Seoul")))


@cache
def small_month() -> Comparison:
    return compare(small(), MONTH, 1)


def small() -> Inputs:
    return INPUTS.model_copy(update={"forecast": INPUTS.forecast.model_copy(update={"images_per_month": 60_000})})


def test_a_task_hour_costs_its_cpu_and_memory_by_architecture() -> None:
    assert task_hour(INPUTS.policy.image_svc, INPUTS.prices) == pytest.approx(0.04656 + 2 * 0.00511)
    assert task_hour(INPUTS.policy.gateway, INPUTS.prices) == pytest.approx(0.5 * 0.03725 + 0.00409)


def test_the_fleets_price_is_its_hours_with_and_without_spot() -> None:
    outcome = small_month().outcomes[ALWAYS_ON]
    cost = fleet_cost(INPUTS, outcome)
    hour = task_hour(INPUTS.policy.image_svc, INPUTS.prices)
    assert cost.on_demand == pytest.approx(outcome.on_demand_hours * hour)
    assert cost.all_on_demand == pytest.approx(outcome.task_hours * hour)
    assert cost.total == pytest.approx(cost.on_demand + outcome.spot_hours * hour * 0.35)


def test_floor_hours_of_a_service_that_never_rises_are_its_floor() -> None:
    gateway = next(target for target in targets(INPUTS) if target.name == "gateway")
    assert level_hours(INPUTS, gateway, MONTH) == 2 * 31 * 24


def test_planned_worker_hours_agree_with_the_simulated_ones() -> None:
    workers = next(target for target in targets(INPUTS) if target.name == "image_svc")
    simulated = compare(INPUTS, MONTH, 1, only=[SCHEDULED]).outcomes[SCHEDULED].task_hours
    assert level_hours(INPUTS, workers, MONTH) == pytest.approx(simulated, rel=0.03)


def test_the_bill_holds_every_component_once_and_grows_with_the_images_only_where_it_says_so() -> None:
    lines = bill(small(), MONTH, small_month().outcomes[SCHEDULED])
    names = [line.component for line in lines]
    assert len(names) == len(set(names))
    twice = small().model_copy(update={"forecast": INPUTS.forecast.model_copy(update={"images_per_month": 120_000})})
    doubled = {line.component: line for line in bill(twice, MONTH, compare(twice, MONTH, 1).outcomes[SCHEDULED])}
    for line in lines:
        expected = 2.0 if line.kind == "volume" else 1.0
        if line.usd:
            assert doubled[line.component].usd / line.usd == pytest.approx(expected, rel=0.05), line.component


def test_quotas_come_in_the_order_in_which_growth_meets_them() -> None:
    met = quotas.table(INPUTS, MONTH, default_plan(), 100e6)
    assert [row.met_at for row in met] == sorted(row.met_at for row in met)
    for row in met:
        demand = quotas.DEMANDS[row.quota.demand]
        if 0 < row.met_at < inf:
            below, above = (
                demand(quotas.peak_at(INPUTS, MONTH, row.met_at * f, default_plan())) for f in (0.98, 1.001)
            )
            assert below <= row.quota.limit < above
        assert row.then >= row.now


def test_every_quota_names_a_demand_that_is_computed_and_a_remedy() -> None:
    for quota in INPUTS.quotas.quotas:
        assert quota.demand in quotas.DEMANDS
        assert len(quota.remedy) > 10


def test_a_share_is_never_rounded_up_to_an_objective_that_it_misses() -> None:
    assert report.percent(0.9989999) == "99.899 %"
    assert report.percent(0.999) == "99.900 %"
    assert report.percent(1.0) == "100.000 %"


def test_tables_have_as_many_cells_in_every_line() -> None:
    text = report.comparison_table(report.rows(INPUTS, [small_month()]))
    assert len({line.count("|") for line in text.splitlines()}) == 1
    assert len({len(line) for line in text.splitlines()}) == 1


def test_the_figure_is_well_formed_and_shows_the_three_strategies() -> None:
    svg = figure.draw(small(), small_month())
    root = ET.fromstring(svg)
    assert root.tag.endswith("svg")
    texts = [element.text for element in root.iter() if element.tag.endswith("text")]
    assert {REACTIVE, SCHEDULED, ALWAYS_ON} <= set(texts)
    assert "nan" not in svg.lower().replace("dominant", "")
    assert svg == figure.draw(small(), small_month())
    assert len(svg) < 300_000


def test_the_figure_stands_when_holidays_cut_the_peak_in_two() -> None:
    cut = compare(small(), (2028, 1), 1)  # peak days 24, 25 and 31: Seollal between them
    ET.fromstring(figure.draw(small(), cut))


def test_surprises_are_unknown_to_the_plan_and_touch_the_days_they_name() -> None:
    cases = {case.name: case for case in surprises(INPUTS, MONTH)}
    assert cases["as forecast"].day_factors == [1.0] * 31
    assert cases["peak days 2x the forecast"].day_factors == [1.0] * 28 + [2.0] * 3
    assert cases["the peak begins a working day early"].day_factors[27] == 10.0  # Monday, December 28
    drought = cases["no Spot at all for 10 min in the peak"].drought
    assert drought is not None
    assert (drought.start, drought.end) == (28 * 86400.0 + 14 * 3600, 28 * 86400.0 + 14 * 3600 + 600)


def own_inputs(tmp_path: Path) -> Path:
    text = (DATA / "forecast.toml").read_text(encoding="utf-8").replace("3_000_000", "40_000")
    (tmp_path / "forecast.toml").write_text(text, encoding="utf-8")
    return tmp_path


def test_the_command_prints_plan_comparison_bill_and_quotas_and_draws(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    svg = tmp_path / "deep" / "scaling.svg"
    arguments = ["--as-of", "2026-11-24T09:00", "--inputs", str(own_inputs(tmp_path)), "--figure", str(svg)]
    app.main([*arguments, "--seeds", "1"])
    text = capsys.readouterr().out
    for part in ("image_svc:", "cron(55 23 L * ? *)", "scheduled + reactive", "S3 storage", "Launches at once"):
        assert part in text
    assert "2026-12 simulated" in text
    assert svg.read_text(encoding="utf-8").startswith("<svg")


def test_the_command_prints_the_plan_as_json_and_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    app.main(["--as-of", "2026-11-24T09:00", "--json"])
    plan = json.loads(capsys.readouterr().out)
    assert [service["service"] for service in plan["services"]][-1] == "aurora"
    assert re.fullmatch(r"at\(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\)", plan["services"][3]["actions"][0]["schedule"])


def test_the_command_says_when_the_calendar_must_be_renewed(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    svg = tmp_path / "x.svg"
    app.main(["--as-of", "2028-01-15", "--inputs", str(own_inputs(tmp_path)), "--seeds", "1", "--figure", str(svg)])
    assert "ALARM: under 60, renew calendar.toml" in capsys.readouterr().out


@pytest.mark.parametrize("argument", [["--month", "2026-13"], ["--seeds", "0"], ["--as-of", "tomorrow"]])
def test_a_wrong_argument_ends_the_command_with_two(argument: list[str]) -> None:
    with pytest.raises(SystemExit) as left:
        app.main(argument)
    assert left.value.code == 2


def test_a_wrong_input_ends_the_command_with_two_and_its_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "forecast.toml").write_text("images_per_month = 1", encoding="utf-8")
    with pytest.raises(SystemExit) as left:
        app.main(["--inputs", str(tmp_path)])
    assert left.value.code == 2
    assert "forecast.toml" in capsys.readouterr().err
