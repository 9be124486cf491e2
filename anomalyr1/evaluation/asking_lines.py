"""`FurtherAsking` to and from its part of a line of predictions.jsonl."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, StrictInt, model_validator

from anomalyr1.rewards.luggage import Text
from anomalyr1.schema import Again, FurtherAsking

EXPECTED = "a list of askings, each with kind, number, question, options and completion, or null"


class AskingLine(BaseModel):
    """The form of one; the fields are those of `FurtherAsking`."""

    model_config = ConfigDict(frozen=True)

    kind: Again
    number: StrictInt = Field(ge=1)
    question: Text
    options: dict[Text, Text] = Field(min_length=1)
    completion: Text
    said: Text = ""
    suggested: Text | None = None

    @model_validator(mode="after")
    def _suggests_an_option(self) -> AskingLine:
        if self.suggested is not None and self.suggested not in self.options:
            raise ValueError("`suggested` to be one of the options of its asking")
        return self

    @property
    def asking(self) -> FurtherAsking:
        """The record."""
        return FurtherAsking(**self.model_dump())


def asking_to_row(asking: FurtherAsking) -> dict[str, Any]:
    """The JSON object.

    >>> asking_to_row(FurtherAsking("shifted", 1, "Any?", {"A": "No."}, "A"))["kind"]
    'shifted'
    """
    return {**asdict(asking), "options": dict(asking.options)}
