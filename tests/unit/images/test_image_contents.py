"""What is found wrong with an image."""

from __future__ import annotations

import io
import json
import tarfile

import pytest

from deploy.images import bill, contents
from deploy.images.contents import Contents, Entry

GOOD = json.dumps(bill.bill("gateway", [bill.Component("uvloop", "1", "pkg:pypi/uvloop@1", "MIT")]))
PLAIN = (
    Entry("usr/bin/python3", 0o755, 1_000, regular=True),
    Entry("app/gateway/app.py", 0o644, 500, regular=True),
    Entry("tmp", 0o1777, 0, regular=False),
)


def faults(*more: Entry, text: str = GOOD, limit: int = 10_000) -> list[str]:
    return contents.faults(Contents((*PLAIN, *more), text), limit)


def test_nothing_is_wrong_with_a_small_image_without_tools() -> None:
    assert faults() == []


def test_an_image_above_its_limit_is_too_large() -> None:
    assert faults(limit=1_400_000, text=GOOD) == []
    big = Entry("site/big.so", 0o644, 151_000_000, regular=True)
    assert faults(big, limit=150_000_000) == ["151 MB uncompressed; at most 150"]


@pytest.mark.parametrize(
    "path", ["bin/sh", "usr/bin/bash", "usr/bin/apt-get", "usr/bin/gcc", "sbin/dpkg", "opt/x/curl"]
)
def test_a_shell_a_compiler_or_a_package_manager_is_a_fault(path: str) -> None:
    assert faults(Entry(path, 0o755, 1, regular=True)) == [f"/{path} is in it"]


def test_a_link_to_a_shell_is_a_fault_too() -> None:
    assert faults(Entry("bin/sh", 0o777, 0, regular=False, link="busybox")) == ["/bin/sh is in it"]


@pytest.mark.parametrize("path", ["site/pip", "site/setuptools", "usr/lib/python3.11/ensurepip"])
def test_what_installs_python_packages_is_a_fault(path: str) -> None:
    assert faults(Entry(path, 0o755, 0, regular=False)) == [f"/{path} is in it"]


@pytest.mark.parametrize("path", ["site/aiohttp/cc.py", "site/x/make", "usr/lib/python3.11/pipes.py"])
def test_files_that_only_sound_like_it_are_none(path: str) -> None:
    assert faults(Entry(path, 0o644, 1, regular=True)) == []


def test_a_program_with_its_owners_rights_is_a_fault() -> None:
    assert faults(Entry("usr/bin/x", 0o4755, 1, regular=True)) == ["/usr/bin/x runs with the rights of its owner"]


def test_a_file_that_everyone_may_write_is_a_fault() -> None:
    assert faults(Entry("site/.lock", 0o666, 0, regular=True)) == ["/site/.lock can be written by everyone"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "there is no bill of materials"),
        ("{}", "is not CycloneDX 1.6"),
        (GOOD.replace("1.6", "9.9"), "is not CycloneDX 1.6"),
        (GOOD.replace('"library"', '"book"'), "is not CycloneDX 1.6"),
    ],
)
def test_a_bill_of_materials_must_be_there_and_be_valid(text: str, said: str) -> None:
    assert said in faults(text=text)[0]


def test_what_a_bill_must_name_and_does_not_is_told() -> None:
    assert contents.missing_from_bill(Contents(PLAIN, GOOD), ["UVLOOP", "grpcio"]) == ["grpcio"]


def test_a_tar_stream_is_read_as_it_comes() -> None:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name, content, mode in (("./sbom.cdx.json", GOOD.encode(), 0o644), ("usr/bin/x", b"abc", 0o755)):
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(content), mode
            archive.addfile(member, io.BytesIO(content))
        link = tarfile.TarInfo("bin")
        link.type, link.linkname = tarfile.SYMTYPE, "usr/bin"
        archive.addfile(link)
    stream.seek(0)
    found = contents.read(stream)
    assert found.bill == GOOD
    assert found.size == len(GOOD.encode()) + 3
    assert found.entries[1:] == (
        Entry("usr/bin/x", 0o755, 3, regular=True),
        Entry("bin", 0o644, 0, regular=False, link="usr/bin"),
    )
