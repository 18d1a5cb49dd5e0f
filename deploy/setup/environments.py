"""The project's environments: made from their locks, each with a stamp that says from what.

A stamp is the hash of everything that the environment was made from. It is removed before the work and written after
it, so that what an interruption left is never taken for whole.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final
from urllib.parse import quote

from deploy.setup import native, system
from deploy.setup.console import SetupError, run, step

ROOT: Final = Path(__file__).resolve().parents[2]
LOGS: Final = ROOT / ".cache" / "setup"

_BOOTSTRAP_LOCK: Final = Path(__file__).with_name("bootstrap.lock")
_SERVICES_LOCK: Final = ROOT / "requirements.lock"
_LOCALSTACK_LOCK: Final = ROOT / "deploy" / "local" / "localstack.lock"
_CHECKOV_LOCK: Final = ROOT / "deploy" / "gates" / "checkov.lock"

_BOOTSTRAP: Final = ROOT / ".venv-setup"
_SERVICES: Final = ROOT / ".venv"
_LOCALSTACK: Final = ROOT / ".venv-localstack"
_CHECKOV: Final = ROOT / ".venv-checkov"
_WHEELS: Final = ROOT / ".cache" / "wheels"
_NATIVE: Final = ROOT / "image_svc" / "pipeline" / "native"
_NATIVE_STAMP: Final = ROOT / ".cache" / "native.stamp"

Command = list[str | Path]

_STAMP: Final = ".darkroom-stamp"
_UNFINISHED: Final = ".darkroom-unfinished"

# pillow-simd's own names. Debian's libavif is too old for it (a wheel of its own serves AVIF).
_CODECS: Final = {
    "webp": "enable",
    "lcms": "enable",
    "tiff": "enable",
    "jpeg2000": "enable",
    "avif": "disable",
    "imagequant": "disable",
}
# Asked of the environment once it is made; the message is for the person who set it up.
_CHECK: Final = """
import PIL
from PIL import features
lacking = [name for name in ("jpg", "zlib", "webp", "littlecms2", "libtiff", "jpg_2000") if not features.check(name)]
assert not lacking, f"Pillow lacks {lacking}"
assert "post" in PIL.__version__ or {plain}, f"another Pillow has replaced pillow-simd: {PIL.__version__}"
import grpc, asyncpg, aiohttp, pillow_heif
"""


def ensure() -> bool:
    """Makes whatever is missing; says whether anything was."""
    bootstrap = _digest(_BOOTSTRAP_LOCK)
    simd = _simd_key(bootstrap)
    services = _digest(_SERVICES_LOCK, simd)
    localstack = _digest(_LOCALSTACK_LOCK, bootstrap)
    reducer = _native_key()
    if _native_there(reducer) and _stamped(_SERVICES, services) and _stamped(_LOCALSTACK, localstack):
        return False
    compiles = (bool(simd) and not _kept_wheel(simd)) or not _native_there(reducer)
    system.install(system.missing(compiling=compiles), LOGS)
    if not _native_there(reducer):
        _make_native(reducer)
    if not _stamped(_BOOTSTRAP, bootstrap):
        _make_bootstrap(bootstrap)
    if not _stamped(_SERVICES, services):
        wheel = _simd_wheel(simd) if simd else None
        with step("libraries of the services, with PostgreSQL -> .venv"):
            _synchronise(_SERVICES, _requirements(wheel), "services")
            # The repository and protos/ are import roots; the project itself is not a package to install.
            site = next(_SERVICES.glob("lib/python3.*/site-packages"))
            (site / "darkroom.pth").write_text(f"{ROOT}\n{ROOT / 'protos'}\n")
            check = _CHECK.replace("{plain}", str(not simd))
            run([_python(_SERVICES), "-c", check], LOGS / "check.log")
            _finish(_SERVICES, services)
    if not _stamped(_LOCALSTACK, localstack):
        with step("LocalStack, in an environment of its own -> .venv-localstack"):
            _synchronise(_LOCALSTACK, _LOCALSTACK_LOCK, "localstack")
            _finish(_LOCALSTACK, localstack)
    return True


def ensure_checkov() -> bool:
    """Makes the environment that only the gates need (200 MB, seconds), where it is not there; says whether it did.

    Expects that `ensure` has run, or makes uv itself.
    """
    bootstrap = _digest(_BOOTSTRAP_LOCK)
    digest = _digest(_CHECKOV_LOCK, bootstrap)
    if _stamped(_CHECKOV, digest):
        return False
    if not _stamped(_BOOTSTRAP, bootstrap):
        _make_bootstrap(bootstrap)
    with step("checkov, which reads the templates, in an environment of its own -> .venv-checkov"):
        _synchronise(_CHECKOV, _CHECKOV_LOCK, "checkov")
        _finish(_CHECKOV, digest)
    return True


def _digest(*parts: Path | str) -> str:
    """Of the given files and texts, this Python and this folder (an environment cannot be moved)."""
    total = hashlib.sha256(f"{ROOT} {sys.executable} {platform.python_version()}".encode())
    for part in parts:
        total.update(hashlib.sha256(part.read_bytes() if isinstance(part, Path) else part.encode()).digest())
    return total.hexdigest()


def _stamped(environment: Path, digest: str) -> bool:
    stamp = environment / _STAMP
    return stamp.exists() and stamp.read_text() == digest and _python(environment).exists()


def _begin(environment: Path) -> None:
    (environment / _STAMP).unlink(missing_ok=True)
    (environment / _UNFINISHED).touch()


def _finish(environment: Path, digest: str) -> None:
    new = environment / f"{_STAMP}.new"
    new.write_text(digest)
    new.replace(environment / _STAMP)
    (environment / _UNFINISHED).unlink(missing_ok=True)


def _python(environment: Path) -> Path:
    return environment / "bin" / "python"


def _make_bootstrap(digest: str) -> None:
    with step("uv, which installs the rest -> .venv-setup"):
        run([sys.executable, "-m", "venv", "--clear", _BOOTSTRAP], LOGS / "bootstrap-venv.log", _variables())
        pip: Command = [_python(_BOOTSTRAP), "-m", "pip", "--disable-pip-version-check", "install", "--require-hashes"]
        run([*pip, "-r", _BOOTSTRAP_LOCK], LOGS / "bootstrap-pip.log", _variables())
        _finish(_BOOTSTRAP, digest)


def _synchronise(environment: Path, requirements: Path, name: str) -> None:
    """Makes the environment hold exactly the requirements. What an interruption left is made anew."""
    uv = _BOOTSTRAP / "bin" / "uv"
    if (environment / _UNFINISHED).exists() or not _same_python(environment):
        run([uv, "venv", "--clear", "-p", sys.executable, environment], LOGS / f"{name}-venv.log", _variables())
    _begin(environment)
    # Two or three of the packages are sources: what builds them is pinned too.
    pinned: Command = ["--require-hashes", "--build-constraints", _BOOTSTRAP_LOCK]
    run(
        [uv, "pip", "sync", *pinned, "-p", _python(environment), requirements],
        LOGS / f"{name}-sync.log",
        _variables(),
    )


def _same_python(environment: Path) -> bool:
    try:
        probe = subprocess.run(
            [_python(environment), "-c", "import platform; print(platform.python_version(), end='')"],
            capture_output=True,
            text=True,
            check=False,
        )
    except OSError:
        return False
    return probe.returncode == 0 and probe.stdout == platform.python_version()


def _variables() -> dict[str, str]:
    """The environment of pip and uv: the caller's own, with what pip is configured with handed on to uv."""
    variables = {name: value for name, value in os.environ.items() if name not in {"VIRTUAL_ENV", "PYTHONPATH"}}
    variables["UV_PYTHON_DOWNLOADS"] = "never"
    bundle = variables.get("SSL_CERT_FILE") or "/etc/ssl/certs/ca-certificates.crt"
    if Path(bundle).exists():  # a bare machine has no certificates of its own: then uv's serve
        variables.setdefault("UV_SYSTEM_CERTS", "1")
    if index := variables.get("PIP_INDEX_URL"):
        variables.setdefault("UV_DEFAULT_INDEX", index)
    return variables


