"""Data files: what is wrong is named, with the file and what is allowed; what is replaced is replaced whole."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from deploy.capacity.inputs import DATA, InputError, load


def replaced(tmp_path: Path, file: str, old: str, new: str) -> Path:
    text = (DATA / file).read_text(encoding="utf-8")
    assert old in text
    (tmp_path / file).write_text(text.replace(old, new), encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize(
    ("file", "old", "new", "said"),
    [
        ("forecast.toml", "images_per_month = 3_000_000", "images_per_month = 0", r"images_per_month.*greater than"),
        ("forecast.toml", "peak_factor", "peek_factor", r"peek_factor.*not permitted"),
        ("forecast.toml", "working_hours = [0.4, ", "working_hours = [", r"working_hours.*24 items"),
        ("forecast.toml", "peak_factor = 10.0", "peak_factor = 'ten'", r"peak_factor.*valid number.*'ten'"),
        ("calendar.toml", "Asia/Seoul", "Asia/Soul", r"time_zone.*IANA time zone, e.g. Asia/Seoul.*Asia/Soul"),
        ("calendar.toml", "horizon = 2028-02-29", "horizon = 2027-12-31", r"beyond the horizon"),
        ("calendar.toml", "date = 2027-01-01", "date = 2027-05-05", r"in order, each date once"),
        ("calendar.toml", "[5, 6]", "[0, 1, 2, 3, 4, 5, 6]", r"no working day"),
        ("measured.toml", "share = 0.60", "share = 0.50", r"add up to 0.9, not to 1"),
        ("policy.toml", "minimum_acu = 0.5", "minimum_acu = 0.3", r"aurora.minimum_acu.*multiple of 0.5"),
        ("policy.toml", "minimum_acu = 0.5", "minimum_acu = 32.0", r"minimum_acu 32.0 exceeds maximum_acu 16.0"),
        ("policy.toml", "max_utilisation = 0.7", "max_utilisation = 1.2", r"sizing.max_utilisation.*less than 1"),
        ("policy.toml", 'architecture = "x86_64"', 'architecture = "mips"', r"architecture.*'x86_64' or 'arm64'"),
        ("prices.toml", "fargate_x86_vcpu_hour = 0.04656", "", r"fargate_x86_vcpu_hour.*[Ff]ield required"),
        ("quotas.toml", "limit = 6", "limit = -6", r"quotas.0.limit.*greater than 0"),
        ("usage.toml", "zones = 3", "zones = ", r"not TOML"),
    ],
)
def test_a_wrong_value_is_named_with_its_file_and_what_is_allowed(
    tmp_path: Path, file: str, old: str, new: str, said: str
) -> None:
    with pytest.raises(InputError, match=rf"(?s){file}.*{said}"):
        load(replaced(tmp_path, file, old, new))


def test_a_file_of_ones_own_replaces_the_default_and_the_others_stay(tmp_path: Path) -> None:
    inputs = load(replaced(tmp_path, "forecast.toml", "3_000_000", "1_234"))
    assert inputs.forecast.images_per_month == 1234
    assert inputs.prices == load().prices


def test_a_directory_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"--inputs: .*nowhere is not a directory"):
        load(tmp_path / "nowhere")


def benchmark(tmp_path: Path, content: object) -> Path:
    path = tmp_path / "bench.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def test_the_default_speed_is_the_measured_mix_with_overhead_on_a_slower_vcpu() -> None:
    mix = 0.6 * 194 + 0.1 * (153 + 229 + 202 + 467)
    assert load().measured.seconds_per_image == pytest.approx(mix * 1.15 / 0.8 / 1000)


def test_a_benchmark_overrides_classes_one_by_one(tmp_path: Path) -> None:
    path = benchmark(tmp_path, {"source": "bench", "vcpu_speed": 1.0, "classes": {"heic_12mp": 400.0}})
    measured = load(measured=path).measured
    assert measured.source == "bench"
    assert {c.name: c.cpu_ms for c in measured.classes} | {"heic_12mp": 400.0} == {
        c.name: c.cpu_ms for c in measured.classes
    }
    assert measured.seconds_per_image == pytest.approx((0.6 * 194 + 0.1 * (153 + 229 + 202 + 400)) * 1.15 / 1000)


def test_a_rate_measured_as_a_whole_scales_the_mix_to_it(tmp_path: Path) -> None:
    measured = load(measured=benchmark(tmp_path, {"images_per_second_per_vcpu": 5.0})).measured
    assert measured.rate_per_vcpu == pytest.approx(5.0)
    assert measured.class_seconds[4] / measured.class_seconds[0] == pytest.approx(467 / 194)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"classes": {"jpeg_99mp": 1.0}}, "of jpeg_12mp, jpeg_24mp"),
        ({"classes": [1]}, "an object of CPU ms by class"),
        ([], "an object is wanted"),
        ({"speed": 3}, "speed.*not permitted"),
        ({"classes": {"heic_12mp": -1}}, "cpu_ms.*greater than 0"),
    ],
)
def test_a_wrong_benchmark_is_named(tmp_path: Path, content: object, said: str) -> None:
    with pytest.raises(InputError, match=rf"(?s){said}"):
        load(measured=benchmark(tmp_path, content))


def test_a_benchmark_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"--measured: .*absent\.json"):
        load(measured=tmp_path / "absent.json")


def test_every_data_file_says_where_its_figures_are_from() -> None:
    inputs = load()
    for part in (inputs.calendar, inputs.forecast, inputs.measured, inputs.prices, inputs.usage, inputs.quotas):
        assert len(part.source) > 20
    assert inputs.prices.region == "ap-northeast-2"
