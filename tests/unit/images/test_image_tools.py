"""Which builder is taken, what it is told, and what is said where there is none."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from deploy.images import base, build, catalogue, containers, tools, trial
from deploy.images.tools import Build, ImageError, Tool

REVISION = catalogue.Revision("0123456789abcdef", 1_700_000_000, clean=True)
OPTIONS = Build("debian:bookworm-slim", "v1", REVISION)
Program = Callable[[str, str], None]


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Program:
    """Puts programs of the test's own on an otherwise empty path."""
    monkeypatch.setenv("PATH", str(tmp_path))

    def make(name: str, script: str) -> None:
        path = tmp_path / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    return make


def test_the_first_builder_that_works_is_taken(program: Program) -> None:
    program("docker", "exit 0")
    program("buildah", "exit 0")
    assert tools.find() == Tool("docker")


def test_a_docker_client_without_an_engine_does_not_count(program: Program) -> None:
    program("docker", "echo 'Cannot connect to the Docker daemon' >&2; exit 1")
    program("podman", "exit 0")
    assert tools.find() == Tool("podman")


def test_an_engine_that_hangs_does_not_count(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    program("docker", "exec /bin/sleep 60")
    program("buildah", "exit 0")
    monkeypatch.setattr(tools, "_PATIENCE", 0.2)
    assert tools.find() == Tool("buildah")


@pytest.mark.parametrize("main", [build.main, trial.main, base.main])
def test_without_a_builder_every_command_says_what_to_install_and_fails(
    program: Program,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    main: Callable[[], int],
) -> None:
    monkeypatch.setattr("sys.argv", ["command"])
    assert main() == 1
    assert "apt-get install buildah podman runc" in capsys.readouterr().err


def test_images_are_told_where_they_come_from_and_for_whom_they_are(program: Program) -> None:
    command = Tool("docker").command("gateway", Build("base:1", "v1", REVISION, "linux/arm64"))
    text = " ".join(command)
    assert text.startswith("docker build --build-arg BASE=base:1 --build-arg SOURCE_DATE_EPOCH=1700000000")
    assert "--label org.opencontainers.image.revision=0123456789abcdef" in text
    assert "--label org.opencontainers.image.created=2023-11-14T22:13:20Z" in text
    assert "--platform linux/arm64" in text
    assert text.endswith("--target gateway -t darkroom/gateway:v1 -f deploy/images/Dockerfile .")


def test_builders_without_an_engine_isolate_by_chroot_and_set_one_time() -> None:
    text = " ".join(Tool("buildah").command("gateway", OPTIONS))
    assert "--isolation chroot" in text
    assert "--timestamp 1700000000" in text


def test_the_builders_own_certificates_never_take_the_place_of_those_that_the_image_carries() -> None:
    command = Tool("buildah").command("gateway", OPTIONS)
    mounts = [command[index + 1] for index, word in enumerate(command) if word == "-v"]
    assert all(mount.split(":")[1] == "/run/builder-certificates.crt" for mount in mounts)


def test_a_failed_build_shows_the_end_of_its_log(program: Program, tmp_path: Path) -> None:
    program("podman", "echo first; echo 'no space left' >&2; exit 125")
    with pytest.raises(ImageError, match=r"(?s)gateway: the build failed.*no space left"):
        Tool("podman").build("gateway", OPTIONS, tmp_path / "log")


def test_where_no_registry_can_be_reached_the_way_without_one_is_told(program: Program, tmp_path: Path) -> None:
    program("buildah", "echo 'initializing source docker://debian: no such host' >&2; exit 125")
    with pytest.raises(ImageError, match="make images-base && make images BASE="):
        Tool("buildah").build("gateway", OPTIONS, tmp_path / "log")


def test_the_password_of_a_registry_goes_through_standard_input(program: Program, tmp_path: Path) -> None:
    program("docker", f'echo "$@" > {tmp_path}/arguments; /bin/cat > {tmp_path}/input')
    Tool("docker").login("registry.example.com", "AWS", "secret")
    assert (tmp_path / "input").read_text() == "secret"
    assert "secret" not in (tmp_path / "arguments").read_text()


def test_containers_run_without_a_right_they_do_not_need() -> None:
    text = " ".join(
        containers.Client("podman", "runc").command("n", "image", {"A": "secret"}, ["/usr/bin/python3", "-V"])
    )
    for wanted in ("--runtime runc", "--read-only", "--read-only-tmpfs=false", "--cap-drop all", "--pull never"):
        assert wanted in text
    assert text.endswith("--env A --entrypoint /usr/bin/python3 image -V")
    assert "secret" not in text


def test_runc_alone_gives_no_more_rights_than_the_others() -> None:
    bundle = containers._bundle("/root-fs", ["A=1"], ["/usr/bin/python3", "-V"], "/app")
    assert bundle["root"] == {"path": "/root-fs", "readonly": True}
    process = bundle["process"]
    assert (process["user"], process["args"], process["env"]) == (
        {"uid": 10001, "gid": 10001},
        ["/usr/bin/python3", "-V"],
        ["A=1"],
    )
    assert not any(process["capabilities"].values())
    writable = {mount["destination"] for mount in bundle["mounts"] if mount["type"] == "tmpfs"}
    assert writable == {"/dev", "/dev/shm"}
    assert "network" not in {namespace["type"] for namespace in bundle["linux"]["namespaces"]}


def test_without_an_engine_that_runs_images_each_is_told_with_what_it_said(program: Program) -> None:
    program("podman", "echo 'crun: cannot mount' >&2; exit 126")
    with pytest.raises(
        ImageError, match=r"(?s)No container can be run here.*podman: \['crun: cannot mount'\].*runc: not"
    ):
        containers.find(Tool("buildah"), "image", "name")


def test_a_base_made_here_is_for_one_processor_and_named_after_it_where_that_is_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(catalogue, "machine", lambda: "x86_64")
    made = "localhost/darkroom-base:bookworm"
    assert catalogue.base_for(made, "") == catalogue.base_for(made, "linux/amd64") == made
    assert catalogue.base_for(made, "linux/arm64") == f"{made}-arm64"
    assert catalogue.base_for("debian:bookworm-slim", "linux/arm64") == "debian:bookworm-slim"


def test_for_another_processor_an_emulation_is_asked_for_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalogue, "machine", lambda: "x86_64")
    tools.check_emulation("linux/amd64", tmp_path)
    with pytest.raises(ImageError, match="apt-get install qemu-user-static binfmt-support"):
        tools.check_emulation("linux/arm64", tmp_path)
    (tmp_path / "qemu-aarch64").touch()
    tools.check_emulation("linux/arm64", tmp_path)


def test_the_revision_is_the_last_change_of_what_images_are_made_from(tmp_path: Path) -> None:
    def git(*arguments: str) -> str:
        identity = ["-c", "user.name=t", "-c", "user.email=t@example.com"]
        done = subprocess.run(
            ["git", *identity, "-C", str(tmp_path), *arguments], capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    git("init", "-q")
    (tmp_path / "runtime").mkdir()
    (tmp_path / "runtime" / "a.py").write_text("1")
    git("add", ".")
    git("commit", "-q", "-m", "code")
    code = git("rev-parse", "HEAD")
    (tmp_path / "README.md").write_text("text")
    git("add", ".")
    git("commit", "-q", "-m", "text")
    found = catalogue.revision(tmp_path)
    assert (found.commit, found.clean) == (code, True)
    (tmp_path / "runtime" / "a.py").write_text("2")
    assert catalogue.revision(tmp_path).labels["org.opencontainers.image.revision"] == f"{code}-changed"


def test_a_tree_without_history_has_no_revision(tmp_path: Path) -> None:
    assert catalogue.revision(tmp_path) == catalogue.Revision("unknown", 0, clean=True)
