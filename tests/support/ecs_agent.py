"""The ECS agent's endpoint for task protection, as a real HTTP server."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

GRANTED = {"protection": {"ProtectionEnabled": True, "ExpirationDate": "2026-12-30T00:00:00Z", "TaskArn": "arn"}}


class Agent:
    """The ECS agent's endpoint: remembers what it is told, and answers what the test says."""

    def __init__(self) -> None:
        self.told: list[tuple[str, dict[str, Any]]] = []
        self.status = 200
        self.answer: Any = GRANTED
        agent = self

        class Handler(BaseHTTPRequestHandler):
            def do_PUT(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                agent.told.append((self.path, json.loads(body)))
                said = json.dumps(agent.answer).encode()
                self.send_response(agent.status)
                self.send_header("content-length", str(len(said)))
                self.end_headers()
                self.wfile.write(said)

            def log_message(self, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.uri = f"http://127.0.0.1:{self.server.server_port}/api/0a1b"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
