"""What gRPC is told before it is loaded."""

import os
import subprocess
import sys

import pytest

from deploy.setup.environments import ROOT

_USE = "import grpc; grpc.insecure_channel('127.0.0.1:1').close()"


def python(program: str, **environment: str) -> subprocess.CompletedProcess[str]:
    inherited = {name: value for name, value in os.environ.items() if name != "GRPC_EXPERIMENTS"}
    return subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env={**inherited, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_grpc_knows_every_switch() -> None:
    ended = python(f"import runtime.grpc_core; {_USE}")
    assert (ended.returncode, ended.stderr) == (0, "")


@pytest.mark.parametrize("own", ["-event_engine_fork", "-no_such_switch"])
def test_whoever_sets_the_variable_has_the_last_word(own: str) -> None:
    ended = python(
        f"import os, runtime.grpc_core; {_USE}; print(os.environ['GRPC_EXPERIMENTS'])",
        GRPC_EXPERIMENTS=own,
    )
    assert ended.stdout.strip() == own
    assert ("Unknown experiment: no_such_switch" in ended.stderr) is (own == "-no_such_switch")


def test_it_is_too_late_when_grpc_is_loaded() -> None:
    ended = python("import grpc, runtime.grpc_core")
    assert ended.returncode == 1
    assert "gRPC is loaded already" in ended.stderr
