"""What the stacks set and what the services ask for: the same names, and limits in the right order."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from typing import Any, Final

import pytest
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from deploy.cdk import parameters, settings
from gateway.settings import Settings as Gateway
from image_svc.settings import Settings as Image
from metadata_svc.settings import Settings as Metadata
from presign_svc.settings import Settings as Presign
from runtime.settings import ServiceSettings
from tests.support.environments import OWNERS

SERVICES: Final[dict[str, type[ServiceSettings]]] = {
    "gateway": Gateway,
    "presign_svc": Presign,
    "metadata_svc": Metadata,
    "image_svc": Image,
}


def environment(stage: str) -> settings.Environment:
    return settings.load(stage, {} if stage == "local" else OWNERS)


# `edge` is no service's folder: its one entry is read by an admin command.
LISTED: Final = (*parameters.CORE, *parameters.CORE_AWS, *parameters.DATABASE)


@pytest.mark.parametrize("entry", LISTED, ids=lambda entry: f"{entry.folder}/{entry.name}")
def test_a_parameter_is_a_setting_of_each_of_its_readers(entry: parameters.Parameter) -> None:
    assert entry.readers
    for reader in entry.readers:
        assert entry.name in SERVICES[reader].model_fields
        assert entry.folder in {"shared", reader}


def test_no_parameter_is_listed_twice() -> None:
    paths = [(entry.folder, entry.name) for entry in (*LISTED, *parameters.EDGE)]
    assert len(paths) == len(set(paths))


@pytest.mark.parametrize("service", SERVICES)
def test_what_a_service_needs_is_listed_for_it_or_is_where_another_service_listens(service: str) -> None:
    needed = {name for name, field in SERVICES[service].model_fields.items() if field.is_required()}
    listed = {entry.name for entry in parameters.CORE if service in entry.readers}
    assert {name for name in needed - listed if not name.endswith("_target")} == set()


@pytest.mark.parametrize("service", SERVICES)
def test_a_secret_is_read_by_who_is_given_its_name(service: str) -> None:
    named = {
        entry.source.removeprefix("secret:")
        for entry in parameters.CORE
        if entry.source.startswith("secret:") and service in entry.readers
    }
    assert named == {secret.unit for secret in parameters.SECRETS if service in secret.readers}


@pytest.mark.parametrize("stage", settings.STAGES)
def test_no_signature_is_refused_that_a_ticket_or_a_window_may_still_carry(stage: str) -> None:
    env = environment(stage)
    fields = Presign.model_fields
    longest_ticket = fields["longest_ticket_seconds"].default
    longest_download = 2 * fields["download_window_seconds"].default  # a URL lives up to two windows
    assert env.longest_ticket_seconds >= max(longest_ticket, longest_download)  # originals are downloaded there too
    assert env.longest_download_seconds >= longest_download


@pytest.mark.parametrize("stage", settings.STAGES)
def test_the_queue_hides_a_message_for_longer_than_a_heartbeat(stage: str) -> None:
    assert environment(stage).visibility_seconds >= 3 * Image.model_fields["heartbeat_seconds"].default


def test_the_presets_are_what_the_image_service_has_and_fit_a_parameter() -> None:
    assert len(parameters.presets()) <= 4096


def test_no_environment_has_a_default_in_code() -> None:
    assert all(field.is_required() for _, field in listed(settings.AwsEnvironment))


def test_every_setting_says_what_is_allowed_and_gives_an_example() -> None:
    for name, field in listed(settings.AwsEnvironment):
        assert field.description, name
        assert field.examples, name


def test_environments_differ_in_values_and_not_in_what_they_set() -> None:
    files = {
        stage: tomllib.loads((settings.ENVIRONMENTS / f"{stage}.toml").read_text())
        for stage in settings.STAGES
        if stage != "local"
    }
    names = {stage: set(flat(values)) for stage, values in files.items()}
    assert names["dev"] == names["staging"] == names["prod"]


def listed(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """Every setting of an environment with its dotted name; tables themselves too."""
    for name, field in model.model_fields.items():
        yield prefix + name, field
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from listed(field.annotation, f"{prefix}{name}.")


def flat(values: dict[str, Any], prefix: str = "") -> Iterator[str]:
    for name, value in values.items():
        if isinstance(value, dict):
            yield from flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name
