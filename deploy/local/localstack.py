"""LocalStack as one process on the host: `python -m deploy.local.localstack --port N --data DIR`.

The command turns itself into LocalStack (same process id), run by its own environment `.venv-localstack`, since
LocalStack pins libraries that the services use in other versions. Nothing survives its restart. SIGTERM takes it
seconds (2 to 17): who ends it should wait a short grace and then SIGKILL (`stop` does).
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import botocore.session
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

ROOT: Final = Path(__file__).resolve().parents[2]
REGION: Final = "ap-northeast-2"
# The only credentials whose presigned URLs LocalStack verifies.
CREDENTIALS: Final = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}

# What the product uses. Nothing else is loaded, so that a wrong call fails instead of finding some other emulator.
SERVICES: Final = "apigateway,cloudformation,cloudwatch,events,iam,kms,logs,s3,scheduler,secretsmanager,sns,sqs,ssm,sts"
# Under its data: its list of plugins, its catalogue of services.
_CACHES: Final = (".cache", "var/lib/localstack/cache")
_PR_SET_PDEATHSIG: Final = 1  # linux/prctl.h


def environment(port: int, data: Path) -> dict[str, str]:
    """The variables that LocalStack is started with; `data` takes everything that it writes."""
    return {
        "OVERRIDE_IN_DOCKER": "0",  # it would look for a Docker engine
        "FILESYSTEM_ROOT": str(data),
        "HOME": str(data),  # its machine id and licence cache
        "TEMP": str(data / "tmp"),  # read by tempfile; TMPDIR has another meaning to LocalStack
        "GATEWAY_LISTEN": f"127.0.0.1:{port}",
        "LOCALSTACK_HOST": f"127.0.0.1:{port}",  # the host in URLs that it hands out
        "SERVICES": SERVICES,
        "DNS_ADDRESS": "0",  # no name server
        "DISABLE_EVENTS": "1",  # no usage reports
        "SKIP_SSL_CERT_DOWNLOAD": "1",
        "SQS_ENDPOINT_STRATEGY": "path",
        "S3_SKIP_SIGNATURE_VALIDATION": "0",
        "LS_LOG": "warn",
        "PYTHONUNBUFFERED": "1",
    }


def python() -> Path:
    """The Python of LocalStack's environment; `DARKROOM_LOCALSTACK_VENV` names another one. Raises SystemExit."""
    venv = Path(os.environ.get("DARKROOM_LOCALSTACK_VENV") or ROOT / ".venv-localstack")
    found = venv / "bin" / "python"
    if not found.exists():
        raise SystemExit(f"LocalStack is not installed in {venv}: run `make setup`, or set DARKROOM_LOCALSTACK_VENV")
    return found


def client(service: str, endpoint_url: str, *, read_timeout: float = 30) -> Any:  # botocore makes classes at run time
    """A plain synchronous client with the test credentials; for set-up and checks, not for services."""
    config = Config(
        signature_version="s3v4" if service == "s3" else None,
        s3={"addressing_style": "path"},
        connect_timeout=2,
        read_timeout=read_timeout,
        retries={"total_max_attempts": 1},
    )
    return botocore.session.Session().create_client(
        service,
        region_name=REGION,
        endpoint_url=endpoint_url,
        aws_access_key_id=CREDENTIALS["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
        config=config,
    )


def wait(endpoint_url: str, *, seconds: float = 90, alive: Callable[[], bool] = lambda: True) -> None:
    """Waits until S3, SQS and API Gateway answer real calls; raises TimeoutError, or RuntimeError once not `alive`.

    `/_localstack/health` says healthy even when a service cannot be imported, so it is not asked. A service's first
    call loads it (up to 9 s each): after this the three that the main path needs are warm.
    """
    deadline = time.monotonic() + seconds
    calls = {"s3": "list_buckets", "sqs": "list_queues", "apigateway": "get_rest_apis"}
    for service, call in calls.items():
        while True:
            try:
                getattr(client(service, endpoint_url), call)()
                break
            except (BotoCoreError, ClientError) as error:
                if not alive():
                    raise RuntimeError("LocalStack ended while it was starting; its log says why") from error
                if time.monotonic() > deadline:
                    raise TimeoutError(f"LocalStack's {service} did not answer within {seconds:.0f} s") from error
                time.sleep(0.1)


def keep_caches(data: Path) -> None:
    """Keeps what a LocalStack has found out about its own packages: half of the 8 s that a start from nothing takes."""
    kept = _kept_caches()
    if kept.exists():
        return
    with tempfile.TemporaryDirectory(dir=kept.parent, prefix=kept.name) as folder:
        for cache in _CACHES:
            if (data / cache).exists():
                shutil.copytree(data / cache, Path(folder, "new", cache))
        with contextlib.suppress(OSError):  # another one was faster
            Path(folder, "new").replace(kept)


def _bring_caches(data: Path) -> None:
    for cache in _CACHES:
        if (_kept_caches() / cache).exists() and not (data / cache).exists():
            shutil.copytree(_kept_caches() / cache, data / cache)


def _kept_caches() -> Path:
    return python().parents[1] / ".darkroom-caches"


def start(port: int, data: Path, log: Path) -> subprocess.Popen[bytes]:
    """Starts LocalStack as a child that dies with this process. Follow with `wait`, end with `stop`."""
    command = [sys.executable, "-m", "deploy.local.localstack", "--port", str(port), "--data", str(data)]
    with log.open("ab") as out:
        return subprocess.Popen([*command, "--die-with-parent"], cwd=ROOT, stdout=out, stderr=subprocess.STDOUT)


def stop(process: subprocess.Popen[bytes], *, grace: float = 3) -> None:
    """SIGTERM, up to `grace` seconds, SIGKILL. It keeps nothing anyway, and its own way out can take 17 s."""
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(grace)
        return
    process.kill()
    process.wait()


def main() -> None:
    """Turns this process into LocalStack."""
    parser = argparse.ArgumentParser(prog="deploy.local.localstack", description="Runs LocalStack on loopback only.")
    parser.add_argument("--port", type=int, required=True, help="where every service listens, on 127.0.0.1")
    parser.add_argument("--data", type=Path, required=True, help="folder for everything that it writes")
    parser.add_argument("--die-with-parent", action="store_true", help="SIGKILL when the process that started it ends")
    options = parser.parse_args()
    data: Path = options.data.resolve()
    shutil.rmtree(data / "tmp", ignore_errors=True)  # what a killed one left: objects are kept here
    (data / "tmp").mkdir(parents=True)
    _bring_caches(data)
    if options.die_with_parent:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)  # outlives execve
    interpreter = str(python())
    inherited = {name: os.environ[name] for name in ("PATH", "LANG", "LC_ALL", "TZ") if name in os.environ}
    marks = {name: value for name, value in os.environ.items() if name.startswith("DARKROOM_")}
    script = str(Path(__file__).with_name("_localstack_main.py"))
    # -P: the script's own folder stays off the path: its `localstack.py` would hide the package of that name.
    os.execve(interpreter, [interpreter, "-P", script], inherited | marks | environment(options.port, data))


if __name__ == "__main__":
    main()
