"""What the environments cost: counted in their templates, priced by the dated table, and said so in docs/aws.md."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from deploy import generated
from deploy.capacity import app, costs, quotas
from deploy.capacity.inputs import Inputs, load
from deploy.capacity.standing import FREE, PRICED, UnpricedError, standing
from deploy.gates.gate import environment

Templates = dict[str, dict[str, Any]]
INPUTS = load()
MONTH_HOURS = 730


def usd(templates: Templates) -> dict[str, float]:
    return {item.component: item.usd for item in standing(INPUTS, templates)}


def test_the_costs_in_the_guide_are_those_of_the_present_templates(dev: Templates, prod: Templates) -> None:
    said = generated.block(costs.DOCUMENT.read_text(encoding="utf-8"), costs.BLOCK)
    assert said.strip() == costs.table(INPUTS, dev, prod), "run `make costs` and commit what it writes"


@pytest.mark.parametrize(("name", "made"), [(app.QUOTAS, app.documented_quotas), (app.BILL, app.documented_bill)])
def test_the_tables_in_the_guide_are_those_of_the_present_inputs(name: str, made: Callable[[Inputs], str]) -> None:
    said = generated.block(app.DOCUMENT.read_text(encoding="utf-8"), name)
    assert said.strip() == made(INPUTS), "run `make plan` and commit what it writes"


def test_the_usage_that_the_plan_prices_is_that_of_production(prod: Templates) -> None:
    fixed, counted = INPUTS.usage.fixed, {item.component: item.quantity for item in standing(INPUTS, prod)}
    assert counted["Interface endpoints"] == (
        f"{fixed.interface_endpoints} services, {fixed.interface_endpoints * fixed.zones} interfaces"
    )
    assert counted["NAT gateways and their addresses"] == f"{fixed.nat_gateways}"
    assert counted["Alarms"] == f"{fixed.alarms} metrics"
    assert counted["Secrets and keys"] == f"{fixed.secrets} and {fixed.kms_keys}"


def test_what_is_not_priced_stops_the_count(prod: Templates) -> None:
    more = copy.deepcopy(prod)
    more["Core"]["Resources"]["Warehouse"] = {"Type": "AWS::Redshift::Cluster", "Properties": {}}
    with pytest.raises(UnpricedError, match="AWS::Redshift::Cluster"):
        standing(INPUTS, more)


def test_nothing_is_priced_and_free() -> None:
    assert not PRICED & FREE


def test_a_gateway_taken_away_takes_its_price_away(prod: Templates) -> None:
    less = copy.deepcopy(prod)
    for template in less.values():
        resources = template["Resources"]
        for name in [n for n, item in resources.items() if item["Type"] in {"AWS::EC2::NatGateway", "AWS::EC2::EIP"}]:
            del resources[name]
    saved = sum(usd(prod).values()) - sum(usd(less).values())
    prices = INPUTS.prices
    assert saved == pytest.approx(3 * MONTH_HOURS * (prices.nat_hour + prices.public_address_hour))


def test_idle_capacity_is_the_minimum_of_each_service(prod: Templates) -> None:
    size, prices = environment("prod").gateway, INPUTS.prices  # type: ignore[attr-defined] # prod is an AWS one
    hour = size.cpu / 1024 * prices.fargate_arm_vcpu_hour + size.memory / 1024 * prices.fargate_arm_gb_hour
    assert usd(prod)["Fargate gateway"] == pytest.approx(size.min_tasks * hour * MONTH_HOURS)


def test_dev_costs_less_than_a_third_of_prod_when_nothing_comes_in(dev: Templates, prod: Templates) -> None:
    assert sum(usd(dev).values()) < sum(usd(prod).values()) / 3


def test_quotas_that_are_our_own_settings_have_their_values(prod: Templates) -> None:
    env = environment("prod")
    named = {quota.name: quota.limit for quota in INPUTS.quotas.quotas}
    database = env.database  # type: ignore[attr-defined] # prod is an AWS one
    assert named["ACUs per instance (prod's maximum)"] == database.max_acu
    assert named["max_connections, from 1 to 32 ACU as prod has it"] == database.max_connections
    assert database.app_pool_size + database.maintenance_pool_size == quotas.POOL
    blocks = [
        item["Properties"]["CidrBlock"]
        for item in prod["Network"]["Resources"].values()
        if item["Type"] == "AWS::EC2::Subnet"
    ]
    tasks = [block for block in blocks if block.endswith("/19")]
    assert named["Addresses in three private /19 subnets"] == len(tasks) * (2**13 - 5)  # AWS keeps five of each


def test_a_block_is_replaced_between_its_marks_alone(tmp_path: Path) -> None:
    path = tmp_path / "page.md"
    path.write_text("a\n<!-- generated: x; by hand -->\nold\n<!-- end -->\nz\n")
    generated.write(path, "x", "new\n")
    assert path.read_text() == "a\n<!-- generated: x; by hand -->\nnew\n<!-- end -->\nz\n"
    with pytest.raises(ValueError, match="0 blocks named 'y'"):
        generated.write(path, "y", "new")
