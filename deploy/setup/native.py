"""Compiles the one C source of the project: `python3 -m deploy.setup.native SOURCE [FLAG ...]`, beside the source.

The library names the source that it was made of, so that nobody runs an old one unknowingly.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

# Symbols of its own only where they are asked for; a fault in it ends a child, and should do so at once.
_FLAGS: Final = (
    "-std=c11",
    "-D_GNU_SOURCE",
    "-O3",
    "-Wall",
    "-Wextra",
    "-Wconversion",
    "-fPIC",
    "-shared",
    "-fstack-protector-strong",
    "-Wl,-z,relro,-z,now",
)
_LIBRARIES: Final = ("-ljpeg", "-lm")


def command(source: Path, flags: Sequence[str], output: Path) -> list[str | Path]:
    """What the compiler is called with. `flags` say for which vectors, and what the caller wants beside."""
    named = f'-DSOURCE_DIGEST="{digest(source)}"'
    return ["cc", *_FLAGS, *flags, named, "-o", output, source, *_LIBRARIES]


def digest(source: Path) -> str:
    """By which a library is told from that of another source."""
    return hashlib.sha256(source.read_bytes()).hexdigest()[:12]


def library(source: Path) -> Path:
    """Where the library lies that is made of a source."""
    return source.with_suffix(".so")


def main() -> int:
    """Command line; returns the compiler's status."""
    source = Path(sys.argv[1])
    return subprocess.run(command(source, sys.argv[2:], library(source)), check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
