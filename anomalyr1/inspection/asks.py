"""What an inspection asks of an image: a verdict, boxes, and what kind of defect it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from anomalyr1.data.making.questions import TEXTS
from anomalyr1.errors import InputError
from anomalyr1.prompts import Template, smuggled_tokens, special_tokens_in, template_for
from anomalyr1.schema import ANOMALY_DETECTION, GROUNDING, OPTION_LETTERS, Question

Kind = Literal["verdict", "boxes", "type", "description"]

_YES_NO = {"A": "Yes.", "B": "No."}
_TYPE = "Defect Classification"
_DESCRIPTION = "Defect Description"
_DESCRIBE = "There is a defect in the object. How is it described?"


@dataclass(frozen=True)
class Ask:
    """One question of an inspection, and the template that it is shown with."""

    kind: Kind
    question: Question
    template: Template


def plan_asks(
    question: str | Question | None,
    template: Template,
    *,
    locate: bool,
    defect_types: Sequence[str] = (),
    descriptions: Sequence[str] = (),
) -> list[Ask]:
    """The questions of an inspection, the verdict first.

    What presupposes a defect comes last, and is asked only of an image that was found to have one;
    no two stand in one prompt.

    Args:
        question: what decides: a yes-or-no question in words, a `Question` of any type, or None for
            whether there is a defect.
        template: `inspect` asks for the letter and boxes at once; with `choice` boxes are a
            question of their own.
        locate: whether boxes are wanted.
        defect_types: to choose the type of a defect from.
        descriptions: to choose the description of a defect from.

    Raises:
        InputError: a question or a choice that cannot be asked.

    >>> [ask.kind for ask in plan_asks(None, "choice", locate=True, defect_types=["dent", "hole"])]
    ['verdict', 'boxes', 'type']
    """
    asked = _verdict(question)
    asks = [Ask("verdict", asked, template_for(asked, template))]
    if locate and template == "choice" and not asked.is_grounding:
        where = Question(TEXTS[GROUNDING][0], GROUNDING)
        asks.append(Ask("boxes", where, "grounding"))
    if defect_types:
        which = _choice(TEXTS[_TYPE][0], _TYPE, defect_types, "defect types")
        asks.append(Ask("type", which, "choice"))
    if descriptions:
        how = _choice(_DESCRIBE, _DESCRIPTION, descriptions, "descriptions")
        asks.append(Ask("description", how, "choice"))
    return asks


def refuse_special_tokens(
    asks: Sequence[Ask], knowledge: str | None, tokens: Sequence[str]
) -> None:
    """Stop where a text would be read as a mark of the conversation.

    Raises:
        InputError: the texts and the tokens are named.
    """
    found = [fault for ask in asks for fault in smuggled_tokens(ask.question, (), tokens)]
    found += [
        f"the knowledge holds {token}" for token in special_tokens_in(knowledge or "", tokens)
    ]
    if found:
        raise InputError(
            f"expected texts without special tokens of the policy, found: {'; '.join(found)}; "
            "take them out"
        )


def _verdict(question: str | Question | None) -> Question:
    if isinstance(question, Question):
        return replace(question, answer=None)
    if question is not None and not question.strip():
        raise InputError("expected a question, found an empty text; leave it out for the usual one")
    return Question(question or TEXTS[ANOMALY_DETECTION][0], ANOMALY_DETECTION, _YES_NO)


def _choice(text: str, kind: str, choices: Sequence[str], what: str) -> Question:
    named = [choice.strip() for choice in choices]
    if len(named) < 2 or not all(named) or len(set(named)) < len(named):
        raise InputError(
            f"expected at least two different {what} to choose from, found {named}; add others"
        )
    if len(named) > len(OPTION_LETTERS):
        raise InputError(
            f"expected at most {len(OPTION_LETTERS)} {what}, found {len(named)}; take fewer"
        )
    return Question(text, kind, dict(zip(OPTION_LETTERS, named, strict=False)))
