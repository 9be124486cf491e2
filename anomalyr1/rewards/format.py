"""The `format` score: can the completion be read as asked?"""

from __future__ import annotations

from anomalyr1.rewards.reading import Reading


def format_score(reading: Reading) -> float:
    """Equation: r = 1 if the gate is passed and all that the prompt asks for is readable, else 0.

    Asked for is a letter on a choice row, a list of boxes on a grounding row, both on a row with
    options and gold boxes (template `inspect`). Needs no gold answer and is never None.
    Source: the format reward of DeepSeek-R1 (arXiv 2501.12948), with the answer's content included
    so that empty tags earn nothing.
    """
    response = reading.response
    letter_read = reading.is_grounding or response.answer is not None
    boxes_read = not reading.wants_boxes or response.boxes is not None
    return float(response.well_formed and letter_read and boxes_read)
