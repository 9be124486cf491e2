"""Who computes the answers of an evaluation: this process, a server, or vLLM."""

from __future__ import annotations

from dataclasses import field
from typing import Annotated, Literal

from pydantic import Field

from anomalyr1.config.section import Count, Number, Text, Verbatim, Whole, section

Kind = Literal["transformers", "openai", "vllm"]
Server = Literal["vllm", "sglang", "transformers", "other"]


@section
class BackendConfig:
    """Where the answers of an evaluation come from.

    Attributes:
        kind: `transformers` answers in this process; `openai` asks a server that speaks OpenAI's
            chat completions; `vllm` runs vLLM in this process. The last two read no weights of
            `policy.path` themselves but need its processor, which counts prompts.
        url: of the server, up to and with `/v1`.
        server: which one it is, because each has its own words for sampling and pixels: `other`
            sends what OpenAI's own interface has, which knows no repetition penalty.
        model: the name it serves the policy under; None is `policy.path`.
        images: `resized` sends them as the policy's processor makes them, as PNG, so that the
            server's pixel caps do not matter as long as they allow it; `data` sends the files as
            they are, `file` their paths, for a server on the same disk.
        concurrency: images asked about at once, each one's questions one after the other.
        timeout: seconds that an answer may take.
        retries: of a question, where the server fails or answers garbage.
        backoff: seconds before the first of them; each waits twice as long as the one before.
        key_variable: environment variable with the server's key, if it wants one.
        body: further fields of every request, verbatim.
        engine: further arguments of vLLM's engine, verbatim.
    """

    kind: Kind = "transformers"
    url: Text = "http://127.0.0.1:8000/v1"
    server: Server = "vllm"
    model: Text | None = None
    images: Literal["resized", "data", "file"] = "resized"
    concurrency: Count = 16
    timeout: Annotated[Number, Field(gt=0)] = 600.0
    retries: Whole = 5
    backoff: Annotated[Number, Field(ge=0)] = 1.0
    key_variable: Text = "OPENAI_API_KEY"
    body: Verbatim = field(default_factory=dict)
    engine: Verbatim = field(default_factory=dict)
