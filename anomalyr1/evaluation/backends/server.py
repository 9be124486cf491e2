"""The backend `openai`: a server that speaks OpenAI's chat completions computes the answers."""

from __future__ import annotations

import base64
import io
import mimetypes
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from anomalyr1.config import Config
from anomalyr1.config.backend import Server
from anomalyr1.data.images import open_image
from anomalyr1.errors import InputError, listed
from anomalyr1.evaluation.backends.answering import (
    Answer,
    by_image,
    require_same_prompt,
)
from anomalyr1.evaluation.backends.chat_client import ChatClient, Refused
from anomalyr1.evaluation.backends.rounds import Batch, Turn
from anomalyr1.policy.family import Family
from anomalyr1.policy.load import load_processor, read_family
from anomalyr1.policy.resizing import resized_image
from anomalyr1.rows import Row, count_tokens
from anomalyr1.schema import Prediction
from anomalyr1.settings_card import checkpoint_settings

# What keeps a server from sampling as the checkpoint's generation_config.json says.
_PLAIN = {"top_p": 1.0, "frequency_penalty": 0.0}
_FULL = {**_PLAIN, "presence_penalty": 0.0, "repetition_penalty": 1.0, "top_k": -1, "min_p": 0.0}
SAMPLING: dict[Server, dict[str, Any]] = {
    "vllm": _FULL,
    "sglang": _FULL,
    "transformers": _PLAIN,  # it makes the repetition penalty out of the frequency penalty
    "other": {**_PLAIN, "presence_penalty": 0.0},
}
# Images in a row, none of which is answered, after which the fault is taken for the server's.
_PATIENCE = 3
_KEPT = 64  # encoded images, for the references that many share


@dataclass
class _Asked:
    """What came of an image's questions: a fault ends them; one that is fatal ends the run."""

    predictions: list[Prediction] = field(default_factory=list)
    unanswered: list[str] = field(default_factory=list)
    fault: InputError | None = None
    fatal: bool = False


