"""The `guard:` section: from when on a run is said not to learn."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from anomalyr1.config.section import Count, Flag, Number, Share, section

Above = Annotated[Number, Field(gt=0)]


@section
class GuardConfig:
    """Which figures of `train` are a fault (training/collapse.py); a limit of None watches nothing.

    A figure is judged over a window, so that a step that chance made is none.

    Attributes:
        enabled: false watches nothing at all.
        window: optimiser steps of a window, at least.
        groups: groups of completions in a window, at least: with few prompts a step it is longer.
        letter_share: one letter is given to so many of the choice questions, and is not right so
            often.
        unreadable_share: so many of the answers cannot be read.
        entropy: the policy's entropy is not above this, in nats a token.
        length_share: completions, or the reasoning in them, are not above this share of their
            length at the start.
        cut_share: so many of the completions end at `grpo.max_completion_length`.
        kl: the divergence from the reference policy is at least this, in nats a token; it is
            measured where `grpo.beta` is above 0.
        sampler: log-probabilities of vLLM and of the trainer differ by so much, in nats a token;
            it is measured where `grpo.use_vllm` is on.
        flat_share: so many of the groups have no reward variance.
        box_share: the set IoU over images with a defect falls to this share of what it was.
    """

    enabled: Flag = True
    window: Count = 10
    groups: Count = 64
    letter_share: Share | None = 0.85
    unreadable_share: Share | None = 0.8
    entropy: Above | None = 0.01
    length_share: Share | None = 0.25
    cut_share: Share | None = 0.5
    kl: Above | None = 0.5
    sampler: Above | None = 0.1
    flat_share: Share | None = 0.95
    box_share: Share | None = 0.5
