"""Regenerates the committed gRPC stubs from the .proto files beside them: `make protos`.

`--check DIR` writes into DIR instead, for the test that compares the two.
"""

import argparse
import sys
from pathlib import Path

import google.rpc.status_pb2
from grpc_tools import protoc

ROOT = Path(__file__).resolve().parent


def generate(out: Path) -> None:
    """Writes `*_pb2.py`, `*_pb2_grpc.py` and their type stubs for every .proto below this folder into `out`."""
    # grpcio-tools brings google/protobuf, googleapis-common-protos brings google/rpc.
    well_known = Path(protoc.__file__).parent / "_proto"
    common = Path(google.rpc.status_pb2.__file__).parents[2]
    sources = sorted(str(path.relative_to(ROOT)) for path in ROOT.glob("darkroom/**/*.proto"))
    arguments = [
        "protoc",
        f"-I{ROOT}",
        f"-I{well_known}",
        f"-I{common}",
        f"--python_out={out}",
        f"--grpc_python_out={out}",
        f"--mypy_out=quiet:{out}",
        f"--mypy_grpc_out=quiet:{out}",
        *sources,
    ]
    if protoc.main(arguments):
        sys.exit(1)
    for path in out.glob("darkroom/**/command_pb2_grpc.py*"):
        path.unlink()  # a file of messages has no service


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", type=Path, default=ROOT, metavar="DIR", help="write into DIR instead")
    generate(parser.parse_args().check)
