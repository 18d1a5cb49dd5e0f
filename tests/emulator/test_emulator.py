"""The emulator does, and does not, what the table says."""

from __future__ import annotations

import asyncio
import gzip
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from time import sleep

import pytest

from tests.emulator.render import DOCUMENT, rendered
from tests.emulator.table import BODY, TABLE, Emulator, Row
from tests.support.localstack import LocalStack


class _Upstream(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path.startswith("/slow"):
            sleep(0.5)
        self.send_response(302 if self.path.startswith("/moved") else 200)
        body = b"ok"
        if self.path.startswith("/packed"):
            body = gzip.compress(BODY)
            self.send_header("content-encoding", "gzip")
        self.send_header("location", "/elsewhere")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        """Says nothing."""


@pytest.fixture(scope="module")
def upstream() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Upstream)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.name)
async def test_the_emulator_behaves_as_the_table_says(localstack: LocalStack, upstream: str, row: Row) -> None:
    same = await asyncio.to_thread(row.probe, Emulator(localstack.endpoint_url, upstream))
    assert same == row.same, f"on AWS {row.aws}; the table says {'so' if row.same else 'not so'} here, and it is not"


def test_the_document_is_the_table() -> None:
    assert DOCUMENT.read_text() == rendered(), "run `python -m tests.emulator.render` and commit what it writes"
