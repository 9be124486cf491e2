"""The trainer of `anomalyr1 train`: shared prefixes, and completions kept for replay."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from anomalyr1.rewards.kept import kept_row
from anomalyr1.rewards.luggage import of_batch
from anomalyr1.run_folder import completions_file
from anomalyr1.storage import write_jsonl
from anomalyr1.training.card import Carded
from anomalyr1.training.dynamic_sampling import DynamicSamplingTrainer
from anomalyr1.training.groups import is_flat
from anomalyr1.training.heartbeat import Heartbeat
from anomalyr1.training.rates import PartRates
from anomalyr1.training.resuming import EpochSampler, WholeWeights


class PolicyTrainer(Carded, WholeWeights, PartRates, DynamicSamplingTrainer):
    """Goes on exactly where it was cut off, says what it works on, keeps completions.

    Each file `completions/step-NNNNN.jsonl` is valid input of `anomalyr1 reward replay`.
    """

    def __init__(self, *args: Any, run_dir: Path, keep_every: int, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._heartbeat = Heartbeat(run_dir, self.accelerator.process_index)
        self._run_dir = run_dir
        self._keep_every = keep_every

    def _get_train_sampler(self, dataset: Any = None) -> EpochSampler:
        """TRL's order of the rows, the same after a resumption in a later epoch."""
        stock = super()._get_train_sampler(dataset)
        self._micro_steps: int = stock.num_samples // stock.batch_size * stock.repeat_count
        return EpochSampler(
            stock.data_source,
            stock.mini_repeat_count,
            stock.batch_size,
            stock.repeat_count,
            stock.shuffle,
            stock.seed,
            epoch=lambda: divmod(self.state.global_step, self._steps_per_epoch)[0],
        )

    @property
    def _steps_per_epoch(self) -> int:
        accumulated: int = self.args.gradient_accumulation_steps
        return -(-self._micro_steps // accumulated)

    def _load_rng_state(self, checkpoint: str | None) -> None:
        """Restore the random states, and TRL's own count of backward passes."""
        super()._load_rng_state(checkpoint)
        if checkpoint is not None:
            epochs, steps = divmod(self.state.global_step, self._steps_per_epoch)
            within = steps * self.args.gradient_accumulation_steps
            self._step = epochs * self._micro_steps + within

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        rows = [row["sample_id"] for row in inputs]
        self._heartbeat.beat(self.state.global_step, "sampling", rows)
        batch: dict[str, Any] = super()._generate_and_score_completions(inputs)
        self._heartbeat.beat(self.state.global_step, "updating")
        return batch

    def _calculate_rewards(
        self,
        inputs: list[dict[str, Any]],
        prompts: list[Any],
        completions: list[Any],
        completion_ids_list: list[Any],
    ) -> torch.Tensor:
        """Rewards (B*G, terms) of all processes.

        The luggage of each row goes along into the completions kept; the share of groups in which a
        term does not vary is logged for each term, among the groups it applies to.
        """
        for column, of_rows in of_batch(inputs, completion_ids_list).items():
            if column != "sample_id":  # which the telemetry logs
                self._log_completion_extra(column, of_rows)
        rewards: torch.Tensor = super()._calculate_rewards(
            inputs, prompts, completions, completion_ids_list
        )
        mode = "train" if self.model.training else "eval"
        size = self.num_generations if mode == "train" else self.num_generations_eval
        for name, values in zip(self.reward_func_names, rewards.unbind(1), strict=True):
            groups = values.view(-1, size)
            flat = is_flat(groups)[~groups.isnan().all(1)]
            self._metrics[mode][f"rewards/{name}/frac_zero_std"].append(flat.float().mean().item())
        return rewards

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Log as TRL does, then keep the completions when it is their step."""
        training = self.model.training
        super().log(logs, start_time)
        step = self.state.global_step
        due = self._keep_every > 0 and (step == 1 or step % self._keep_every == 0)
        if due and training and "reward" in logs and self.accelerator.is_main_process:
            path = self._run_dir / completions_file(step)
            write_jsonl(path, self._kept_completions(step))

    def _kept_completions(self, step: int) -> list[dict[str, Any]]:
        logs = self._logs
        return [
            kept_row(
                step,
                completion,
                {column: values[index] for column, values in logs["extra"].items()},
                {name: values[index] for name, values in logs["rewards"].items()},
                logs["advantages"][index],
            )
            for index, completion in enumerate(logs["completion"])
        ]
