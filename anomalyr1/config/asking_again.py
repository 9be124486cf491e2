"""The `eval.consistency:` section: which questions are asked again, and how."""

from __future__ import annotations

from typing import Literal

from anomalyr1.config.section import Flag, Whole, section


@section
class ConsistencyConfig:
    """Further askings of every choice question, whose verdicts are held against the first one's.

    Nothing of what is scored beside them changes. All are off by default.

    Attributes:
        shifted: so many times with the options' texts moved on by one letter, then by two and so
            on, in a circle; `all` of the shifts there are, one less than the options; 0 is off.
        reworded: in three other wordings of the question's subtask, one of which suggests an option
            (`evaluation.rewordings`).
        asked_again: the options in another order, and the policy's own reasoning given; it only has
            to answer.
    """

    shifted: Whole | Literal["all"] = 0
    reworded: Flag = False
    asked_again: Flag = False

    @property
    def asked(self) -> bool:
        """Anything is asked again."""
        return bool(self.shifted) or self.reworded or self.asked_again
