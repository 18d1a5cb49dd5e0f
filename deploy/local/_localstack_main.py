"""Runs LocalStack, with two corrections. Runs with the Python of LocalStack's own environment: imports nothing of ours.

On loopback only: LocalStack's server is given the host to listen on and ignores it for IPv4 ("TODO: interface = host?"
in localstack/runtime/server/twisted.py), so that it would listen on every interface. Twisted's endpoint takes the
interface as an argument, so it gets the default here, before LocalStack uses it.

Redirects reach the client: API Gateway hands a 302 of its integration on; LocalStack's follows it, with the client's
API key in the headers ("TODO: check for redirects" in the module named below).
"""

from __future__ import annotations

import functools
from types import ModuleType, SimpleNamespace

import requests  # type: ignore[import-untyped]  # of LocalStack's environment, without stubs in ours
import wrapt
from localstack.runtime import main
from twisted.internet import endpoints

endpoints.TCP4ServerEndpoint = functools.partial(endpoints.TCP4ServerEndpoint, interface="127.0.0.1")


@wrapt.when_imported("localstack.services.apigateway.next_gen.execute_api.integrations.http")
def _hand_redirects_on(integrations: ModuleType) -> None:
    """Gives that module alone a `requests` that does not follow."""
    integrations.requests = SimpleNamespace(  # type: ignore[attr-defined]  # the name under which it imported it
        request=functools.partial(requests.request, allow_redirects=False), exceptions=requests.exceptions
    )


if __name__ == "__main__":
    main.main()
