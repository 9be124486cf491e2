"""What `anomalyr1 plan` expects of a run whose prompts are known."""

from __future__ import annotations

from typing import Any

from anomalyr1.config import Config, PolicyConfig
from anomalyr1.planning.architecture import read_architecture
from anomalyr1.planning.memory import estimate
from anomalyr1.planning.settings import read_settings
from anomalyr1.planning.sharding import Sharding
from anomalyr1.planning.tokens import PromptTokens


def planned_phases(
    policy: PolicyConfig,
    grpo: dict[str, Any],
    prompt: int,
    images: int,
    patches: int,
    of_image: int = 0,
    questions: int = 1,
) -> dict[str, dict[str, int]]:
    """Bytes by phase and part, on one process.

    Args:
        policy: of the run.
        grpo: its section.
        prompt: tokens of each prompt.
        images: of a prompt.
        patches: of all of its images.
        of_image: tokens that the questions of an image share.
        questions: about the same images.
    """
    config = Config(policy=policy, grpo=grpo)
    tokens = PromptTokens(
        "made up", 1, prompt, float(prompt), 0, images, patches, of_image, questions
    )
    settings = read_settings(config, 1)
    return estimate(config, read_architecture(policy), settings, Sharding(), tokens).phases
