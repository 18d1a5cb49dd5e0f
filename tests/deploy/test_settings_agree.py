"""What the stacks set and what the services ask for: the same names, and limits in the right order."""

from __future__ import annotations

from typing import Final

import pytest

from deploy.cdk import parameters, settings
from gateway.settings import Settings as Gateway
from image_svc.settings import Settings as Image
from metadata_svc.settings import Settings as Metadata
from presign_svc.settings import Settings as Presign
from runtime.settings import ServiceSettings

SERVICES: Final[dict[str, type[ServiceSettings]]] = {
    "gateway": Gateway,
    "presign_svc": Presign,
    "metadata_svc": Metadata,
    "image_svc": Image,
}
OWNERS: Final = {
    "DARKROOM_DEPLOY_ACCOUNT": "123456789012",
    "DARKROOM_DEPLOY_BROWSER_ORIGINS": "https://photos.example.com",
}


def environment(stage: str) -> settings.Environment:
    return settings.load(stage, {} if stage == "local" else OWNERS)


@pytest.mark.parametrize("entry", parameters.CORE, ids=lambda entry: f"{entry.folder}/{entry.name}")
def test_a_parameter_is_a_setting_of_each_of_its_readers(entry: parameters.Parameter) -> None:
    assert entry.readers
    for reader in entry.readers:
        assert entry.name in SERVICES[reader].model_fields
        assert entry.folder in {"shared", reader}


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
    assert all(field.is_required() for field in settings.Environment.model_fields.values())
