"""Set-up: stamps, locks and what a machine lacks."""

import re
import subprocess
from pathlib import Path

import pytest

from deploy.setup import environments, system
from deploy.setup.console import SetupError, run

ROOT = environments.ROOT


def test_locks_pin_every_package_by_hash_and_name_no_host() -> None:
    for lock in (
        "requirements.lock",
        "deploy/setup/bootstrap.lock",
        "deploy/local/localstack.lock",
        "deploy/gates/checkov.lock",
    ):
        text = (ROOT / lock).read_text()
        packages = re.findall(r"^[a-z0-9].*", text, re.MULTILINE)
        assert packages
        assert all("==" in package and package.endswith("\\") for package in packages), lock
        assert "://" not in re.sub(r"#.*", "", text), lock


def test_the_wheel_that_is_compiled_here_takes_the_place_of_the_source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environments, "LOGS", tmp_path)
    wheel = tmp_path / "a b" / "pillow_simd-1.whl"
    wheel.parent.mkdir()
    wheel.write_bytes(b"wheel")
    written = environments._requirements(wheel).read_text()
    assert f"pillow-simd @ file://{tmp_path}/a%20b/pillow_simd-1.whl --hash=sha256:" in written
    assert "pillow-simd==" not in written
    assert written.count("--hash=") == (ROOT / "requirements.lock").read_text().count("--hash=")


def test_a_stamp_holds_until_something_changes_or_work_begins(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").touch()
    environments._begin(tmp_path)
    assert not environments._stamped(tmp_path, "a")
    environments._finish(tmp_path, "a")
    assert environments._stamped(tmp_path, "a")
    assert not environments._stamped(tmp_path, "b")
    environments._begin(tmp_path)
    assert not environments._stamped(tmp_path, "a")


def test_a_command_that_fails_shows_the_end_of_what_it_said(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match=r"status 3.*\n.*the reason"):
        run(["sh", "-c", "echo the reason; exit 3"], tmp_path / "log")


def test_without_the_means_to_install_the_packages_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name: "/usr/bin/apt-get" if name == "apt-get" else None)
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(SetupError, match="apt-get install -y libwebp-dev"):
        system.install(["libwebp-dev"], tmp_path)


def test_a_header_is_missed_only_where_it_is_missing() -> None:
    assert system._compiles("stdio.h")
    assert not system._compiles("no/such/header.h")


def test_make_help_lists_every_command() -> None:
    text = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    targets = set(re.findall(r"^([a-z-]+):.*##", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert targets
    assert all(f"make {target}" in text for target in targets)
