"""Opt-in penalties on the completion's tokens: too long, too repetitive.

Both give the values of TRL's own `trl.rewards.get_soft_overlong_punishment` and
`get_repetition_penalty_reward` (a test compares them); they are written here because rewards stay
importable, and replayable, without torch.
"""

from __future__ import annotations

from dataclasses import dataclass

from anomalyr1.rewards.reading import Reading


@dataclass(frozen=True)
class SoftOverlong:
    """Penalty on length: 0 up to L - C tokens, falling linearly to -1 at L, then -1.

    r = 0 if n <= L - C; (L - C - n) / C if L - C < n <= L; -1 beyond, with n completion tokens,
    L = `max_tokens` and C = `soft_tokens`. None where the caller gives no tokens.
    Source: DAPO (arXiv 2503.14476), equation 13.
    """

    max_tokens: int
    soft_tokens: int

    def __call__(self, reading: Reading) -> float | None:
        """Score one completion."""
        if reading.tokens is None:
            return None
        over = len(reading.tokens) - (self.max_tokens - self.soft_tokens)
        if over <= 0:
            return 0.0
        return -over / self.soft_tokens if over <= self.soft_tokens else -1.0


@dataclass(frozen=True)
class Repetition:
    """Penalty on repeated n-grams of tokens.

    r = p (1 - #distinct n-grams / #n-grams) with p = `max_penalty`; 0 for fewer than n tokens.
    None where the caller gives no tokens.
    Source: Demystifying Long Chain-of-Thought Reasoning (arXiv 2502.03373), appendix C.2.
    """

    ngram: int
    max_penalty: float

    def __call__(self, reading: Reading) -> float | None:
        """Score one completion."""
        if reading.tokens is None:
            return None
        count = len(reading.tokens) - self.ngram + 1
        if count <= 0:
            return 0.0
        distinct = {tuple(reading.tokens[i : i + self.ngram]) for i in range(count)}
        return self.max_penalty * (1 - len(distinct) / count) if len(distinct) < count else 0.0
