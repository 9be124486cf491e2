"""How likely a policy finds each option's letter, and from that how likely a defect."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from anomalyr1.parsing.verdict_letters import verdict_letters
from anomalyr1.policy.asking import Asked
from anomalyr1.policy.generate import Completion
from anomalyr1.policy.letter_tokens import LetterTokens, letters_after, letters_at_once
from anomalyr1.schema import Question


@dataclass(frozen=True)
class LetterLikelihood:
    """What a policy thinks of the options at the place where it answers.

    Attributes:
        logps: letter -> natural logarithm of the probability that the policy goes on with it, in
            the tokens that `letter_tokens` names; over the whole vocabulary, so that those of all
            options sum to less than one.
        forced: the completion had opened no answer; one was opened for it.
    """

    logps: Mapping[str, float]
    forced: bool = False

    @property
    def probabilities(self) -> dict[str, float]:
        """The same among the options alone: letter -> probability, their sum 1.

        >>> LetterLikelihood({"A": -1.0, "B": -1.0}).probabilities
        {'A': 0.5, 'B': 0.5}
        """
        top = max(self.logps.values())
        weights = {letter: math.exp(logp - top) for letter, logp in self.logps.items()}
        total = sum(weights.values())
        return {letter: weight / total for letter, weight in weights.items()}

    @property
    def best(self) -> str:
        """The likeliest letter; of equally likely ones the first."""
        return max(self.logps, key=lambda letter: self.logps[letter])


@torch.inference_mode()
def letter_likelihoods(
    asked: Asked,
    questions: Sequence[Question],
    completions: Sequence[Completion] | None = None,
    rows: Sequence[int] | None = None,
) -> list[LetterLikelihood | None]:
    """The likelihood of each option's letter, all questions of a batch in one pass.

    With completions it is that of the answer after the policy's own reasoning: the completion is
    read by the policy up to its "<answer>". Without, that of an answer given at once. Where
    prefixes are shared, what the prompts have in common is not computed again for it.

    Args:
        asked: the batch.
        questions: of the rows, options as shown.
        completions: of the rows, or None.
        rows: of the batch; None for all.

    Returns:
        One a row; None where a question has no options.
    """
    rows = range(asked.size) if rows is None else rows
    tokenizer = asked.policy.processor.tokenizer
    plans: list[LetterTokens | None] = []
    for number, question in enumerate(questions):
        if question.is_grounding:
            plans.append(None)
        elif completions is None:
            plans.append(letters_at_once(tokenizer, question.options))
        else:
            plans.append(letters_after(tokenizer, completions[number].ids, question.options))
    # A letter of several tokens is weighed token by token, behind those before it.
    contexts: dict[tuple[int, tuple[int, ...]], int] = {}
    for row, plan in zip(rows, plans, strict=True):
        for tokens in plan.tokens.values() if plan else ():
            for end in range(len(tokens)):
                context = row, (*plan.before, *tokens[:end]) if plan else ()
                contexts.setdefault(context, len(contexts))
    if not contexts:
        return [None] * len(plans)
    logits = asked.logits_after([row for row, _ in contexts], [said for _, said in contexts])
    logps = logits.float().log_softmax(-1).cpu()

    def likelihood(row: int, plan: LetterTokens) -> LetterLikelihood:
        found = {}
        for letter, tokens in plan.tokens.items():
            steps = (
                logps[contexts[row, (*plan.before, *tokens[:end])], token]
                for end, token in enumerate(tokens)
            )
            found[letter] = float(sum(float(step) for step in steps))
        return LetterLikelihood(found, plan.forced)

    return [
        None if plan is None else likelihood(row, plan)
        for row, plan in zip(rows, plans, strict=True)
    ]


def anomaly_probability(likelihood: LetterLikelihood | None, question: Question) -> float | None:
    """P(anomalous): the share of the letters that mean a defect among those that mean a verdict.

    None where the question is none of normal or anomalous (`parsing.verdict_letters`).

    >>> question = Question("Any defect?", "Anomaly Detection", {"A": "No.", "B": "Yes."})
    >>> round(anomaly_probability(LetterLikelihood({"A": -2.0, "B": -1.0}), question), 3)
    0.731
    """
    said = verdict_letters(question)
    if said is None or likelihood is None:
        return None
    verdicts = LetterLikelihood({letter: likelihood.logps[letter] for letter in said})
    return sum(p for letter, p in verdicts.probabilities.items() if said[letter] == "abnormal")
