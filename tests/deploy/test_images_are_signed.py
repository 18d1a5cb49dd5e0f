"""The registry signs what is pushed to it, with a profile that outlives what runs."""

from __future__ import annotations

from typing import Any

import pytest

from deploy.images import catalogue
from tests.deploy.conftest import Templates


def of(template: dict[str, Any], kind: str) -> dict[str, dict[str, Any]]:
    return {name: item["Properties"] for name, item in template["Resources"].items() if item["Type"] == kind}


@pytest.mark.parametrize("stage", ["dev", "staging", "prod"])
def test_every_image_is_signed_as_it_is_pushed(stage: str, request: pytest.FixtureRequest) -> None:
    templates: Templates = request.getfixturevalue(stage)
    registry = templates["Registry"]
    profiles = of(registry, "AWS::Signer::SigningProfile")
    [(profile, properties)] = profiles.items()
    assert properties["PlatformId"] == "Notation-OCI-SHA384-ECDSA"
    assert "ProfileName" not in properties  # a stack that is made again would find its name taken by a cancelled one
    [configuration] = of(registry, "AWS::ECR::SigningConfiguration").values()
    [rule] = configuration["Rules"]
    assert rule["SigningProfileArn"] == {"Fn::GetAtt": [profile, "Arn"]}
    [covered] = rule["RepositoryFilters"]
    assert covered["FilterType"] == "WILDCARD_MATCH"
    repositories = of(registry, "AWS::ECR::Repository").values()
    prefix = covered["Filter"].removesuffix("*")
    assert all(item["RepositoryName"].startswith(prefix) for item in repositories)
    assert len(repositories) == len(catalogue.SERVICES)


@pytest.mark.parametrize("stage", ["dev", "prod"])
def test_every_service_runs_on_the_processor_that_its_image_is_built_for(
    stage: str, request: pytest.FixtureRequest
) -> None:
    templates: Templates = request.getfixturevalue(stage)
    architectures = {"X86_64": "linux/amd64", "ARM64": "linux/arm64"}
    seen = set()
    for template in templates.values():
        for definition in of(template, "AWS::ECS::TaskDefinition").values():
            for container in definition["ContainerDefinitions"]:
                image = str(container["Image"])
                for service in catalogue.SERVICES:
                    if f"/{service}" in image:
                        seen.add(service)
                        architecture = definition["RuntimePlatform"]["CpuArchitecture"]
                        assert architectures[architecture] == catalogue.PLATFORMS[service], definition["Family"]
    assert seen == set(catalogue.SERVICES)
