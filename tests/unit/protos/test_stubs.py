"""The committed stubs are what the .proto files make, and every element of those is commented."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

PROTOS = Path(__file__).parents[3] / "protos"
SOURCES = sorted(PROTOS.glob("darkroom/**/*.proto"))


def test_the_stubs_regenerate_without_a_difference(tmp_path: Path) -> None:
    plugins = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        [sys.executable, PROTOS / "generate.py", "--check", tmp_path],
        env={**os.environ, "PATH": plugins},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    made = {path.relative_to(tmp_path): path.read_text() for path in tmp_path.glob("darkroom/**/*_pb2*.py*")}
    committed = {
        path.relative_to(PROTOS): path.read_text()
        for path in PROTOS.glob("darkroom/**/*_pb2*.py*")
        if path.suffix != ".pyc"
    }
    assert made.keys() == committed.keys()
    assert made == committed, "run `make protos` and commit what it writes"


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_every_element_is_commented(source: Path) -> None:
    element = re.compile(
        r"\s*(message|enum|service|rpc|oneof|repeated|map<|[a-z_.0-9A-Z]+ [a-z_0-9]+ = \d+|[A-Z_]+ = \d+)"
    )
    lines = source.read_text().splitlines()
    bare = [
        line.strip() for before, line in pairwise(lines) if element.match(line) and not before.strip().startswith("//")
    ]
    assert not bare
