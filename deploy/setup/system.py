"""What the machine itself must have: installed with apt-get where it is missing, and only what is missing."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Final

from deploy.setup.console import SetupError, run, step

OLDEST_PYTHON: Final = (3, 11)

# Debian's package for each header that pillow-simd and our own C are compiled with.
_HEADERS: Final = {
    "aom/aom_decoder.h": "libaom-dev",
    "jpeglib.h": "libjpeg62-turbo-dev",
    "lcms2.h": "liblcms2-dev",
    "tiffio.h": "libtiff-dev",
    "webp/encode.h": "libwebp-dev",
    "webp/demux.h": "libwebp-dev",
    "zlib.h": "zlib1g-dev",
}


def check_python() -> None:
    """Raises SetupError where this Python is too old for the project."""
    if sys.version_info < OLDEST_PYTHON:
        raise SetupError(
            f"Python {OLDEST_PYTHON[0]}.{OLDEST_PYTHON[1]} or newer is needed; "
            f"{sys.executable} is {platform.python_version()}"
        )


def missing(*, compiling: bool) -> list[str]:
    """Debian packages that the machine lacks; those for `compiling` only where that is to be done."""
    packages: set[str] = set()
    probe = subprocess.run([sys.executable, "-c", "import ensurepip, venv"], capture_output=True, check=False)
    if probe.returncode:
        packages.add(f"python3.{sys.version_info.minor}-venv")
    if shutil.which("curl") is None:
        packages.add("curl")  # the README's calls, which a test makes too
    if shutil.which("exiftool") is None:
        packages.add("libimage-exiftool-perl")  # proves that no output carries what its file did
    if shutil.which("cjpeg") is None:
        packages.add("libjpeg-turbo-progs")  # writes JPEGs of kinds that no camera does, for the tests
    return sorted(packages | (_missing_for_compiling() if compiling else set()))


def _missing_for_compiling() -> set[str]:
    packages: set[str] = set()
    if shutil.which("cc") is None:
        packages |= {"gcc", "libc6-dev", *_HEADERS.values()}
    elif not _compiles("stdio.h"):
        packages |= {"libc6-dev", *_HEADERS.values()}
    else:
        packages |= {package for header, package in _HEADERS.items() if not _compiles(header)}
    roots = (Path("/usr/include"), Path("/usr/local/include"))
    if not any(header for root in roots for header in root.glob("openjpeg-2.*/openjpeg.h")):
        packages.add("libopenjp2-7-dev")
    if not Path(sysconfig.get_path("include"), "Python.h").exists():
        packages.add(f"python3.{sys.version_info.minor}-dev")
    return packages


def install(packages: list[str], logs: Path) -> None:
    """Installs Debian packages. Raises SetupError where that is not possible, with the command to run by hand."""
    if not packages:
        return
    names = " ".join(packages)
    if shutil.which("apt-get") is None:
        raise SetupError(f"this machine lacks what Debian calls: {names}\nInstall them by its own means, then again.")
    if os.geteuid() == 0:
        prefix = ["env"]
    elif shutil.which("sudo"):
        prefix = ["sudo", "env"]
    else:
        raise SetupError(
            f"system packages are missing, and this is neither root nor is sudo there.\n"
            f"Let an administrator run:  apt-get update && apt-get install -y {names}"
        )
    # Another apt-get may be at work on a machine that has just been made: wait for it.
    apt = [*prefix, "DEBIAN_FRONTEND=noninteractive", "apt-get", "-o", "DPkg::Lock::Timeout=300", "-y"]
    with step(f"system packages: {names}"):
        try:
            run([*apt, "update"], logs / "apt-update.log")
            run([*apt, "install", "--no-install-recommends", *packages], logs / "apt-install.log")
        except SetupError as error:
            raise SetupError(
                f"{error}\nIf it cannot work here, let an administrator run:  apt-get install -y {names}"
            ) from None


def simd_flag() -> str:
    """The compiler's flag for the widest vector unit that both pillow-simd and this x86-64 processor have."""
    return "-mavx2" if " avx2 " in Path("/proc/cpuinfo").read_text() else "-msse4"


def compiler_variables() -> dict[str, str]:
    """What pillow-simd's build must be told on this machine."""
    return {"CC": f"cc {simd_flag()}", "MAX_CONCURRENCY": str(os.cpu_count() or 1), **search_paths()}


def search_paths() -> dict[str, str]:
    """Where Debian's compiler finds headers and libraries.

    pillow-simd looks for them where `dpkg-architecture` says, which a bare Debian does not have; the compiler knows.
    """
    multiarch = subprocess.run(["cc", "-print-multiarch"], capture_output=True, text=True, check=False).stdout.strip()
    if not multiarch:
        return {}
    # Not in CFLAGS: that would replace the flags that Python was built with, optimisation among them.
    return {"C_INCLUDE_PATH": f"/usr/include/{multiarch}", "LIBRARY_PATH": f"/usr/lib/{multiarch}"}


def _compiles(header: str) -> bool:
    source = f"#include <stdio.h>\n#include <{header}>\n".encode()
    probe = subprocess.run(["cc", "-E", "-x", "c", "-"], input=source, capture_output=True, check=False)
    return probe.returncode == 0