def _native_key() -> str:
    """What the libraries of our own C depend on."""
    return _digest(*(" ".join(map(str, _compiled(library, library))) for library in native.libraries(_NATIVE)))


def _compiled(library: Path, output: Path) -> list[str | Path]:
    vectors = native.vectors(system.simd_flag()) if platform.machine() == "x86_64" else []
    return native.command(_NATIVE, vectors, output, library.name)


def _native_there(key: str) -> bool:
    there = all(library.exists() for library in native.libraries(_NATIVE))
    return there and _NATIVE_STAMP.exists() and _NATIVE_STAMP.read_text() == key


def _make_native(key: str) -> None:
    with step(f"our own C, compiled -> {_NATIVE.relative_to(ROOT)}"):
        for library in native.libraries(_NATIVE):
            # Put in place at once: a process that runs keeps the file that it has loaded.
            new = library.with_suffix(".new")
            run(_compiled(library, new), LOGS / f"{library.stem}.log", _variables() | system.search_paths())
            new.replace(library)
        _NATIVE_STAMP.write_text(key)


def _simd_block() -> str:
    """The lines of the lock that pin pillow-simd."""
    found = re.search(r"^pillow-simd==.*\n(?:[ \t].*\n)*", _SERVICES_LOCK.read_text(), re.MULTILINE)
    if found is None:
        raise SetupError(f"{_SERVICES_LOCK} does not pin pillow-simd")
    return found.group()


