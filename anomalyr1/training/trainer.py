"""The trainer of `anomalyr1 train`: TRL's GRPO, each of its methods overridden once.

What an override does stands in a function of its own file; here is who calls it, and when.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from torch import Tensor
from trl import GRPOTrainer

from anomalyr1.config import SignalConfig
from anomalyr1.shared_prefix.images_once import prepared_once
from anomalyr1.shared_prefix.regrouping import regroup
from anomalyr1.shared_prefix.rollout import completions_of
from anomalyr1.training.difficulty import TERM, emit_weights, require_accuracy
from anomalyr1.training.dynamic_sampling import (
    Rollout,
    act_on_zero_variance,
    refuse_entropy_bonus,
    refuse_own_mean,
    scaled_loss,
)
from anomalyr1.training.groups import by_group, zero_variance, zero_variance_groups
from anomalyr1.training.heartbeat import Heartbeat
from anomalyr1.training.kept_completions import KeepCompletions, Remembered, kept_completions
from anomalyr1.training.read_once import ReadOnce
from anomalyr1.training.resuming import EpochSampler, backward_passes, epoch_sampler
from anomalyr1.training.run_trainer import RunTrainer
from anomalyr1.training.sampling_gap import log_sampling_gap
from anomalyr1.training.sharing import sample_shared, score_shared, set_up_sharing
from anomalyr1.training.vllm_sampler import sampled_by_vllm


class PolicyTrainer(RunTrainer, GRPOTrainer):  # type: ignore[misc]
    """GRPO that computes a prompt once, acts on groups that teach little, and can be looked into.

    Args:
        shared_prefix: compute a prompt once for all of its completions; False is stock TRL.
        flex: let FlexAttention serve packed groups where it can.
        chunk_completions: tokens of completions computed at once behind their prompts, where this
            is possible; None is no limit.
        images: row numbers by the image they are about, whose questions then come together and
            share it; None leaves rows single.
        questions: rows of an image an epoch; None is all of them, once.
        signal: what is done about groups that teach little; None leaves them alone.
        run_dir: where heartbeats and kept completions go; None keeps none.
        sampler: arguments of vLLM's engine, where vLLM samples.
        keep_every: steps between two files of completions; 0 keeps none.
    """

    # Tokens of one chunk in the passes without gradients (old and reference log-probabilities).
    chunk_tokens = 8192
    _buffered_inputs: Any

    def __init__(
        self,
        *args: Any,
        reward_funcs: Any,
        shared_prefix: bool = True,
        flex: bool = False,
        chunk_completions: int | None = None,
        images: Sequence[Sequence[int]] | None = None,
        questions: int | None = None,
        signal: SignalConfig | None = None,
        run_dir: Path | None = None,
        sampler: Mapping[str, Any] | None = None,
        keep_every: int = 0,
        **kwargs: Any,
    ) -> None:
        self._images, self._questions = images, questions
        given = reward_funcs if isinstance(reward_funcs, list) else [reward_funcs]
        terms = [Remembered.of(term) for term in given]
        with sampled_by_vllm(sampler):
            super().__init__(*args, reward_funcs=terms, **kwargs)
        if isinstance(self.train_dataset, Dataset):  # else each epoch shows them anew
            self.train_dataset = ReadOnce(self.train_dataset)
        self.sharing = set_up_sharing(
            self, wanted=shared_prefix, flex=flex, chunk_completions=chunk_completions
        )
        self.sharing.by_image = self.sharing.logps and images is not None
        self.signal = signal or SignalConfig()
        if self.signal.difficulty == "emit":
            require_accuracy(self.reward_func_names)
        refuse_entropy_bonus(self, self.signal)
        refuse_own_mean(self, self.signal)
        if run_dir is not None and keep_every:
            self.add_callback(KeepCompletions(run_dir, keep_every, self._hand_over))
        rank = self.accelerator.process_index
        self._heartbeat = None if run_dir is None else Heartbeat(run_dir, rank)
        # Of the batch scored last: rewards of all processes (rows, terms), records of this one.
        self.scored = torch.empty(0)
        self._records: list[dict[str, Any]] = []
        self._said: dict[str, list[Any]] = {}
        # Records of the training rollout in use; None once they are kept.
        self._fresh: list[dict[str, Any]] | None = None

    # The order of the rows, the same after a resumption.

    def _get_train_sampler(self, dataset: Any = None) -> EpochSampler:
        """TRL's order of the rows, the same after a resumption in a later epoch."""
        sampler = epoch_sampler(
            super()._get_train_sampler(dataset),
            lambda: divmod(self.state.global_step, self._steps_per_epoch)[0],
            images=self._images,
            questions=self._questions,
        )
        self._micro_steps: int = sampler.num_samples // sampler.batch_size * sampler.repeat_count
        return sampler

    @property
    def _steps_per_epoch(self) -> int:
        accumulated: int = self.args.gradient_accumulation_steps
        return -(-self._micro_steps // accumulated)

    def _load_rng_state(self, checkpoint: str | None) -> None:
        """Restore the random states, and TRL's own count of backward passes."""
        super()._load_rng_state(checkpoint)
        if checkpoint is not None:
            self._step = self.passes_behind(self.state.global_step)

    def passes_behind(self, steps: int) -> int:
        """Backward passes behind so many optimiser steps of this training."""
        return backward_passes(steps, self._micro_steps, self.args.gradient_accumulation_steps)

    # The rollout: sample, score, and what is made of groups that teach little.

    def _prepare_inputs(self, generation_batch: Any) -> dict[str, Any]:
        """The next micro-batch; the completions of a prompt are kept together."""
        every = self.args.steps_per_generation * self.num_iterations
        fresh = self.model.training and (self._buffered_inputs is None or self._step % every == 0)
        if fresh:
            self._buffered_inputs = None  # the last rollout's pictures make room for the next one's
        inputs: dict[str, Any] = super()._prepare_inputs(generation_batch)
        if not self.sharing.regroups or not fresh:
            return inputs
        self._buffered_inputs = regroup(
            self._buffered_inputs,
            self.args.gradient_accumulation_steps,
            self._tokenizer.pad_token_id,
            by_image=self.sharing.by_image,
        )
        batch: dict[str, Any] = self._buffered_inputs[self._step % self.args.steps_per_generation]
        return batch

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        """A sampled and scored batch of B rows, its advantages weighted, its groups replaced."""
        if self._heartbeat is not None:
            rows = [row["sample_id"] for row in inputs]
            self._heartbeat.beat(self.state.global_step, "sampling", rows)
        rollout = self._sampled(inputs)
        if self.model.training:
            self._metrics["train"]["zero_variance"].append(rollout.flat.float().mean().item())
            if self.signal.zero_variance != "keep":
                rollout = act_on_zero_variance(self, self.signal, rollout, self._sampled)
            self._fresh = rollout.records
        if self._heartbeat is not None:
            self._heartbeat.beat(self.state.global_step, "updating")
        return rollout.batch

    def _sampled(self, inputs: list[dict[str, Any]]) -> Rollout:
        """TRL's rollout of some rows, with EMIT's weights; images are prepared once a call."""
        once = self.sharing.logps and self._is_vlm
        with prepared_once(self.processing_class.image_processor) if once else nullcontext():
            batch: dict[str, Any] = super()._generate_and_score_completions(inputs)
        log_sampling_gap(self, batch)
        if self.model.training and self.signal.difficulty == "emit":
            self._weigh_by_difficulty(batch)
        flat = zero_variance_groups(
            self.scored, self.reward_weights, self._group_size, self.multi_objective_aggregation
        ).cpu()
        advantages = batch["advantages"].tolist()
        records = [
            {**record, "advantage": advantage}
            for record, advantage in zip(self._records, advantages, strict=True)
        ]
        return Rollout(batch, flat, records)

    def _weigh_by_difficulty(self, batch: dict[str, Any]) -> None:
        """Weigh the advantages (B,), and those that TRL logs."""
        accuracy = self.scored[:, self.reward_func_names.index(TERM)]
        weights = emit_weights(by_group(accuracy, self.num_generations))
        each = weights.repeat_interleave(self.num_generations)
        local = len(batch["advantages"])
        start = self.accelerator.process_index * local
        batch["advantages"] *= each[start : start + local].to(batch["advantages"])
        logged = self._logs["advantages"]
        for place, weight in zip(range(-len(each), 0), each.tolist(), strict=True):
            logged[place] *= weight
        self._metrics["train"]["signal/difficulty_weight"].append(weights.mean().item())

    def _generate_single_turn(
        self,
        prompt_ids: list[list[int]],
        images: list[Any] | None,
        multimodal_fields: dict[str, Any],
        num_generations: int,
        has_tool_images: bool = False,
    ) -> tuple[list[list[int]], Any]:
        """Sample completions; each distinct prompt is run through the model once."""
        if not self.sharing.rollout or has_tool_images:
            stock: tuple[list[list[int]], Any] = super()._generate_single_turn(
                prompt_ids, images, multimodal_fields, num_generations, has_tool_images
            )
            return stock
        tokens = sample_shared(self, prompt_ids, images, multimodal_fields)
        return completions_of(tokens.cpu(), self.eos_token_ids), None

    # Rewards, kept from where they are computed.

    def _calculate_rewards(
        self,
        inputs: list[dict[str, Any]],
        prompts: list[Any],
        completions: list[Any],
        completion_ids_list: list[Any],
    ) -> Tensor:
        """Rewards (rows, terms) of all processes; the share of groups each term leaves flat."""
        self._said = {}
        rewards: Tensor = super()._calculate_rewards(
            inputs, prompts, completions, completion_ids_list
        )
        self.scored = rewards
        start = self.accelerator.process_index * len(inputs)
        own = Remembered.rewards(
            self.reward_funcs, self.reward_func_names, rewards[start : start + len(inputs)]
        )
        self._records = kept_completions(
            inputs, completions, completion_ids_list, rewards=own, said=self._said
        )
        metrics = self._metrics["train" if self.model.training else "eval"]
        for name, values in zip(self.reward_func_names, rewards.unbind(1), strict=True):
            groups = by_group(values, self._group_size)
            flat = zero_variance(groups)[~groups.isnan().all(1)]
            metrics[f"rewards/{name}/zero_variance"].append(flat.float().mean().item())
        return rewards

    @property
    def _group_size(self) -> int:
        return int(self.num_generations if self.model.training else self.num_generations_eval)

    def _hand_over(self) -> list[dict[str, Any]] | None:
        records, self._fresh = self._fresh, None
        return records

    def _log_completion_extra(self, column: str, values: list[Any]) -> None:
        """What a reward says of each completion (TRL's `log_extra`) is kept with it."""
        self._said[column] = list(values)
        super()._log_completion_extra(column, values)

    # The update.

    def _get_per_token_logps_and_entropies(
        self,
        model: Any,
        input_ids: Tensor,
        attention_mask: Tensor,
        logits_to_keep: int,
        batch_size: int | None = None,
        compute_entropy: bool = False,
        compute_aux_loss: bool = False,
        **vision: Any,
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Log-probabilities and entropies (B, C) of the completions, one prompt copy a group."""
        if self.sharing.logps and not compute_aux_loss:
            scored = score_shared(
                self, model, input_ids, attention_mask, logits_to_keep, compute_entropy, vision
            )
            return (*scored, None)
        stock: tuple[Tensor, Tensor | None, Tensor | None] = (
            super()._get_per_token_logps_and_entropies(
                model,
                input_ids,
                attention_mask,
                logits_to_keep,
                batch_size=batch_size,
                compute_entropy=compute_entropy,
                compute_aux_loss=compute_aux_loss,
                **vision,
            )
        )
        return stock

    def _compute_loss(self, model: Any, inputs: dict[str, Any]) -> Tensor:
        """TRL's loss; where it is a mean over rows, over those that were not dropped."""
        return scaled_loss(super()._compute_loss(model, inputs), inputs)
