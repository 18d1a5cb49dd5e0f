"""Compiles the project's own C: `python3 -m deploy.setup.native FOLDER [FLAG ...]`, to a library in its folder.

The library names the sources that it was made of, so that nobody runs an old one unknowingly.
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
_LIBRARIES: Final = ("-ljpeg", "-ltiff", "-lwebp", "-lm")


def command(sources: Path, flags: Sequence[str], output: Path) -> list[str | Path]:
    """What the compiler is called with. `flags` say for which vectors, and what the caller wants beside."""
    named = f'-DSOURCE_DIGEST="{digest(sources)}"'
    return ["cc", *_FLAGS, *flags, named, "-o", output, *sorted(sources.glob("*.c")), *_LIBRARIES]


def digest(sources: Path) -> str:
    """By which a library is told from that of other sources."""
    files = sorted((*sources.glob("*.c"), *sources.glob("*.h")))
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:12]


def vectors(simd: str) -> list[str]:
    """The flags for what an x86-64 processor with `simd` has: all with AVX2 have BMI2, whose shifts leave no flags."""
    return [simd, "-mbmi2"] if simd == "-mavx2" else [simd]


def library(sources: Path) -> Path:
    """Where the library lies that is made of a folder."""
    return sources / "pixels.so"


def main() -> int:
    """Command line; returns the compiler's status."""
    sources = Path(sys.argv[1])
    return subprocess.run(command(sources, sys.argv[2:], library(sources)), check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