class Served:
    """A server, asked about several images at once, each one's questions one after the other.

    So the questions of an image find their prefix in the server's cache. Predictions come in the
    order of the rows.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        self.backend = config.eval.backend
        self.model = self.backend.model or config.policy.path
        self.processor: Any = load_processor(config.policy)
        self.family: Family = read_family(config.policy)
        self._encoded: dict[str, str] = {}
        self._lock = threading.Lock()
        client = ChatClient(self.backend, threading.Event())
        try:
            served, self.version = client.models(), client.version()
        finally:
            client.close()
        # `transformers serve` lists the hub's cache, and loads whatever it is asked for.
        if served and self.model not in served and self.backend.server != "transformers":
            raise InputError(
                f"expected the server at {self.backend.url} to serve {self.model}, found "
                f"{listed(served)}; set eval.backend.model"
            )

    @property
    def settings(self) -> dict[str, Any]:
        """Which server, and all that is sent beside the messages; it tells no dtype or kernel."""
        request = {k: v for k, v in self._body([]).items() if k != "messages"}
        where = {"server": self.backend.server, "url": self.backend.url}
        if self.version is not None:
            where["version"] = self.version
        backend = {"kind": "openai", **where, "images": self.backend.images, "request": request}
        return {**checkpoint_settings(self.config.policy), "backend": backend}

    def predictions(self, rows: Sequence[Row]) -> Iterator[list[Prediction]]:
        """Image after image.

        Raises:
            InputError: the server is gone or reads other prompts, which ends the run at once, or it
                refused images, which are named when all others are answered.
        """
        stop = threading.Event()
        client = ChatClient(self.backend, stop)
        pool = ThreadPoolExecutor(self.backend.concurrency)
        groups = iter(by_image(rows))
        pending: deque[Future[_Asked]] = deque()
        unanswered: list[str] = []
        refused, fatal = 0, None
        try:
            for group in groups:
                pending.append(pool.submit(self._ask, client, group))
                if len(pending) >= 2 * self.backend.concurrency:
                    break
            while pending:
                found = pending.popleft().result()
                if found.predictions:
                    yield found.predictions
                unanswered += found.unanswered
                refused = refused + 1 if found.fault else 0
                if found.fault and (found.fatal or refused >= _PATIENCE) and fatal is None:
                    fatal = found.fault
                    stop.set()
                    pending = deque(one for one in pending if not one.cancel())
                following = None if fatal else next(groups, None)
                if following:
                    pending.append(pool.submit(self._ask, client, following))
        finally:
            stop.set()
            client.close()  # before the threads are waited for: nobody wants their answers now
            pool.shutdown(cancel_futures=True)
        if fatal is not None:
            raise fatal
        if unanswered:
            raise InputError(
                f"expected an answer to every question from {self.backend.url}, found "
                f"{len(unanswered)} without: {listed(unanswered)}; mend these images or the "
                "server, and give the command again: all other answers are kept"
            )

    def _ask(self, client: ChatClient, rows: Sequence[Row]) -> _Asked:
        """All questions of an image; never raises what is the server's fault."""
        asked = _Asked()
        for number, row in enumerate(rows):
            if client.stop.is_set():
                break
            try:
                asked.predictions += self._answers(client, row)
            except Refused as refusal:
                asked.unanswered += [f"{one.sample_id} ({refusal})" for one in rows[number:]]
                asked.fault = InputError(
                    f"expected answers from {self.backend.url}, found none to {row.sample_id}: "
                    f"{refusal}; read the server's log"
                )
                break
            except InputError as fault:
                asked.fault, asked.fatal = fault, True
                break
        return asked

    def _answers(self, client: ChatClient, row: Row) -> list[Prediction]:
        config = self.config
        with self._lock:  # a tokenizer is for one thread at a time
            batch = Batch.of([row], config.eval, config.seed, self.processor, self.family)
        return batch.predictions(lambda turns: [self._answer(client, turn) for turn in turns])

    def _answer(self, client: ChatClient, turn: Turn) -> Answer:
        row = turn.row
        said = client.complete(self._body(self._messages(row), turn))
        where = f"the server at {self.backend.url}"
        if said["reasoning"]:
            raise InputError(
                f"expected the whole completion of {row.sample_id} as one text from {where}, found "
                "its reasoning taken out of it; start the server without a reasoning parser (vLLM, "
                "SGLang), or give its tokenizer a response_template of one field, `content` "
                "(transformers serve)"
            )
        with self._lock:
            begun = count_tokens(self.processor.tokenizer, turn.said)
        require_same_prompt(row, said["prompt_tokens"], where, begun)
        return Answer(said["text"])

    def _body(self, messages: list[dict[str, Any]], turn: Turn | None = None) -> dict[str, Any]:
        body = {
            "model": self.model,
            "messages": messages,
            "max_tokens": self.config.eval.max_new_tokens,
            "seed": self.config.seed,
            **SAMPLING[self.backend.server],
            "temperature": self.config.eval.temperature,
        }
        if turn is not None and turn.seed is not None:
            body["seed"] = turn.seed
        if turn is not None and turn.said:
            messages.append({"role": "assistant", "content": turn.said})
            body |= {"continue_final_message": True, "add_generation_prompt": False}
        if self.backend.server == "transformers":
            body["chat_template_kwargs"] = {"size": dict(self.processor.image_processor.size)}
        return {**body, **self.backend.body}

    def _messages(self, row: Row) -> list[dict[str, Any]]:
        """The conversation with its images in their places."""
        images = iter(row.images)
        return [
            {
                "role": message["role"],
                "content": [
                    {"type": "image_url", "image_url": {"url": self._url(next(images))}}
                    if part["type"] == "image"
                    else part
                    for part in message["content"]
                ],
            }
            for message in row.messages
        ]

    def _url(self, name: str) -> str:
        path = Path(name)
        if self.backend.images == "file":
            return path.absolute().as_uri()
        known = self._encoded.get(name)
        if known is not None:
            return known
        if self.backend.images == "data":
            content, kind = path.read_bytes(), mimetypes.guess_type(name)[0] or "image/png"
        else:
            written = io.BytesIO()
            resized_image(open_image(path), self.processor).save(written, "PNG")
            content, kind = written.getvalue(), "image/png"
        url = f"data:{kind};base64,{base64.b64encode(content).decode()}"
        with self._lock:
            self._encoded[name] = url
            if len(self._encoded) > _KEPT:
                del self._encoded[next(iter(self._encoded))]
        return url
