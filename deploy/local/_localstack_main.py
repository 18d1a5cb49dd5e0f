"""Runs LocalStack on loopback only. Runs with the Python of LocalStack's own environment: imports nothing of ours.

LocalStack's server is given the host to listen on and ignores it for IPv4 ("TODO: interface = host?" in
localstack/runtime/server/twisted.py): it would listen on every interface. Twisted's endpoint takes the interface as an
argument, so it gets the default here, before LocalStack uses it.
"""

from __future__ import annotations

import functools

from localstack.runtime import main
from twisted.internet import endpoints

endpoints.TCP4ServerEndpoint = functools.partial(endpoints.TCP4ServerEndpoint, interface="127.0.0.1")

if __name__ == "__main__":
    main.main()
