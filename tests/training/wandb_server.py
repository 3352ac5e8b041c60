"""As much of a Weights & Biases server as one run needs, on the loopback device."""

from __future__ import annotations

import gzip
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class WandbServer(ThreadingHTTPServer):
    """Keeps what the client sends: rows of history, names of files, exit codes."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.history: list[dict] = []
        self.files: list[str] = []
        self.exit_codes: list[int] = []
        self.configuration = ""

    def handle_error(self, request, client_address):
        """A client that hangs up is no news."""

    def answer(self, query: str, variables: dict) -> dict:
        """What GraphQL asks for, whatever the query: clients take the fields that they know."""
        name, project = variables.get("name"), variables.get("project")
        bucket = {
            "id": "1",
            "name": name,
            "displayName": name,
            "config": "{}",
            "project": {"id": "1", "name": project, "entity": {"id": "1", "name": "me"}},
        }
        last = json.dumps([json.dumps(self.history[-1])]) if self.history else "[]"
        begun = bucket | {
            "summaryMetrics": "{}",
            "historyLineCount": len(self.history),
            "historyTail": last,
            "eventsLineCount": 0,
            "eventsTail": "[]",
            "logLineCount": 0,
            "wandbConfig": json.dumps({"t": 1}),
            "tags": [],
        }
        if "upsertBucket" in query and variables.get("config"):
            self.configuration = variables["config"]
        uploads = [
            {"name": file, "uploadUrl": f"{self.url}/upload/{file}"}
            for file in variables.get("files") or []
        ]
        return {
            "model": {"bucket": begun} if self.history else None,
            "upsertBucket": {"bucket": bucket, "inserted": not self.history},
            "createRunFiles": {"runID": "1", "uploadHeaders": [], "files": uploads},
            "viewer": {"id": "1", "entity": "me", "username": "me", "flags": "{}"},
            "serverInfo": {"features": []},
        }

    def stream(self, sent: dict) -> None:
        """Lines of files, each chunk with the line that it begins at."""
        chunk = (sent.get("files") or {}).get("wandb-history.jsonl")
        if chunk:
            self.history[chunk["offset"] :] = [json.loads(line) for line in chunk["content"]]
        if sent.get("complete"):
            self.exit_codes.append(sent["exitcode"])


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: WandbServer

    def do_POST(self):
        sent = json.loads(self._body())
        if self.path.endswith("/graphql"):
            self._reply({"data": self.server.answer(sent["query"], sent.get("variables") or {})})
        else:
            self.server.stream(sent)
            self._reply({})

    def do_PUT(self):
        self._body()
        self.server.files.append(self.path.removeprefix("/upload/"))
        self._reply({})

    def _body(self) -> bytes:
        content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        zipped = self.headers.get("Content-Encoding") == "gzip"
        return gzip.decompress(content) if zipped else content

    def _reply(self, content: dict) -> None:
        body = json.dumps(content).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        """Silence."""


@contextmanager
def wandb_server() -> Iterator[WandbServer]:
    """A server while the block lasts."""
    with WandbServer() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()
