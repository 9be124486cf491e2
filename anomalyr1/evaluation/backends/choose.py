"""The backend that a config asks for."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import torch
from rich.console import Console

from anomalyr1.config import BackendConfig, Config
from anomalyr1.errors import InputError
from anomalyr1.evaluation.backends.answering import Backend

GOES_ON = ("vllm", "sglang")  # servers that go on with a turn of the policy


def open_backend(config: Config, device: torch.device, console: Console) -> Backend:
    """Load the policy, or reach who serves it.

    Raises:
        InputError: the policy, the package or the server cannot be used, or the backend cannot do
            what is asked.
    """
    kind = config.eval.backend.kind
    if kind == "transformers":
        from anomalyr1.evaluation.backends.in_process import InProcess

        return InProcess(config, device, console)
    if config.eval.likelihood:
        raise InputError(
            f"expected eval.backend.kind=transformers with eval.likelihood, found {kind}, which "
            "tells no likelihood of letters; leave eval.likelihood out"
        )
    server = config.eval.backend.server
    if config.eval.consistency.asked_again and kind == "openai" and server not in GOES_ON:
        raise InputError(
            f"expected eval.backend.server={' or '.join(GOES_ON)} with "
            f"eval.consistency.asked_again, found {server}, which cannot go on with a turn that is "
            "begun; leave eval.consistency.asked_again out"
        )
    if kind == "openai":
        from anomalyr1.evaluation.backends.server import Served

        return Served(config)
    from anomalyr1.evaluation.backends.vllm_engine import VllmEngine

    return VllmEngine(config)


def backend_identity(backend: BackendConfig) -> dict[str, Any]:
    """What predictions depend on of a backend; nothing for the one that was the only one."""
    if backend.kind == "transformers":
        return {}
    settings = asdict(backend)
    names = {
        "openai": ("kind", "url", "server", "model", "images", "body"),
        "vllm": ("kind", "engine"),
    }
    return {"backend": {name: settings[name] for name in names[backend.kind]}}
