"""The page that shows the document: it loads from here alone, and can read what it is given."""

from __future__ import annotations

import copy
import re

from openapi_spec_validator import OpenAPIV30SpecValidator

from gateway import openapi30
from tests.support import openapi
from tests.unit.gateway.conftest import Gateway


def test_the_document_in_terms_of_3_0_is_valid_and_leaves_the_given_one_alone() -> None:
    before = copy.deepcopy(openapi.DOCUMENT)
    made = openapi30.converted(openapi.DOCUMENT)
    OpenAPIV30SpecValidator(made).validate()
    assert before == openapi.DOCUMENT
    assert made["paths"].keys() == before["paths"].keys()
    image = made["components"]["schemas"]["Image"]["properties"]
    assert image["sha256"]["nullable"]
    assert image["placeholder"] == {
        "description": before["components"]["schemas"]["Image"]["properties"]["placeholder"]["description"],
        "allOf": [{"$ref": "#/components/schemas/Placeholder"}],
        "nullable": True,
    }


async def test_everything_that_the_page_names_is_served_from_here(gateway: Gateway) -> None:
    page = (await gateway.call("GET", "/docs", key=None)).body.decode()
    start = (await gateway.call("GET", "/docs/start.js", key=None)).body.decode()
    named = re.findall(r'"(docs/[^"]+)"', page + start)
    assert {"docs/openapi-3.0.json", "docs/swagger-ui-bundle.js", "docs/swagger-ui.css"} <= set(named)
    for name in named:
        assert (await gateway.call("GET", f"/{name}", key=None)).status == 200
