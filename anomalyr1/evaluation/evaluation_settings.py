"""The settings card of an evaluation: all that can change a number of it, by name."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from anomalyr1.config import Config
from anomalyr1.evaluation.backends.answering import Backend
from anomalyr1.evaluation.kept_settings import chosen_settings
from anomalyr1.prompts import build_messages, without_images
from anomalyr1.rows import Row
from anomalyr1.settings_card import text_digest
from anomalyr1.text_files import read_bytes

_OPTIONS = {"A": "{option A}", "B": "{option B}"}


def evaluation_card(
    config: Config, backend: Backend, benchmark_sha256: str, rows: Sequence[Row]
) -> dict[str, Any]:
    """The whole card; `evaluation.kept_settings.FIELDS` names its fields.

    Args:
        config: of the evaluation.
        backend: that answers.
        benchmark_sha256: of the mmad.json.
        rows: the questions asked, all of them.
    """
    prompts = _prompt_forms(backend, rows)
    knowledge = config.prompt.domain_knowledge
    return {
        **backend.settings,
        **chosen_settings(
            benchmark_sha256, asdict(config.prompt), {**asdict(config.eval), "seed": config.seed}
        ),
        "knowledge_sha256": None
        if knowledge is None
        else hashlib.sha256(read_bytes(Path(knowledge), "domain knowledge")).hexdigest(),
        "prompts": prompts,
        "prompt_sha256": text_digest(json.dumps(prompts, sort_keys=True)),
        "batch_size": config.eval.batch_size,
    }


def _prompt_forms(backend: Backend, rows: Sequence[Row]) -> dict[str, str]:
    """Template -> the whole prompt as text, a name in braces for whatever differs by question."""
    tokenizer: Any = backend.processor.tokenizer
    forms: dict[str, str] = {}
    for row in rows:
        if row.template in forms:
            continue
        options = {} if row.question.is_grounding else _OPTIONS
        messages = build_messages(
            row.sample,
            replace(row.question, text="{question}", options=options),
            row.template,
            references=len(row.references),
            knowledge=None if row.knowledge is None else "{knowledge}",
            unit=backend.family.unit or "pixels",
        )
        shown = messages if row.images else without_images(messages)
        forms[row.template] = str(
            tokenizer.apply_chat_template(shown, tokenize=False, add_generation_prompt=True)
        )
    return forms
