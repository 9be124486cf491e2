"""A model hub on this machine: takes repositories and commits, and keeps the files it is given."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Hub:
    """What was pushed: repository -> path -> content; and every path that was asked for."""

    def __init__(self) -> None:
        self.files: dict[str, dict[str, bytes]] = {}
        self.private: dict[str, bool] = {}
        self.asked: list[str] = []

    def answer(self, path: str, body: bytes) -> dict:
        """The hub's HTTP interface, as far as a push needs it."""
        self.asked.append(path)
        if path == "/api/repos/create":
            wanted = json.loads(body)
            name = "/".join(filter(None, (wanted.get("organization"), wanted["name"])))
            self.files.setdefault(name, {})
            self.private[name] = wanted.get("private") or wanted.get("visibility") == "private"
            return {"url": f"http://127.0.0.1/{name}", "name": name, "id": name}
        if "/preupload/" in path:
            asked = json.loads(body)["files"]
            plain = {"uploadMode": "regular", "shouldIgnore": False, "oid": None}
            return {"files": [{"path": file["path"], **plain} for file in asked]}
        if "/commit/" in path:
            name = path.removeprefix("/api/models/").split("/commit/")[0]
            for line in body.splitlines():
                entry = json.loads(line)
                if entry["key"] == "file":
                    value = entry["value"]
                    self.files[name][value["path"]] = base64.b64decode(value["content"])
            commit = {"commitOid": "0" * 40, "commitUrl": f"http://127.0.0.1/{name}/commit/0"}
            return {**commit, "hookOutput": ""}
        if path == "/api/validate-yaml":
            return {"errors": [], "warnings": []}
        if path == "/api/whoami-v2":
            return {"name": "somebody", "type": "user", "orgs": []}
        return {}


@contextmanager
def local_hub() -> Iterator[tuple[Hub, str]]:
    """The hub and its address, served until the block ends."""
    hub = Hub()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            if self.headers.get("Transfer-Encoding") == "chunked":
                body = b"".join(self._chunks())
            else:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self._reply(hub.answer(self.path.split("?")[0], body))

        def do_GET(self) -> None:
            self._reply(hub.answer(self.path.split("?")[0], b""))

        def _chunks(self) -> Iterator[bytes]:
            while size := int(self.rfile.readline(), 16):
                yield self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()

        def _reply(self, answer: dict) -> None:
            content = json.dumps(answer).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Nothing is printed."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub, f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
