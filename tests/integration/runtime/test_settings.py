"""Settings: environment over Parameter Store over defaults, read from a real Parameter Store."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any, ClassVar, Self

import pytest
from pydantic import Field, model_validator
from pydantic_settings import SettingsConfigDict

from runtime import aws, logs
from runtime.aws import AwsSettings
from runtime.settings import ServiceSettings, SettingsError, load, read_secret
from tests.support.localstack import LocalStack


class Settings(ServiceSettings):
    service: ClassVar[str] = "sample_svc"
    model_config = SettingsConfigDict(env_prefix="SAMPLE_SVC_", extra="ignore", frozen=True)

    bucket: str = Field(description="Needed.")
    pool_size: int = Field(10, ge=1, le=50, description="A number with bounds.")
    names: list[str] = Field(["default"], description="A list, JSON in both places.")
    least: int = 1
    most: int = 100

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.least > self.most:
            raise ValueError("least <= most must hold")
        return self


class Store:
    """Parameter Store of one stage, which nobody else uses."""

    def __init__(self, ssm: Any, stage: str) -> None:
        self.ssm = ssm
        self.stage = stage

    async def put(self, **values: str) -> None:
        for path, value in values.items():
            name = f"/darkroom/{self.stage}/{path.replace('__', '/')}"
            await self.ssm.put_parameter(Name=name, Value=value, Type="String", Overwrite=True)


@pytest.fixture
async def store(localstack: LocalStack, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Store]:
    stage = f"s{uuid.uuid4().hex[:8]}"
    for name, value in (localstack.environment | {"DARKROOM_STAGE": stage}).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(logs, "set_level", lambda level: None)  # the tests' own logging stays as it is
    async with AsyncExitStack() as stack:
        yield Store(await aws.client(stack, aws.session(), "ssm", AwsSettings()), stage)


async def read() -> Settings:
    return await load(Settings, aws.session())


async def test_the_environment_wins_over_parameters_and_parameters_over_defaults(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.put(shared__bucket="shared", sample_svc__pool_size="20")
    settings = await read()
    assert (settings.bucket, settings.pool_size, settings.names) == ("shared", 20, ["default"])
    await store.put(sample_svc__bucket="own")
    assert (await read()).bucket == "own"
    monkeypatch.setenv("SAMPLE_SVC_BUCKET", "environment")
    monkeypatch.setenv("sample_svc_pool_size", "30")
    settings = await read()
    assert (settings.bucket, settings.pool_size) == ("environment", 30)


async def test_what_the_environment_overrides_may_be_wrong_in_the_store(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.put(shared__bucket="b", sample_svc__pool_size="many")
    monkeypatch.setenv("SAMPLE_SVC_POOL_SIZE", "7")
    assert (await read()).pool_size == 7


async def test_lists_have_one_form_in_both_places(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    await store.put(shared__bucket="b", sample_svc__names='["a", "b"]')
    assert (await read()).names == ["a", "b"]
    monkeypatch.setenv("SAMPLE_SVC_NAMES", '["c"]')
    assert (await read()).names == ["c"]


async def test_more_parameters_than_a_page_holds_are_all_read(store: Store) -> None:
    await store.put(**{f"shared__other{number}": "x" for number in range(12)}, shared__zz="x", sample_svc__bucket="b")
    await store.put(shared__pool_size="33")
    assert (await read()).pool_size == 33


async def test_parameters_of_other_services_and_stages_are_not_read(store: Store) -> None:
    await store.put(other_svc__bucket="theirs")
    with pytest.raises(SettingsError, match="SAMPLE_SVC_BUCKET"):
        await read()


async def test_each_wrong_value_is_named_with_its_variable_and_its_parameter(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.put(sample_svc__pool_size="99")
    monkeypatch.setenv("SAMPLE_SVC_LEAST", "some")
    with pytest.raises(SettingsError) as caught:
        await read()
    text = str(caught.value)
    assert "sample_svc: 3 setting(s)" in text
    assert f"SAMPLE_SVC_BUCKET (or parameter /darkroom/{store.stage}/sample_svc/bucket): Field required" in text
    assert f"SAMPLE_SVC_POOL_SIZE (or parameter /darkroom/{store.stage}/sample_svc/pool_size): " in text
    assert "(got '99')" in text
    assert "SAMPLE_SVC_LEAST" in text


async def test_settings_that_do_not_fit_together_are_named(store: Store) -> None:
    await store.put(shared__bucket="b", sample_svc__least="5", sample_svc__most="4")
    with pytest.raises(SettingsError, match="least <= most must hold"):
        await read()


async def test_a_list_that_is_no_json_is_named(store: Store) -> None:
    await store.put(shared__bucket="b", sample_svc__names="a, b")
    with pytest.raises(SettingsError, match="names"):
        await read()


async def test_what_all_share_is_named_without_a_prefix(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("S3_ADDRESSING_STYLE", "sideways")
    with pytest.raises(SettingsError, match="S3_ADDRESSING_STYLE"):
        await read()


async def test_the_log_level_takes_effect(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    levels: list[str] = []
    monkeypatch.setattr(logs, "set_level", levels.append)
    await store.put(shared__bucket="b")
    monkeypatch.setenv("LOG_LEVEL", "debug")
    await read()
    assert levels == ["debug"]


async def test_a_store_that_does_not_answer_is_named(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    with pytest.raises(SettingsError, match=r"Parameter Store of http://127\.0\.0\.1:1"):
        await read()


async def test_a_secret_is_read_by_its_name(localstack: LocalStack, store: Store) -> None:
    async with AsyncExitStack() as stack:
        manager = await aws.client(stack, aws.session(), "secretsmanager", AwsSettings())
        await manager.create_secret(Name=f"{store.stage}/db", SecretString='{"username": "app", "port": 5432}')
        assert await read_secret(manager, f"{store.stage}/db") == {"username": "app", "port": 5432}
