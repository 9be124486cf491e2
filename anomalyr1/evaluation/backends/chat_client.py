"""One chat completion after the other from a server that may fail: retries, and what is told."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from typing import Any

import httpx

from anomalyr1.config import BackendConfig
from anomalyr1.errors import InputError, one_line

# Worth another try: the server is busy, restarts or lost its way.
_PASSING = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})
# The same for every question.
_FOR_ALL = frozenset({401, 403, 404, 405})
_LONGEST_PAUSE = 60.0  # seconds between two tries


class Refused(Exception):
    """The server answers, but not this question."""


class ChatClient:
    """A server's `/chat/completions`, used by many threads.

    Args:
        config: where it is and how patient we are.
        stop: set where the run ends, so that nobody waits for another try.
    """

    def __init__(self, config: BackendConfig, stop: threading.Event) -> None:
        self.config = config
        self.stop = stop
        key = os.environ.get(config.key_variable)
        self.http = httpx.Client(
            base_url=config.url.rstrip("/"),
            headers={"Authorization": f"Bearer {key}"} if key else {},
            timeout=httpx.Timeout(config.timeout, connect=min(config.timeout, 10.0)),
            limits=httpx.Limits(max_connections=config.concurrency),
        )

    def close(self) -> None:
        """Let the connections go."""
        self.http.close()

    def models(self) -> list[str]:
        """The names under which the server serves models; none where it does not tell.

        Raises:
            InputError: nothing answers there.
        """
        try:
            response = self.http.get("/models")
            listed = response.json() if response.is_success else {}
        except httpx.HTTPError as error:
            raise self._unreachable(one_line(error) or type(error).__name__) from None
        except ValueError:
            listed = {}
        entries = listed.get("data") if isinstance(listed, dict) else None
        return [str(entry["id"]) for entry in entries or () if "id" in entry]

    def version(self) -> str | None:
        """Of the server, as vLLM tells it; None where it does not tell."""
        try:
            response = self.http.get(f"{self.config.url.rstrip('/').removesuffix('/v1')}/version")
            told = response.json() if response.is_success else {}
        except (httpx.HTTPError, ValueError):
            return None
        version = told.get("version") if isinstance(told, dict) else None
        return version if isinstance(version, str) else None

    def complete(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """The answer to one request, with a `message` that holds a text and a `usage`.

        Raises:
            InputError: the server is gone, hangs, or wants something that no question has.
            Refused: it answered each try, and never so that it could be used.
        """
        failure: Exception = self._unreachable("the run was ended")
        for attempt in range(self.config.retries + 1):
            if attempt:
                pause = min(self.config.backoff * 2 ** (attempt - 1), _LONGEST_PAUSE)
                if self.stop.wait(pause):
                    break
            try:
                response = self.http.post("/chat/completions", json=dict(body))
            except httpx.HTTPError as error:
                failure = self._unreachable(one_line(error) or type(error).__name__)
                continue
            said = " ".join(response.text.split())[:200]
            if response.status_code in _FOR_ALL:
                raise self._unreachable(f"status {response.status_code}, {said}")
            if response.is_success:
                try:
                    return _read(response)
                except (ValueError, LookupError, TypeError):
                    failure = Refused(f"no chat completion: {said!r}")
                    continue
            failure = Refused(f"status {response.status_code}, {said}")
            if response.status_code not in _PASSING:
                raise failure
        raise failure

    def _unreachable(self, found: str) -> InputError:
        return InputError(
            f"expected a server with chat completions at {self.config.url}, found: {found}; start "
            "it again or correct eval.backend, and give the command again: what was answered is "
            "kept"
        )


def _read(response: httpx.Response) -> dict[str, Any]:
    content = response.json()
    message, usage = content["choices"][0]["message"], content.get("usage") or {}
    reasoning = message.get("reasoning_content") or message.get("reasoning")
    if not isinstance(message.get("content"), str) and not reasoning:
        raise TypeError("a message without text")
    return {
        "text": message.get("content") or "",
        "reasoning": reasoning,
        "prompt_tokens": usage.get("prompt_tokens"),
    }
