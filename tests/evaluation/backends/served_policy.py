"""A policy behind OpenAI's chat completions, which fails in the ways that a test names."""

from __future__ import annotations

import base64
import io
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from PIL import Image

from anomalyr1.policy.generate import complete_asked
from anomalyr1.policy.load import Policy
from anomalyr1.policy.prepared import prepare_conversations

# Given the number of the request, from 1, and its body: a status and content to answer with
# instead, an exception to break the connection with, or None to answer rightly.
Fault = Callable[[int, dict[str, Any]], "tuple[int, str] | Exception | None"]


class ServedPolicy:
    """The server: its address, the requests it has had, and how it fails.

    `spoil` changes a right answer before it is sent.
    """

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.fault: Fault = lambda number, body: None
        self.spoil: Callable[[dict[str, Any]], None] = lambda content: None
        self.requests: list[dict[str, Any]] = []
        self.url = ""
        self.lock = threading.Lock()
        self.active = 0

    def forget(self) -> None:
        """Be right again, once nobody who has left is still being answered."""
        while self.active:
            time.sleep(0.01)
        self.fault, self.spoil = lambda number, body: None, lambda content: None
        self.requests.clear()

    def answer(self, body: dict[str, Any]) -> dict[str, Any]:
        """What a right server says."""
        images, messages = [], []
        said = body["messages"][-1]["content"] if body.get("continue_final_message") else ""
        assert body.get("add_generation_prompt", True) is not bool(said)
        for message in body["messages"][: -1 if said else None]:
            parts = []
            for part in message["content"]:
                if part["type"] == "image_url":
                    images.append(sent_image(part["image_url"]["url"]))
                    parts.append({"type": "image"})
                else:
                    parts.append(part)
            messages.append({"role": message["role"], "content": parts})
        processor = self.policy.processor
        prompt = processor.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        tokens = len(processor(text=[prompt + said], images=[images])["input_ids"][0])
        asked = prepare_conversations(self.policy, [messages], [images], share=False)
        temperature = body["temperature"]
        [(text, _)] = complete_asked(
            asked,
            max_new_tokens=body["max_tokens"],
            said=[said],
            temperature=temperature,
            seeds=[body["seed"]] if temperature else None,
        )
        content = {
            "choices": [{"index": 0, "message": {"role": "assistant", "content": text}}],
            "usage": {"prompt_tokens": tokens},
        }
        self.spoil(content)
        return content


@contextmanager
def serving(policy: Policy) -> Iterator[ServedPolicy]:
    """Serve a policy on loopback for a while."""
    served = ServedPolicy(policy)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *args: object) -> None:
            pass

        def do_GET(self) -> None:
            self._send(200, json.dumps({"data": [{"id": "tiny"}]}))

        def do_POST(self) -> None:
            served.active += 1
            try:
                self._post()
            finally:
                served.active -= 1

        def _post(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with served.lock:
                served.requests.append(body)
                fault = served.fault(len(served.requests), body)
                if fault is None:
                    fault = 200, json.dumps(served.answer(body))
            if isinstance(fault, Exception):
                self.close_connection = True
                self.connection.close()
            else:
                self._send(*fault)

        def _send(self, status: int, content: str) -> None:
            written = content.encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(written)))
            self.end_headers()
            self.wfile.write(written)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    served.url = f"http://127.0.0.1:{server.server_port}/v1"
    try:
        yield served
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def hang(seconds: float) -> tuple[int, str]:
    """Keep a client waiting, then answer with nothing of use."""
    time.sleep(seconds)
    return 200, "{}"


def sent_image(url: str) -> Image.Image:
    """The image of a data or file URL."""
    if url.startswith("file://"):
        return Image.open(Path(url.removeprefix("file://"))).convert("RGB")
    return Image.open(io.BytesIO(base64.b64decode(url.split(",", 1)[1]))).convert("RGB")
