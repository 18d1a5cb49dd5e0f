"""Compiles the project's own C: `python3 -m deploy.setup.native FOLDER [FLAG ...]`, to two libraries in its folder.

`pixels.so` names the sources that it was made of, so that nobody runs an old one unknowingly. `heard.so` stands between
others' libraries, and is one of its own because all of them see what it offers.
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
# By name: where its sources lie, and what it is linked with.
_PIXELS: Final = "pixels.so"
_LIBRARIES: Final = {_PIXELS: (".", ("-laom", "-ljpeg", "-ltiff", "-lwebp", "-lm")), "heard.so": ("heard", ())}


def command(sources: Path, flags: Sequence[str], output: Path, name: str = _PIXELS) -> list[str | Path]:
    """What the compiler is called with. `flags` say for which vectors, and what the caller wants beside."""
    folder, linked = _LIBRARIES[name]
    files = sources / folder
    named = f'-DSOURCE_DIGEST="{digest(files)}"'
    return ["cc", *_FLAGS, *flags, named, "-o", output, *sorted(files.glob("*.c")), *linked]


def digest(files: Path) -> str:
    """By which a library is told from that of other sources."""
    texts = sorted((*files.glob("*.c"), *files.glob("*.h")))
    return hashlib.sha256(b"".join(text.read_bytes() for text in texts)).hexdigest()[:12]


def vectors(simd: str) -> list[str]:
    """The flags for what an x86-64 processor with `simd` has: all with AVX2 have BMI2, whose shifts leave no flags."""
    return [simd, "-mbmi2"] if simd == "-mavx2" else [simd]


def libraries(sources: Path) -> list[Path]:
    """Where the libraries lie that are made of a folder."""
    return [sources / name for name in _LIBRARIES]


def main() -> int:
    """Command line; returns the compiler's status."""
    sources, flags = Path(sys.argv[1]), sys.argv[2:]
    commands = [command(sources, flags, library, library.name) for library in libraries(sources)]
    return max(subprocess.run(each, check=False).returncode for each in commands)


if __name__ == "__main__":
    sys.exit(main())
