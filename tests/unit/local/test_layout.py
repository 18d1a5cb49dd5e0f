"""Ports, paths and memory of a cluster."""

import os
import socket
from pathlib import Path

from deploy.local.layout import BLOCK, ApiKey, Layout, State, choose_ports, is_free, target


def test_a_port_that_somebody_listens_on_is_not_free() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        assert not is_free(taken.getsockname()[1])


def test_ports_do_not_overlap_and_known_ones_are_kept() -> None:
    first = choose_ports({}, prefer_defaults=False)
    blocks = [port + n for name, port in first.items() for n in range(BLOCK if name.endswith("_svc") else 1)]
    assert len(blocks) == len(set(blocks))
    assert choose_ports(first, prefer_defaults=True) == first


def test_a_known_port_that_is_taken_by_now_is_replaced() -> None:
    first = choose_ports({}, prefer_defaults=False)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", first["image_svc"] + 1))  # one of its block is enough
        taken.listen()
        second = choose_ports(first, prefer_defaults=False)
    assert second["image_svc"] != first["image_svc"]
    assert {**second, "image_svc": 0} == {**first, "image_svc": 0}


def test_a_target_lists_the_whole_block() -> None:
    assert target(7100) == "ipv4:127.0.0.1:7100,127.0.0.1:7101,127.0.0.1:7102,127.0.0.1:7103"


def test_what_is_remembered_comes_back_and_only_its_owner_can_read_it(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    layout.make()
    assert layout.load() == State()
    state = State(ports={"gateway": 1}, keys={"DARKROOM_API_KEY": ApiKey("tenant", "drk_x")}, passwords={"app": "p"})
    layout.save(state)
    assert layout.load() == state
    assert (layout.run / "state.json").stat().st_mode & 0o077 == 0


def test_the_control_socket_fits_the_kernels_limit_however_deep_the_folder_is(tmp_path: Path) -> None:
    deep = Layout(tmp_path / ("x" * 60) / ("y" * 60))
    assert len(os.fsencode(deep.socket)) < 108
    assert deep.socket != Layout(tmp_path / "other").socket
    deep.socket.parent.rmdir()