def _simd_key(bootstrap: str) -> str:
    """What a wheel of pillow-simd depends on; empty where plain Pillow serves (it has vector code for x86-64 only)."""
    if platform.machine() != "x86_64":
        return ""
    tag = f"{sys.implementation.cache_tag} {platform.libc_ver()}"
    text = f"{bootstrap} {_simd_block()} {_CODECS} {system.simd_flag()} {tag}"
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _simd_wheel(key: str) -> Path:
    """The wheel of pillow-simd for this machine: the kept one, or a new one."""
    if kept := _kept_wheel(key):
        return kept
    with step(f"pillow-simd, compiled with {system.simd_flag()} (about a minute) -> .cache/wheels"):
        pin = LOGS / "pillow-simd.txt"
        pin.parent.mkdir(parents=True, exist_ok=True)
        pin.write_text(_simd_block())
        unfinished = _WHEELS / f"{key}.unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        pip: Command = [_python(_BOOTSTRAP), "-m", "pip", "--disable-pip-version-check", "wheel"]
        # Built with the setuptools and pybind11 of bootstrap.lock; pip's own cache may hold other settings' wheel.
        how = ["--no-deps", "--no-build-isolation", "--no-cache-dir", "--no-binary", "pillow-simd", "--require-hashes"]
        settings = [f"--config-settings={codec}={choice}" for codec, choice in _CODECS.items()]
        run(
            [*pip, *how, *settings, "-w", unfinished, "-r", pin],
            LOGS / "pillow-simd.log",
            _variables() | system.compiler_variables(),
        )
        unfinished.replace(_WHEELS / key)
    return next((_WHEELS / key).glob("*.whl"))


def _kept_wheel(key: str) -> Path | None:
    return next((_WHEELS / key).glob("*.whl"), None)


def _requirements(wheel: Path | None) -> Path:
    """The lock with the wheel that was compiled here in place of pillow-simd's source."""
    if wheel is None:
        return _SERVICES_LOCK
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    pinned = f"pillow-simd @ file://{quote(str(wheel))} --hash=sha256:{digest}\n"
    target = LOGS / "requirements.txt"
    target.write_text(_SERVICES_LOCK.read_text().replace(_simd_block(), pinned))
    return target
