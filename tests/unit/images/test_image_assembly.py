"""What goes into an image's file system, and the bill of materials of it: on trees of the tests' own."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.images import assemble, bill, catalogue
from deploy.images.bill import Component


def write(path: Path, text: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_what_no_service_runs_stays_behind(tmp_path: Path) -> None:
    for name in ("a/x.py", "a/tests/test_x.py", "a/x.pyx", "a/x.h", "a/__pycache__/x.pyc", ".lock", "ensurepip/x.py"):
        write(tmp_path / "from" / name)
    assemble.copy_tree(tmp_path / "from", tmp_path / "to")
    assert [path.relative_to(tmp_path / "to") for path in (tmp_path / "to").rglob("*.*")] == [Path("a/x.py")]


def test_descriptions_of_services_that_are_not_called_go(tmp_path: Path) -> None:
    for name in ("s3/2006-03-01/service-2.json", "ec2/x.json", "endpoints.json"):
        write(tmp_path / "botocore" / "data" / name)
    assemble.prune_botocore(tmp_path)
    assert sorted(path.name for path in (tmp_path / "botocore" / "data").iterdir()) == ["endpoints.json", "s3"]


def test_every_service_that_our_code_makes_a_client_for_keeps_its_description() -> None:
    called = set()
    for service in (*catalogue.SERVICES, "runtime"):
        for path in (catalogue.ROOT / service).rglob("*.py"):
            called |= set(re.findall(r'aws\.client\(\s*\w+(?:\.\w+)*,[^"]*?"([a-z0-9-]+)"', path.read_text()))
            called |= set(re.findall(r'(?<!def )\bclient\(stack, aws, "([a-z0-9-]+)"', path.read_text()))
    assert called >= {"s3", "ssm", "secretsmanager", "apigateway"}
    assert called <= set(assemble.AWS_SERVICES)


def test_bytecode_is_beside_the_sources_and_names_the_images_paths(tmp_path: Path) -> None:
    module = write(tmp_path / "app" / "thing.py", "def fail():\n    raise ValueError\n")
    assemble.compile_all(tmp_path, ["/app"])
    compiled = Path(importlib.util.cache_from_source(str(module)))
    assert int.from_bytes(compiled.read_bytes()[4:8], "little") == 0b01  # PEP 552: by hash, and unchecked
    assert b"/app/thing.py" in compiled.read_bytes()
    assert str(tmp_path).encode() not in compiled.read_bytes()


def test_equal_trees_have_equal_times(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1000000000")
    write(tmp_path / "a" / "b.txt")
    (tmp_path / "link").symlink_to("nowhere")
    assemble.settle_times(tmp_path)
    assert {os.lstat(path).st_mtime for path in (tmp_path, *tmp_path.rglob("*"))} == {1_000_000_000}


def test_libraries_that_a_program_is_linked_with_are_found() -> None:
    root = Path(sys.executable).resolve().parent
    names = {path.name for path in assemble.libraries_of([Path(sys.executable).resolve()], root)}
    assert "libc.so.6" in names


@pytest.mark.skipif(shutil.which("dpkg-query") is None, reason="not Debian")
def test_debian_packages_stand_where_every_scanner_looks(tmp_path: Path) -> None:
    assemble.record_packages(tmp_path, {"zlib1g": "1", "libc6": "2"})
    written = (tmp_path / "var/lib/dpkg/status").read_text()
    stanzas = [stanza.splitlines() for stanza in written.strip().split("\n\n")]
    assert [stanza[:2] for stanza in stanzas] == [
        ["Package: libc6", "Status: install ok installed"],
        ["Package: zlib1g", "Status: install ok installed"],
    ]


def test_a_python_package_is_named_with_its_version_license_and_url(tmp_path: Path) -> None:
    write(
        tmp_path / "x-1.dist-info" / "METADATA",
        "Metadata-Version: 2.4\nName: Some_Thing\nVersion: 1.0+a\nLicense-Expression: MIT\n\ntext",
    )
    write(
        tmp_path / "y-2.dist-info" / "METADATA",
        "Metadata-Version: 2.1\nName: y\nVersion: 2\nClassifier: License :: OSI Approved :: BSD License\n\n",
    )
    assert bill.python_components(tmp_path) == [
        Component("Some_Thing", "1.0+a", "pkg:pypi/some-thing@1.0%2Ba", "MIT"),
        Component("y", "2", "pkg:pypi/y@2", "BSD License"),
    ]


def test_debian_versions_are_escaped_in_urls() -> None:
    assert bill.debian_components({"libc6": "2.36-9+deb12u14"})[0].purl == "pkg:deb/debian/libc6@2.36-9%2Bdeb12u14"


def test_the_same_components_make_the_same_bill_and_others_another() -> None:
    one, two = Component("a", "1", "pkg:pypi/a@1"), Component("b", "1", "pkg:pypi/b@1")
    assert json.dumps(bill.bill("gateway", [one, two])) == json.dumps(bill.bill("gateway", [two, one]))
    assert bill.bill("gateway", [one])["serialNumber"] != bill.bill("gateway", [two])["serialNumber"]


def test_the_build_stage_needs_no_package_for_it() -> None:
    """assemble.py runs with the bare interpreter of the base image."""
    code = "import deploy.images.assemble, deploy.images.bill"
    subprocess.run([sys.executable, "-S", "-c", code], cwd=catalogue.ROOT, check=True)
