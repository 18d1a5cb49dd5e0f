"""The document that API Gateway imports: what is derived, and what is refused because API Gateway could not take it."""

from __future__ import annotations

import copy
import json
from typing import Any

import msgspec
import pytest

from deploy.cdk import api_document, gateway_responses
from gateway import problems
from tests.support import openapi

Document = dict[str, Any]

# Words of OpenAPI 3.1 and of JSON Schema that API Gateway ignores, refuses or reads otherwise.
UNREAD = {"$ref", "oneOf", "anyOf", "allOf", "const", "examples", "example", "discriminator", "nullable", "webhooks"}


def derived(document: Document, **changed: Any) -> Document:
    options = {"title": "t", "integration": {"connectionType": "INTERNET"}, "scheme": "http", **changed}
    return api_document.derive(document, **options)


def document(**paths: Any) -> Document:
    """A document with these paths: name them with `__` for a slash."""
    return {
        "openapi": "3.1.0",
        "info": {"title": "ours", "version": "1"},
        "paths": {path.replace("__", "/"): item for path, item in paths.items()},
    }


def get(**operation: Any) -> Document:
    return {"get": {"responses": {"200": {"description": "fine"}}, **operation}}


def words(value: Any) -> set[str]:
    """Every key of every object in a document."""
    match value:
        case dict():
            return set(value).union(*map(words, value.values()))
        case list():
            return set().union(*map(words, value))
        case _:
            return set()


def test_our_document_becomes_one_that_api_gateway_reads_whole() -> None:
    made = derived(openapi.DOCUMENT)
    assert made["openapi"] == "3.0.1"
    assert not words(made) & UNREAD
    for item in made["paths"].values():
        for operation in item.values():
            assert all(status.isdigit() for status in operation["responses"])  # `default` means something else there


def test_deriving_leaves_our_document_as_it_was() -> None:
    before = copy.deepcopy(openapi.DOCUMENT)
    derived(openapi.DOCUMENT)
    assert before == openapi.DOCUMENT


def test_every_operation_id_is_there_once() -> None:
    ours = [
        item[method]["operationId"]
        for item in openapi.DOCUMENT["paths"].values()
        for method in item
        if method in api_document.METHODS
    ]
    made = [
        op["operationId"]
        for item in derived(openapi.DOCUMENT)["paths"].values()
        for op in item.values()
        if "operationId" in op
    ]
    assert sorted(made) == sorted(ours)


def test_a_key_is_asked_for_on_v1_alone_and_never_of_a_preflight() -> None:
    paths = derived(document(__v1__things=get(), __healthz=get()))["paths"]
    assert paths["/v1/things"]["get"]["security"] == paths["/v1/things"]["head"]["security"] == [{"api_key": []}]
    assert "security" not in paths["/v1/things"]["options"]
    assert set(paths["/healthz"]) == {"get", "head"}
    assert "security" not in paths["/healthz"]["get"]


def test_a_parameter_of_the_path_is_handed_to_the_gateway() -> None:
    operation = derived(document(**{"__v1__things__{id}": get()}))["paths"]["/v1/things/{id}"]["get"]
    integration = operation["x-amazon-apigateway-integration"]
    assert integration["uri"] == "http://${stageVariables.gateway}/v1/things/{id}"
    assert integration["requestParameters"] == {"integration.request.path.id": "method.request.path.id"}
    assert [(item["name"], item["in"], item["required"]) for item in operation["parameters"]] == [("id", "path", True)]


def test_a_greedy_path_is_greedy_to_api_gateway_and_plain_to_the_gateway() -> None:
    item = {**get(), api_document.GREEDY: True}
    paths = derived(document(**{"__docs__{file}": item}))["paths"]
    integration = paths["/docs/{file+}"]["get"]["x-amazon-apigateway-integration"]
    assert integration["uri"].endswith("/docs/{file}")


def test_events_stream_and_nothing_else_does() -> None:
    stream = {"200": {"description": "events", "content": {"text/event-stream": {}}}}
    paths = derived(document(__v1__events=get(responses=stream), __v1__things=get()))["paths"]
    integration = paths["/v1/events"]["get"]["x-amazon-apigateway-integration"]
    assert (integration["responseTransferMode"], integration["timeoutInMillis"]) == ("STREAM", 900_000)
    for other in (paths["/v1/events"]["head"], paths["/v1/things"]["get"]):
        assert "responseTransferMode" not in other["x-amazon-apigateway-integration"]
        assert other["x-amazon-apigateway-integration"]["timeoutInMillis"] == 29_000


def test_the_way_to_the_gateway_is_the_stacks_choice() -> None:
    link = {"connectionType": "VPC_LINK", "connectionId": "link", "integrationTarget": "arn:of:the:balancer"}
    paths = derived(document(__healthz=get()), integration=link, scheme="https")["paths"]
    integration = paths["/healthz"]["get"]["x-amazon-apigateway-integration"]
    assert integration["uri"] == "https://${stageVariables.gateway}/healthz"
    assert link.items() <= integration.items()


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({**document(__a=get()), "openapi": "2.0"}, "openapi"),
        (document(a=get()), "starts with a slash"),
        (document(__a__=get()), "does not end with one"),
        (document(__ping=get()), "keeps this path"),
        (document(**{"__a__x{id}": get()}), "parameter alone"),
        (document(**{"__a b": get()}), "plain segment"),
        (document(**{"__a__{id}": get(), "__a__{name}__b": get()}), "is called"),
        (document(__a={**get(), api_document.GREEDY: True}), "parameter at the end"),
        (document(__a=get(responses={"default": {"description": "anything"}})), "no answer with a status"),
    ],
)
def test_what_api_gateway_cannot_take_stops_the_synth_and_is_named(wrong: Document, named: str) -> None:
    with pytest.raises(api_document.DocumentError, match=named):
        derived(wrong)


@pytest.mark.parametrize("name", gateway_responses.REFUSALS)
def test_api_gateways_own_refusal_is_the_problem_that_the_gateway_would_give(name: str) -> None:
    refusal = gateway_responses.REFUSALS[name]
    ours = problems.answer(problems.Refusal(refusal.kind, refusal.detail), "$context.requestId")
    response = gateway_responses.document()[name]
    (template,) = response["responseTemplates"].values()
    assert json.loads(template) == msgspec.json.decode(ours.body)
    headers = {
        parameter.removeprefix("gatewayresponse.header.").lower(): value.strip("'")
        for parameter, value in response["responseParameters"].items()
    }
    assert response["statusCode"] == str(ours.status)
    assert headers["content-type"] == "application/problem+json"
    assert headers["x-request-id"] == "context.requestId"
    expected = dict(ours.head)
    assert headers.get("www-authenticate") == expected.get("www-authenticate")
    assert ("retry-after" in headers) == ("retry-after" in expected)


def test_every_response_type_without_an_authorizer_is_worded() -> None:
    assert set(gateway_responses.REFUSALS) == {
        "ACCESS_DENIED",
        "API_CONFIGURATION_ERROR",
        "BAD_REQUEST_BODY",
        "BAD_REQUEST_PARAMETERS",
        "DEFAULT_4XX",
        "DEFAULT_5XX",
        "INTEGRATION_FAILURE",
        "INTEGRATION_TIMEOUT",
        "INVALID_API_KEY",
        "INVALID_SIGNATURE",
        "MISSING_AUTHENTICATION_TOKEN",
        "QUOTA_EXCEEDED",
        "REQUEST_TOO_LARGE",
        "RESOURCE_NOT_FOUND",
        "THROTTLED",
        "UNSUPPORTED_MEDIA_TYPE",
        "WAF_FILTERED",
    }
