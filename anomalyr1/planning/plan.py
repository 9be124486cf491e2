"""From a config to a plan: tokens, parameters, memory, and what would save some."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from trl import GRPOConfig

from anomalyr1.config import Config, refuse_without_effect, verbs_of
from anomalyr1.errors import InputError
from anomalyr1.planning.advice import Advice, advise
from anomalyr1.planning.architecture import Architecture, read_architecture
from anomalyr1.planning.cards import CARDS, fit
from anomalyr1.planning.memory import Estimate, estimate
from anomalyr1.planning.settings import (
    Settings,
    chunk_of_completions,
    read_settings,
    shares_prefix,
)
from anomalyr1.planning.sharding import Sharding, read_sharding
from anomalyr1.planning.tokens import MEAN_COMPLETION, PromptTokens, prompt_tokens, sharing_ratio
from anomalyr1.rewards.build import build_rewards
from anomalyr1.training.arguments import trl_defaults
from anomalyr1.training.image_groups import questions_an_image

VERB = "train"  # what is planned


@dataclass(frozen=True)
class Plan:
    """What is known of a run before it starts."""

    config: Config
    architecture: Architecture
    settings: Settings
    sharding: Sharding
    prompt: PromptTokens
    estimate: Estimate
    advice: Advice

    @property
    def shared(self) -> bool:
        """Whether the run shares prefixes."""
        return shares_prefix(self.config)

    @property
    def chunk(self) -> int | None:
        """Tokens of completions computed at once; None where it is all of them."""
        return chunk_of_completions(self.config, self.sharding.splits_weights)

    @property
    def mean_completion(self) -> float:
        """A guess: tokens of the mean completion."""
        return MEAN_COMPLETION * self.settings.completion

    @property
    def ratio_longest(self) -> float:
        """Limit ratio of sharing for the longest prompt and completions."""
        return self._ratio(self.prompt.longest, self.settings.completion)

    @property
    def ratio_mean(self) -> float:
        """Limit ratio of sharing for the mean prompt and the guessed mean completion."""
        return self._ratio(self.prompt.mean, self.mean_completion)

    def _ratio(self, prompt: float, completion: float) -> float:
        shared = min(self.prompt.of_image, prompt)
        size = self.settings.generations
        return sharing_ratio(prompt, completion, size, shared, self.prompt.questions)


def make_plan(config: Config, accelerate: Path | None = None, gpus: int | None = None) -> Plan:
    """Plan a GRPO run; nothing is trained, written or, for a known policy, downloaded.

    Args:
        config: the run.
        accelerate: its launch file; None is one process.
        gpus: processes, instead of the file's number.

    Raises:
        InputError: the config is one of other verbs, or the policy, the launch file, the batch
            sizes or other keys cannot be used.
    """
    verbs = verbs_of(config)
    if verbs and VERB not in verbs:
        raise InputError(
            f"expected a config of `anomalyr1 {VERB}`, the verb that can be planned, found one of "
            f"{' and '.join(verbs)}; give one with keys in grpo"
        )
    terms = [term.__name__ for term in build_rewards(config.reward)[0]]
    refuse_without_effect(config, VERB, trl_defaults(GRPOConfig), terms)
    if config.grpo.get("fsdp"):
        raise InputError(
            f"expected FSDP in a launch file, which is what plan reads, found "
            f"grpo.fsdp={config.grpo['fsdp']}; plan with --accelerate configs/accelerate/fsdp2.yaml"
        )
    deepspeed = config.grpo.get("deepspeed")
    sharding = read_sharding(accelerate, gpus, None if deepspeed is None else str(deepspeed))
    settings = read_settings(config, sharding.processes, sharding.mixed)
    architecture = read_architecture(config.policy)
    asked = questions_an_image(
        config.data.images_per_rollout, settings.rollout_rows, settings.generations
    )
    prompt = prompt_tokens(config, architecture)
    if asked is not None:
        prompt = replace(prompt, questions=float(asked))
    found = estimate(config, architecture, settings, sharding, prompt, other_forms=True)
    advice = Advice((), ())
    if not settings.cpu and any(fit(found.peak, card, settings) != "yes" for card in CARDS):
        advice = advise(config, architecture, sharding, prompt, found.peak)
    return Plan(config, architecture, settings, sharding, prompt, found, advice)
