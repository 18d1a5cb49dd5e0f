"""Fakes and adapters are held to the ports: what passes with one works with the other."""

import inspect
from typing import Any

import pytest

from image_svc import ports
from image_svc.adapters.metadata import GrpcMetadata
from image_svc.adapters.s3 import S3ObjectStore
from image_svc.adapters.sqs import SqsQueue
from image_svc.sandbox import Sandbox
from tests.support.image_world import FakeDeveloper, FakeMetadata, FakeQueue, FakeStore, World

_PAIRS = [
    (ports.Queue, FakeQueue),
    (ports.Queue, SqsQueue),
    (ports.ObjectStore, FakeStore),
    (ports.ObjectStore, S3ObjectStore),
    (ports.Metadata, FakeMetadata),
    (ports.Metadata, GrpcMetadata),
    (ports.Developer, FakeDeveloper),
    (ports.Developer, Sandbox),
]


def _members(port: type) -> dict[str, Any]:
    return {name: member for name, member in vars(port).items() if not name.startswith("_")}


@pytest.mark.parametrize(("port", "implementation"), _PAIRS, ids=lambda one: one.__name__)
def test_an_implementation_has_the_signatures_of_its_port(port: type, implementation: type) -> None:
    for name, member in _members(port).items():
        other = inspect.getattr_static(implementation, name)
        if isinstance(member, property):
            continue
        asked, given = inspect.signature(member), inspect.signature(other)
        assert list(asked.parameters) == list(given.parameters), f"{implementation.__name__}.{name}"
        for parameter in asked.parameters.values():
            assert parameter.kind == given.parameters[parameter.name].kind, f"{implementation.__name__}.{name}"
        assert inspect.iscoroutinefunction(member) == inspect.iscoroutinefunction(other), name


def test_the_type_checker_accepts_each_fake_for_its_port() -> None:
    world = World()
    queue: ports.Queue = FakeQueue(world)
    store: ports.ObjectStore = FakeStore(world)
    metadata: ports.Metadata = FakeMetadata(world)
    developer: ports.Developer = FakeDeveloper(world)
    assert all([queue, store, metadata, developer])
