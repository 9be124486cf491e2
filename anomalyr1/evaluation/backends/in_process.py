"""The backend `transformers`: the policy is loaded here, what prompts share is computed once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch
from rich.console import Console

from anomalyr1.config import Config, EvalConfig
from anomalyr1.evaluation.backends.answering import batches, open_images
from anomalyr1.evaluation.backends.rounds import Batch, Turn
from anomalyr1.parsing.letter_likelihood import anomaly_probability
from anomalyr1.policy.family import Family
from anomalyr1.policy.generate import Completion, complete_asked
from anomalyr1.policy.likelihood import letter_likelihoods
from anomalyr1.policy.load import Policy, load_policy
from anomalyr1.policy.prepared import Asked, prepare_conversations
from anomalyr1.prompts import asks_for_reasoning
from anomalyr1.rows import Row
from anomalyr1.schema import WEIGHS, Prediction
from anomalyr1.settings_card import policy_settings
from anomalyr1.shared_prefix.attention import prepare


class InProcess:
    """A policy in this process."""

    def __init__(self, config: Config, device: torch.device, console: Console) -> None:
        self.config = config
        self.policy = load_policy(config.policy)
        self.policy.model.to(device)
        obstacle = prepare(self.policy.model) if config.policy.shared_prefix else None
        if obstacle:
            console.print(f"shared prefix: off, {obstacle}; every question computes its images")

    @property
    def processor(self) -> Any:
        """Of the policy."""
        return self.policy.processor

    @property
    def family(self) -> Family:
        """Of the policy."""
        return self.policy.family

    @property
    def settings(self) -> dict[str, Any]:
        """Its part of the settings card."""
        return policy_settings(self.config.policy, self.policy)

    def predictions(self, rows: Sequence[Row]) -> Iterator[list[Prediction]]:
        """Batch after batch of `eval.batch_size`."""
        for batch in batches(rows, self.config.eval.batch_size):
            yield list(answer(self.policy, batch, self.config))


def answer(policy: Policy, rows: Sequence[Row], config: Config) -> Iterator[Prediction]:
    """Completions of some rows, with all that scoring needs to know of each.

    Further askings, and with `eval.likelihood` the weighing of letters, go on from the same
    computation of what the prompts share.
    """
    batch = Batch.of(rows, config.eval, config.seed, policy.processor, policy.family)
    opened = open_images(rows)
    asked = prepare_conversations(
        policy,
        [row.messages for row in rows],
        [[opened[name] for name in row.images] for row in rows],
        share=config.policy.shared_prefix,
    )
    asked.add([at for at, _ in batch.further], [one.row.messages for _, one in batch.further])
    predictions = batch.predictions(lambda turns: _completions(asked, turns, config.eval))
    if not config.eval.likelihood:
        yield from predictions
        return
    places = range(len(rows))
    questions = [row.question for row in rows]
    completions = [Completion(one.completion, one.completion_ids or ()) for one in predictions]
    if asks_for_reasoning(config.prompt.template):
        reasoned = letter_likelihoods(asked, questions, completions, places)
        at_once = letter_likelihoods(asked, questions, rows=places)
    else:
        reasoned = at_once = letter_likelihoods(asked, questions, rows=places, alone=True)
    for prediction, question, *found in zip(predictions, questions, reasoned, at_once, strict=True):
        logps = {w: one.logps for w, one in zip(WEIGHS, found, strict=True) if one is not None}
        yield replace(
            prediction,
            score=anomaly_probability(found[0], question),
            letter_logps=logps or None,
        )


def _completions(asked: Asked, turns: Sequence[Turn], options: EvalConfig) -> list[Completion]:
    """As many turns at once as questions."""
    found: list[Completion] = []
    for start in range(0, len(turns), options.batch_size):
        some = turns[start : start + options.batch_size]
        seeds = [turn.seed for turn in some if turn.seed is not None]
        found += complete_asked(
            asked,
            [turn.place for turn in some],
            max_new_tokens=options.max_new_tokens,
            temperature=options.temperature,
            said=[turn.said for turn in some],
            seeds=seeds or None,
        )
    return found
