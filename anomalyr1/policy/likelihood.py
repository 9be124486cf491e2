"""How likely a policy finds each option's letter at the place where it answers."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from anomalyr1.parsing.letter_likelihood import LetterLikelihood
from anomalyr1.policy.generate import Completion
from anomalyr1.policy.letter_tokens import (
    LetterTokens,
    letters_after,
    letters_alone,
    letters_at_once,
)
from anomalyr1.policy.prepared import Asked
from anomalyr1.schema import Question


@torch.inference_mode()
def letter_likelihoods(
    asked: Asked,
    questions: Sequence[Question],
    completions: Sequence[Completion] | None = None,
    rows: Sequence[int] | None = None,
    *,
    alone: bool = False,
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
        alone: the prompt asks for a letter without tags or reasoning (`asks_for_reasoning` is
            false), so that it is what a completion begins with.

    Returns:
        One a row; None where a question has no options.
    """
    rows = range(asked.size) if rows is None else rows
    tokenizer = asked.policy.processor.tokenizer
    plans: list[LetterTokens | None] = []
    for number, question in enumerate(questions):
        if question.is_grounding:
            plans.append(None)
        elif alone:
            plans.append(letters_alone(tokenizer, question.options))
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
