"""Other wordings of a question: three for each of MMAD's subtasks, two neutral and one leading.

A wording leaves the options as they are, so it must ask what they answer. Where a subtask asks one
thing of every image, a neutral wording takes the place of the question; where what is asked differs
from image to image (what a defect comes from or leads to, how many parts there are), it stands
around it. The leading one suggests an option, right or wrong, which the question's key draws.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from anomalyr1.data.seeding import seeded_choice
from anomalyr1.parsing.verdict_letters import verdict_letters
from anomalyr1.schema import ANOMALY_DETECTION, Question

QUESTION, OPTION = "{question}", "{option}"  # stand for what is asked, and for what is suggested


@dataclass(frozen=True, slots=True)
class Rewording:
    """A question in other words; `suggested` is the letter of what these suggest, None of nothing.

    `number` is that of the wording, from 1.
    """

    number: int
    text: str
    suggested: str | None

    def of(self, question: Question) -> Question:
        """The question in these words."""
        return replace(question, text=self.text)


WORDINGS: Mapping[str, tuple[str, str, str]] = {
    ANOMALY_DETECTION: (
        "Does anything about this object count as a defect?",
        "Compare the object with a faultless one of its kind. Is it defective?",
        f"A colleague who has seen it says: {OPTION} {QUESTION}",
    ),
    "Defect Classification": (
        "Which of these kinds of defect does the object have?",
        "The object has a defect. What is this kind of defect called?",
        f"A colleague calls the defect: {OPTION} {QUESTION}",
    ),
    "Defect Localization": (
        "In which of these places does the object have a defect?",
        "The object has a defect. Which part is affected?",
        f"A colleague has found the defect here: {OPTION} {QUESTION}",
    ),
    "Defect Description": (
        f"Look closely at the defect before you answer. {QUESTION}",
        f"{QUESTION} Choose what fits the look of the defect best.",
        f"A colleague would describe it so: {OPTION} {QUESTION}",
    ),
    "Defect Analysis": (
        f"Think about what the defect means for the object. {QUESTION}",
        f"{QUESTION} Choose what fits this defect best.",
        f"A colleague judges it so: {OPTION} {QUESTION}",
    ),
    "Object Classification": (
        "Which of these is the object in the image?",
        "What would you call the product that is shown?",
        f"A colleague takes it for this: {OPTION} {QUESTION}",
    ),
    "Object Analysis": (
        f"Look closely at the object before you answer. {QUESTION}",
        f"{QUESTION} Choose what fits the image best.",
        f"A colleague would say: {OPTION} {QUESTION}",
    ),
}


def rewordings(question: Question, key: str) -> list[Rewording]:
    """A choice question in the other words of its subtask.

    None of those that would make its options say something else: of an Anomaly Detection question
    that asks whether the product is in order, "Yes." is no answer to whether it is defective.

    Args:
        question: as it is shown.
        key: names it; what is suggested is drawn from this.
    """
    found = []
    letter = seeded_choice(sorted(question.options), "suggested", key)
    option = question.options[letter].rstrip(" .") + "."
    for number, wording in enumerate(WORDINGS.get(question.subtask, ()), start=1):
        suggested = letter if OPTION in wording else None
        text = wording.format(option=option, question=question.text)
        if QUESTION not in wording and question.subtask == ANOMALY_DETECTION:
            asked = Question(text, question.type, question.options)
            meant = verdict_letters(question)
            if meant is None or verdict_letters(asked) != meant:
                continue
        found.append(Rewording(number, text, suggested))
    return found
