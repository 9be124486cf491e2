"""TRL's vLLM rollouts, right with images: each correction once, beside the call it corrects.

What TRL 1.16 leaves open, and how a later version that closes it is noticed:

- Prompts are widened twice (colocate). They are looked at where they reach the engine: one with a
  token an image, or without images beside its tokens, is left alone.
- The engine has neither the dtype of the policy, nor its revision, its pixel caps, a length that
  fits, or the seed of the run. They are added to the arguments that TRL gives; what TRL gives under
  the same name has the same value then.
- Features of images that older weights made stay in the engine's cache after a sync. It is emptied
  after each; emptying an empty one is free.
- Image tokens may be sampled, which transformers' rollout forbids. They are forbidden where
  `generation_kwargs` has no `logit_bias`.
- On a CPU a second sync fails, because weights were packed for oneDNN. Packing is switched off
  where vLLM has that switch.

Nothing here asks for a version. What is wrong in spite of all this stops the run at the first
rollout: the prompts that come back are compared with the trainer's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

from trl.generation import vllm_generation
from trl.generation.vllm_generation import VLLMGeneration
from trl.trainer import grpo_trainer

from anomalyr1.errors import InputError
from anomalyr1.policy.vllm_options import said
from anomalyr1.training.vllm_prompts import (
    narrowed,
    require_same_images,
    require_same_prompts,
    runs_of,
)
from anomalyr1.training.vllm_server import require_server

# vLLM adds it to a logit; its lowest.
_NEVER = -100.0


@contextmanager
def sampled_by_vllm(options: Mapping[str, Any] | None) -> Iterator[None]:
    """TRL's trainer, where it is made inside, makes our sampler instead of its own.

    Args:
        options: arguments of vLLM's engine (training/vllm_settings.py); None leaves TRL alone.
    """
    if options is None:
        yield
        return
    stock = grpo_trainer.VLLMGeneration
    grpo_trainer.VLLMGeneration = partial(VllmSampler, options=options)
    try:
        yield
    finally:
        grpo_trainer.VLLMGeneration = stock


class VllmSampler(VLLMGeneration):  # type: ignore[misc]
    """Samples completions with vLLM from the very prompts that are trained on.

    Args:
        options: arguments of vLLM's engine; a server is held against them.
    """

    generation_kwargs: dict[str, Any]

    def __init__(self, *args: Any, options: Mapping[str, Any], **kwargs: Any) -> None:
        self._options = dict(options)
        super().__init__(*args, **kwargs)

    @property
    def image_token(self) -> int:
        """Id of the token in place of an image."""
        return int(self.processing_class.image_token_id)

    def _init_vllm(self) -> None:
        """The stock start, with our arguments, and in one line where it fails."""
        self.generation_kwargs = {
            "logit_bias": {self.image_token: _NEVER},
            **self.generation_kwargs,
        }
        with _one_line("to start for grpo.use_vllm", "change sampler.engine or grpo.vllm_*"):
            _spare_onednn()
            with _arguments(self._options):
                super()._init_vllm()
        if self.mode == "colocate":
            self.llm.generate = self._handing_over(self.llm.generate)
        elif self.accelerator.is_main_process:
            require_server(self.vllm_client.get_server_info(), self._options)

    def _handing_over(self, generate: Callable[..., Any]) -> Callable[..., Any]:
        """The engine's `generate`, given one token an image."""

        def corrected(prompts: Sequence[Any], *args: Any, **kwargs: Any) -> Any:
            return generate([narrowed(p, self.image_token) for p in prompts], *args, **kwargs)

        return corrected

    def sync_weights(self) -> None:
        """The stock sync; features of images that the weights before it made are forgotten."""
        with _one_line("to take the weights of the policy", "sample with transformers instead"):
            super().sync_weights()
            if self.mode == "colocate":
                self.llm.llm_engine.reset_encoder_cache()
            elif self.accelerator.is_main_process:
                client = self.vllm_client
                client.session.post(f"{client.base_url}/reset_encoder_cache").raise_for_status()

    def _place_features(self, features: Any, prompt_ids: list[int]) -> Any:
        """The stock places of a server's features; each image has as many as the prompt tokens.

        A server gives back the prompt it was sent, whatever it made of the images.
        """
        if features is not None:
            made = [place["length"] for place in features["mm_placeholders"]["image"]]
            require_same_images(runs_of(prompt_ids, self.image_token), made)
        return super()._place_features(features, prompt_ids)

    def generate(
        self,
        prompts: list[list[int]],
        images: list[Any] | None,
        num_generations: int,
        profiler: Any = None,
    ) -> tuple[Any, ...]:
        """The stock rollout; the prompts that vLLM sampled from are the trainer's.

        Raises:
            InputError: they are not, or vLLM fails.
        """
        with _one_line("to sample", "change sampler.engine, or sample with transformers"):
            sampled: tuple[Any, ...] = super().generate(prompts, images, num_generations, profiler)
        require_same_prompts(prompts, sampled[0], self.image_token)
        return sampled


@contextmanager
def _arguments(options: Mapping[str, Any]) -> Iterator[None]:
    """TRL's call of `vllm.LLM` gets further arguments."""
    stock = vllm_generation.LLM
    vllm_generation.LLM = lambda **given: stock(**{**given, **options})
    try:
        yield
    finally:
        vllm_generation.LLM = stock


@contextmanager
def _one_line(what: str, advice: str) -> Iterator[None]:
    """Whatever an engine of many parts raises is one line; its own log has the rest."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"expected vLLM {what}, found: {said(error)}; {advice}") from error


def _spare_onednn() -> None:
    from vllm import _custom_ops
    from vllm.platforms import current_platform

    if current_platform.is_cpu() and hasattr(_custom_ops, "_supports_onednn"):
        _custom_ops._supports_onednn = False
