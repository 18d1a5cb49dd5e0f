"""Wrong settings: each stops the synth with its name, what is allowed and an example. No synth is needed for it."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from deploy.cdk import settings
from tests.support.environments import OWNERS

PREFIX = settings.VARIABLE_PREFIX
CERTIFICATE = "arn:aws:acm:ap-northeast-2:123456789012:certificate/0b1c2d3e-0000-4000-8000-000000000000"
ELSEWHERE = CERTIFICATE.replace("ap-northeast-2", "us-east-1")
SOMEBODYS = CERTIFICATE.replace("123456789012", "210987654321")

# Stage, variable without its prefix, value, the setting that is named, a word of the reason.
WRONG = [
    ("prod", "ACCOUNT", "12345", "account", "pattern"),
    ("prod", "ACCOUNT", "000000000000", "account", "emulator"),
    ("prod", "REGION", "seoul", "region", "pattern"),
    ("prod", "BROWSER_ORIGINS", "http://a.example", "browser_origins", "not https"),
    ("prod", "BROWSER_ORIGINS", "https://a.example:*", "browser_origins", "wildcard"),
    ("prod", "BROWSER_ORIGINS", "https://A.example", "browser_origins", "pattern"),
    ("prod", "BROWSER_ORIGINS", "", "browser_origins", "at least 1"),
    ("staging", "KEEP_DATA", "false", "keep_data", "keeps its data"),
    ("dev", "KEEP_DATA", "maybe", "keep_data", "boolean"),
    ("dev", "ENCRYPTION", "none", "encryption", "managed"),
    ("local", "ENCRYPTION", "kms", "encryption", "emulator"),
    ("dev", "LONGEST_TICKET_SECONDS", "60", "longest_ticket_seconds", "120"),
    ("dev", "LONGEST_TICKET_SECONDS", "1800", "longest_ticket_seconds", "S3 would refuse"),
    ("dev", "LONGEST_DOWNLOAD_SECONDS", "900", "longest_download_seconds", "S3 would refuse"),
    ("dev", "KEY_REQUESTS_PER_SECOND", "5000", "key_requests_per_second", "whole API"),
    ("dev", "NETWORK__CIDR", "8.8.0.0/16", "network.cidr", "not private"),
    ("dev", "NETWORK__CIDR", "127.0.0.0/16", "network.cidr", "not private"),
    ("dev", "NETWORK__CIDR", "169.254.0.0/16", "network.cidr", "not private"),
    ("dev", "NETWORK__CIDR", "10.0.0.0/8", "network.cidr", "/16"),
    ("dev", "NETWORK__CIDR", "10.0.0.1/16", "network.cidr", "host bits"),
    ("dev", "NETWORK__CIDR", "office", "network.cidr", "4 octets"),
    ("dev", "NETWORK__ZONES", "ap-northeast-2a,ap-northeast-2b", "network.zones", "at least 3"),
    ("dev", "NETWORK__ZONES", "ap-northeast-2a,ap-northeast-2a,ap-northeast-2b", "network.zones", "twice"),
    ("dev", "NETWORK__ZONES", "us-east-1a,us-east-1b,us-east-1c", "network.zones", "not in ap-northeast-2"),
    ("dev", "NETWORK__NAT_GATEWAYS", "0", "network.nat_gateways", "no task reaches AWS"),
    ("dev", "NETWORK__NAT_GATEWAYS", "4", "network.nat_gateways", "less than or equal to 3"),
    ("prod", "NETWORK__NAT_GATEWAYS", "1", "network.nat_gateways", "loss of a zone"),
    ("prod", "NETWORK__NAT_GATEWAYS", "2", "network.nat_gateways", "one in each, or none"),
    ("prod", "NETWORK__ENDPOINT_ZONES", "1", "network.endpoint_zones", "loss of a zone"),
    ("dev", "NETWORK__FLOW_LOG_DAYS", "8", "network.flow_log_days", "cannot keep"),
    ("dev", "NETWORK__FLOW_LOG_TRAFFIC", "NONE", "network.flow_log_traffic", "REJECT"),
    ("dev", "DATABASE__ENGINE_VERSION", "15.4", "database.engine_version", "pattern"),
    ("dev", "DATABASE__MIN_ACU", "0", "database.min_acu", "0.5"),
    ("dev", "DATABASE__MIN_ACU", "1.3", "database.min_acu", "multiple"),
    ("dev", "DATABASE__MIN_ACU", "8", "database.min_acu", "above max_acu"),
    ("dev", "METADATA_SVC__MAX_TASKS", "60", "database.max_acu", "connections are wanted"),
    ("dev", "DATABASE__INSIGHTS", "advanced", "database.min_acu", "2 ACUs"),
    ("dev", "DATABASE__BACKUP_DAYS", "0", "database.backup_days", "1"),
    ("prod", "DATABASE__BACKUP_DAYS", "3", "database.backup_days", "a week"),
    ("prod", "DATABASE__READERS", "0", "database.readers", "loss of the writer"),
    ("staging", "DATABASE__DELETION_PROTECTION", "false", "database.deletion_protection", "protects"),
    ("dev", "DATABASE__BACKUP_WINDOW", "25:00-26:00", "database.backup_window", "pattern"),
    ("dev", "DATABASE__BACKUP_WINDOW", "17:00-17:20", "database.backup_window", "half an hour"),
    ("dev", "DATABASE__BACKUP_WINDOW", "18:00-18:31", "database.backup_window", "maintenance window"),
    ("dev", "DATABASE__BACKUP_WINDOW", "23:00-19:00", "database.backup_window", "maintenance window"),
    ("dev", "DATABASE__MAINTENANCE_WINDOW", "sun:18:30-sun:18:45", "database.maintenance_window", "half an hour"),
    ("dev", "DATABASE__MAINTENANCE_WINDOW", "sun:18:30-sun:18:00", "database.maintenance_window", "to a day"),
    ("dev", "DATABASE__MAINTENANCE_WINDOW", "sunday", "database.maintenance_window", "pattern"),
    ("dev", "DATABASE__MONITORING_SECONDS", "0", "database.monitoring_seconds", "60"),
    ("dev", "DATABASE__ROTATION_DAYS", "never", "database.rotation_days", "integer"),
    ("prod", "EDGE__FIREWALL", "false", "edge.firewall", "has a firewall"),
    ("dev", "EDGE__TLS_POLICY", "TLS_1_0", "edge.tls_policy", "TLS_1_2"),
    ("dev", "EDGE__DOMAIN", "api.example.com", "edge.certificate_arn", "together"),
    ("dev", "EDGE__CERTIFICATE_ARN", CERTIFICATE, "edge.certificate_arn", "together"),
    ("prod", "LOAD_BALANCER__CERTIFICATE_ARN", ELSEWHERE, "load_balancer.certificate_arn", "not of ap-northeast-2"),
    ("prod", "LOAD_BALANCER__CERTIFICATE_ARN", SOMEBODYS, "load_balancer.certificate_arn", "not of ap-northeast-2"),
    ("dev", "EDGE__DOMAIN", "https://api.example.com", "edge.domain", "pattern"),
    ("dev", "EDGE__REQUESTS_PER_ADDRESS", "5", "edge.requests_per_address", "100"),
]


def refusal(stage: str, variables: dict[str, str]) -> str:
    with pytest.raises(settings.EnvironmentError) as error:
        settings.load(stage, variables)
    return str(error.value)


@pytest.mark.parametrize(("stage", "variable", "value", "named", "reason"), WRONG)
def test_a_wrong_value_is_named_with_the_reason_what_is_allowed_and_an_example(
    stage: str, variable: str, value: str, named: str, reason: str
) -> None:
    told = refusal(stage, ({} if stage == "local" else OWNERS) | {PREFIX + variable: value})
    (line,) = {line for line in told.splitlines() if line.startswith(f"  {named}: ") and reason in line}
    assert "; allowed: " in line
    assert re.search(rf"; e\.g\. {PREFIX}{named.upper().replace('.', '__')}=\S", line)


@pytest.mark.parametrize(
    ("stage", "variable", "named"),
    [
        ("dev", "NONSENSE", "nonsense"),
        ("dev", "DATABASE__NONSENSE", "database.nonsense"),
        ("dev", "NONSENSE__CPU", "nonsense.cpu"),
        ("dev", "REGION__CPU", "region.cpu"),
        ("local", "DATABASE__MIN_ACU", "database.min_acu"),
        ("local", "NETWORK", "network"),
    ],
)
def test_a_setting_that_is_not_there_is_named_with_those_that_are(stage: str, variable: str, named: str) -> None:
    told = refusal(stage, ({} if stage == "local" else OWNERS) | {PREFIX + variable: "1"})
    assert f"  {named}: there is no such setting; allowed: " in told


def test_no_variable_makes_another_stage_of_a_stages_file() -> None:
    assert "stage: dev is set where prod was asked for" in refusal("prod", OWNERS | {f"{PREFIX}STAGE": "dev"})


@pytest.mark.parametrize("text", [None, "[network\n", "region = seoul\n"])
def test_a_file_that_is_missing_or_no_toml_is_named(text: str | None, tmp_path: Path) -> None:
    path = tmp_path / "prod.toml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(settings.EnvironmentError, match=re.escape(str(path))):
        settings.load("prod", OWNERS, tmp_path)


def test_windows_may_end_on_the_day_after_they_begin() -> None:
    windows = {"DATABASE__BACKUP_WINDOW": "23:30-00:30", "DATABASE__MAINTENANCE_WINDOW": "sun:22:45-sun:23:15"}
    env = settings.load("dev", OWNERS | {PREFIX + name: value for name, value in windows.items()})
    assert env.database.backup_window == "23:30-00:30"
    windows["DATABASE__MAINTENANCE_WINDOW"] = "sat:23:45-sun:00:20"
    assert "database.backup_window" in refusal("dev", OWNERS | {PREFIX + n: value for n, value in windows.items()})


def test_a_table_that_is_given_as_one_value_is_refused() -> None:
    assert "  database: " in refusal("dev", OWNERS | {f"{PREFIX}DATABASE": "large"})


@pytest.mark.parametrize("stage", ["dev", "staging", "prod"])
def test_every_setting_that_is_missing_is_named_at_once_also_in_a_table_that_is_missing_whole(
    stage: str, tmp_path: Path
) -> None:
    (tmp_path / f"{stage}.toml").write_text("")
    with pytest.raises(settings.EnvironmentError) as error:
        settings.load(stage, {}, tmp_path)
    told = str(error.value)
    for name in ("account", "region", "network.cidr", "database.max_acu", "edge.firewall", "gateway.cpu"):
        assert f"  {name}: it is not set; allowed: " in told


@pytest.mark.parametrize("stage", ["staging", "prod"])
def test_what_belongs_to_the_owner_has_no_default_that_would_do(stage: str) -> None:
    for left_out, named in (
        ("ACCOUNT", "account"),
        ("BROWSER_ORIGINS", "browser_origins"),
        ("LOAD_BALANCER__CERTIFICATE_ARN", "load_balancer."),
    ):
        told = refusal(stage, {name: value for name, value in OWNERS.items() if name != PREFIX + left_out})
        assert f"  {named}" in told


def test_an_override_reaches_a_table_and_a_list_in_it() -> None:
    env = settings.load(
        "dev",
        OWNERS
        | {
            f"{PREFIX}DATABASE__MAX_ACU": "16",
            f"{PREFIX}NETWORK__ZONES": "ap-northeast-2d, ap-northeast-2b ,ap-northeast-2c",
        },
    )
    assert env.database.max_acu == 16
    assert env.network.zones == ("ap-northeast-2d", "ap-northeast-2b", "ap-northeast-2c")


@pytest.mark.parametrize("stage", ["dev", "staging", "prod"])
def test_the_example_of_every_setting_is_one_that_it_takes(stage: str) -> None:
    """One at a time: where another setting must change with it, the refusal says so and names either of the two."""
    for name, example in examples():
        variable = f"{PREFIX}{name.upper().replace('.', '__')}"
        try:
            settings.load(stage, OWNERS | {variable: example})
        except settings.EnvironmentError as error:
            (line,) = str(error).splitlines()[1:]
            assert "Input should" not in line, line
            assert "pattern" not in line, line


def examples() -> list[tuple[str, str]]:
    """Every setting that is no table, by its dotted name, with its example."""
    found = []
    for name, field in settings.AwsEnvironment.model_fields.items():
        table = settings._table(field)
        inner = {name: field} if table is None else {f"{name}.{key}": item for key, item in table.model_fields.items()}
        found += [(key, str((item.examples or [""])[0])) for key, item in inner.items() if key != "stage"]
    return found


def test_no_environment_is_less_than_dev_needs_and_prod_is_told_apart_by_values_alone() -> None:
    files = {
        stage: tomllib.loads((settings.ENVIRONMENTS / f"{stage}.toml").read_text())
        for stage in ("dev", "staging", "prod")
    }
    for table in ("network", "database", "edge"):
        assert files["dev"][table].keys() == files["staging"][table].keys() == files["prod"][table].keys()
        assert files["dev"][table] != files["prod"][table]
