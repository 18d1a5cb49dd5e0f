"""What API Gateway itself answers, as problem+json in the words of the contract.

Every response type that a REST API without authorizers can give has an entry: a default cannot know its status, and a
problem document must state it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Final


@dataclass(frozen=True, slots=True)
class Refusal:
    """One answer of API Gateway's own. `kind` ends the problem's URN; `retry_after` is in seconds."""

    status: int
    kind: str
    title: str
    detail: str
    retry_after: int | None = None


# The realm is the gateway's own.
_AUTHENTICATE: Final = 'ApiKey realm="darkroom", header="x-api-key"'

_NO_ROUTE: Final = Refusal(404, "not_found", "There is nothing here.", "There is no such route; /docs lists them.")
_DOWN: Final = Refusal(
    503, "unavailable", "The service is not available at the moment.", "Try again after the given time.", retry_after=5
)
_FORBIDDEN: Final = Refusal(403, "forbidden", "The credential may not do this.", "The request is not allowed.")

# Response types: API Gateway developer guide, "Gateway response types". Kinds, titles and status are the gateway's
# (gateway/problems.py): a client sees no difference in who refuses.
REFUSALS: Final[dict[str, Refusal]] = {
    # The API has one key for each tenant: an unknown one is no credential, and 403 is for missing scopes.
    "INVALID_API_KEY": Refusal(
        401, "unauthenticated", "A valid API key is required.", "Send a valid API key in the header x-api-key."
    ),
    # What an unknown route or method is called here; with an Authorization header it is the next one.
    "MISSING_AUTHENTICATION_TOKEN": _NO_ROUTE,
    "INVALID_SIGNATURE": _NO_ROUTE,
    "RESOURCE_NOT_FOUND": _NO_ROUTE,
    "ACCESS_DENIED": _FORBIDDEN,
    "WAF_FILTERED": _FORBIDDEN,
    "BAD_REQUEST_BODY": Refusal(400, "malformed", "The request is malformed.", "The body cannot be read."),
    "BAD_REQUEST_PARAMETERS": Refusal(
        400, "malformed", "The request is malformed.", "A parameter is missing or wrong."
    ),
    "REQUEST_TOO_LARGE": Refusal(
        413, "payload_too_large", "The body is too large.", "Files go to S3 with a ticket, never through this API."
    ),
    "UNSUPPORTED_MEDIA_TYPE": Refusal(415, "unsupported_media_type", "The body must be JSON.", "Send JSON."),
    "THROTTLED": Refusal(
        429, "rate_limited", "Too many requests.", "Too many requests at once; slow down.", retry_after=1
    ),
    "QUOTA_EXCEEDED": Refusal(
        429, "quota_exceeded", "The tenant's quota is used up.", "The key's quota is used up.", retry_after=60
    ),
    "INTEGRATION_FAILURE": _DOWN,
    "INTEGRATION_TIMEOUT": _DOWN,
    "API_CONFIGURATION_ERROR": _DOWN,
    "DEFAULT_4XX": Refusal(400, "malformed", "The request is malformed.", "The request cannot be handled."),
    "DEFAULT_5XX": Refusal(500, "internal", "The service failed.", "The fault is ours."),
}


def document() -> dict[str, Any]:
    """The value of `x-amazon-apigateway-gateway-responses`."""
    return {name: _response(refusal) for name, refusal in REFUSALS.items()}


def _response(refusal: Refusal) -> dict[str, Any]:
    body = {
        "type": f"urn:darkroom:problem:{refusal.kind}",
        "title": refusal.title,
        "status": refusal.status,
        "detail": refusal.detail,
        "request_id": "$context.requestId",
    }
    headers = {
        "Content-Type": "'application/problem+json'",
        "x-request-id": "context.requestId",
        # Browsers hide an answer without it. These bodies are the same for everyone.
        "Access-Control-Allow-Origin": "'*'",
        "Access-Control-Expose-Headers": "'x-request-id,retry-after'",
    }
    if refusal.status == 401:
        headers["WWW-Authenticate"] = f"'{_AUTHENTICATE}'"
    if refusal.retry_after is not None:
        headers["Retry-After"] = f"'{refusal.retry_after}'"
    return {
        "statusCode": str(refusal.status),
        "responseParameters": {f"gatewayresponse.header.{name}": value for name, value in headers.items()},
        # The key is API Gateway's name of the template; the header above is what the client sees.
        "responseTemplates": {"application/json": json.dumps(body)},
    }
