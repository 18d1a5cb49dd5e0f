"""Gathers the file system of a container image: interpreter, dependencies, service, and the libraries they link with.

Runs inside the build stage, with the system's own Python 3.11. Everything that a running service does not need stays
behind: compilers, pip, apt, the shell, tests, bytecode, headers, and the API descriptions of AWS services that
Darkroom does not call.
"""

import argparse
import compileall
import json
import os
import py_compile
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterable
from pathlib import Path

from deploy.images import bill

# The AWS services that Darkroom's own code makes clients for; botocore ships 400.
AWS_SERVICES = ("apigateway", "ecs", "s3", "secretsmanager", "ssm", "sso", "sso-oidc", "sts")
# Parts of the standard library and of packages that no service runs. What of them is compiled would bring libraries
# along: sqlite, Berkeley DB, readline, ncurses, Kerberos.
UNUSED = (
    "*.a",
    "*.c",
    "*.h",
    "*.pxd",
    "*.pyc",
    "*.pyi",
    "*.pyx",
    ".lock",
    "__pycache__",
    "_curses*.so",
    "_dbm.*.so",
    "_sqlite3.*.so",
    "curses",
    "distutils",
    "ensurepip",
    "f2py",
    "idlelib",
    "include",
    "lib2to3",
    "nis.*.so",
    "pydoc_data",
    "readline.*.so",
    "sqlite3",
    "test",
    "tests",
    "tkinter",
    "turtledemo",
)
# Files beside the interpreter that glibc, TLS and scanners look for.
SYSTEM_FILES = (
    "/etc/nsswitch.conf",
    "/etc/os-release",  # scanners look there for whose packages they see
    "/etc/ssl/certs/ca-certificates.crt",
    "/usr/share/zoneinfo/UTC",
)
USER = 10001  # no account of any base image


def copy_tree(source: Path, target: Path) -> None:
    """Copies a folder less what no service runs."""
    shutil.copytree(source, target, symlinks=False, dirs_exist_ok=True, ignore=shutil.ignore_patterns(*UNUSED))


def prune_botocore(site: Path) -> None:
    """Removes the descriptions of services that are never called."""
    data = site / "botocore" / "data"
    for folder in data.iterdir():
        if folder.is_dir() and folder.name not in AWS_SERVICES:
            shutil.rmtree(folder)


def strip_symbols(site: Path) -> None:
    """Drops the debugging symbols that some wheels' extension modules carry: 12 of uvloop's 14 MB.

    Not from the libraries that wheels bundle: their layout has been patched, which strip may break.
    """
    for module in sorted(site.rglob("*.cpython-*.so")):
        subprocess.run(["strip", "--strip-debug", str(module)], check=True)


def programs(root: Path) -> list[Path]:
    """The ELF files below `root`."""
    files = (path for path in root.rglob("*") if path.is_file() and not path.is_symlink())
    return [path for path in files if path.open("rb").read(4) == b"\x7fELF"]


def libraries_of(files: Iterable[Path], root: Path) -> set[Path]:
    """The shared libraries that these need and that are not below `root`, as the loader finds them."""
    needed: set[Path] = set()
    for path in files:
        listing = subprocess.run(["ldd", str(path)], capture_output=True, text=True, check=False).stdout
        missing = re.findall(r"(\S+) => not found", listing)
        if missing:
            sys.exit(f"{path} needs {', '.join(missing)}, which is not there")
        found = re.findall(r"(/\S+) \(0x", listing)
        needed |= {Path(name) for name in found if not Path(name).resolve().is_relative_to(root)}
    return needed


def debian_packages(files: set[Path]) -> dict[str, str]:
    """The Debian packages, with their versions, that the copied files come from."""
    names: set[str] = set()
    for path in files:
        for candidate in (path, path.resolve(), Path(str(path).replace("/usr/lib", "/lib", 1))):
            owner = subprocess.run(["dpkg-query", "-S", str(candidate)], capture_output=True, text=True, check=False)
            if owner.returncode == 0:
                names.add(owner.stdout.split(": ")[0])
                break
    listing = subprocess.run(
        ["dpkg-query", "-W", "-f", "${Package} ${Version}\n", *sorted(names)],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    return dict(line.split() for line in listing.splitlines())


def record_packages(root: Path, packages: Iterable[str]) -> None:
    """Says which Debian packages are in the image, where every scanner looks: ECR's basic one knows no other place (not
    the `status.d` of distroless images), and would find nothing or refuse the image.
    """
    listed = subprocess.run(["dpkg-query", "-s", *sorted(packages)], capture_output=True, text=True, check=True).stdout
    status = root / "var/lib/dpkg/status"
    status.parent.mkdir(parents=True)
    status.write_text(listed)


def compile_all(root: Path, folders: list[str]) -> None:
    """Puts bytecode beside the sources: a read-only file system keeps none, and each start would compile again.

    Unchecked, since nothing changes in an image: the loader compares no times. Paths in it are those of the image.
    """
    for folder in folders:
        compileall.compile_dir(
            root / folder.lstrip("/"),
            stripdir=str(root),
            prependdir="/",
            maxlevels=20,
            quiet=2,
            invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
        )


def settle_times(root: Path) -> None:
    """Gives everything one time, so that equal input makes equal layers.

    Source: https://reproducible-builds.org/docs/source-date-epoch/.
    """
    epoch = int(os.environ.get("SOURCE_DATE_EPOCH") or 0)
    for path in (*root.rglob("*"), root):
        os.utime(path, (epoch, epoch), follow_symlinks=False)


def main() -> None:
    """Builds the tree under `--root`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--service", required=True, help="the service's name")
    parser.add_argument("--app", type=Path, required=True, help="the service's code")
    parser.add_argument("--site", type=Path, required=True, help="its dependencies")
    parser.add_argument("--root", type=Path, required=True, help="where to build")
    options = parser.parse_args()
    root: Path = options.root

    copy_tree(options.app, root / "app")
    prune_botocore(options.site)
    copy_tree(options.site, root / "site")
    shutil.rmtree(root / "site" / "bin", ignore_errors=True)
    strip_symbols(root / "site")

    interpreter = Path(sys.executable).resolve()
    (root / "usr/bin").mkdir(parents=True)
    shutil.copy2(interpreter, root / "usr/bin/python3")
    copy_tree(Path(sysconfig.get_path("stdlib")), root / sysconfig.get_path("stdlib").lstrip("/"))
    for config in (root / sysconfig.get_path("stdlib").lstrip("/")).glob("config-*"):
        shutil.rmtree(config)

    for name in SYSTEM_FILES:
        if Path(name).exists():
            (root / name.lstrip("/")).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(name, root / name.lstrip("/"))
    linked = libraries_of(programs(root), root)
    for library in sorted(linked):
        target = root / str(library).lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(library, target)  # through links: the name that the loader asks for becomes a file
    authorities = Path("/usr/sbin/update-ca-certificates")  # no package owns the file that it makes
    standard = [
        Path(sysconfig.get_path("stdlib"), name) for name in ("os.py", "asyncio/__init__.py")
    ]  # of two packages
    copied = {interpreter, authorities, *standard, *map(Path, SYSTEM_FILES), *linked}
    packages = debian_packages(copied)
    record_packages(root, packages)
    components = bill.python_components(root / "site") + bill.debian_components(packages)
    (root / "sbom.cdx.json").write_text(json.dumps(bill.bill(options.service, components), indent=1))
    (root / "etc/passwd").write_text(f"darkroom:x:{USER}:{USER}::/app:/nonexistent\n")
    (root / "etc/group").write_text(f"darkroom:x:{USER}:\n")
    (root / "tmp").mkdir()
    (root / "tmp").chmod(0o1777)
    compile_all(root, ["/app", "/site", sysconfig.get_path("stdlib")])
    settle_times(root)


if __name__ == "__main__":
    main()
