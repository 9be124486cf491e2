"""What the trainers of both verbs do beyond TRL's: exact checkpoints, rates of parts, a card."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from transformers import Trainer
from transformers.trainer_utils import rotate_checkpoints

from anomalyr1.config import LearningRates
from anomalyr1.policy.family import family_of
from anomalyr1.policy.load import freeze
from anomalyr1.policy.precision import learn_in_float32, narrow_again
from anomalyr1.policy.weights import saving
from anomalyr1.shared_prefix.vision import spare_frozen_tower
from anomalyr1.terminal import notes
from anomalyr1.training.augmented_rows import AugmentedRows, EpochBegins
from anomalyr1.training.card import write_card
from anomalyr1.training.rates import set_part_rates
from anomalyr1.training.resuming import load_weights
from anomalyr1.training.steady_clock import SteadyClock


class RunTrainer(Trainer):  # type: ignore[misc]
    """Stands before TRL's trainer among the bases; each override calls one function.

    Args:
        card: text of the model card, `{steps}` for the steps done.
        learning_rates: of the vision tower and the projector.
        freeze_vision: no adapter of the vision tower learns either; None leaves adapters alone.
        freeze_projector: the same of the projector.
        augmented: the rows of the training set as they are shown; None shows them as they are.
    """

    train_dataset: Any

    def __init__(
        self,
        *args: Any,
        card: str = "",
        learning_rates: LearningRates | None = None,
        freeze_vision: bool | None = None,
        freeze_projector: bool | None = None,
        augmented: AugmentedRows | None = None,
        **kwargs: Any,
    ) -> None:
        self._card = card
        self._rates = learning_rates or LearningRates()
        self._clock = SteadyClock()
        self._most: int | None = None
        super().__init__(*args, **kwargs)
        if isinstance(self.model, PeftModel) and freeze_vision is not None:
            freeze(self.model, vision=freeze_vision, projector=bool(freeze_projector))
            if not freeze_vision and self.is_world_process_zero():
                _tell_unreached(self.model)
        self._widened = self._learn_in_float32()
        spare_frozen_tower(self.model)
        if augmented is not None:
            self.train_dataset = augmented
            self.add_callback(EpochBegins(augmented))

    def _learn_in_float32(self) -> dict[torch.nn.Parameter, torch.dtype]:
        """Weights in 16 bits learn in float32; DeepSpeed and FSDP see to it themselves."""
        if self.is_deepspeed_enabled or self.is_fsdp_enabled:
            return {}
        autocast = self.accelerator.mixed_precision != "no"
        widened = learn_in_float32(self.model, autocast=autocast)
        reference = getattr(self, "ref_model", None)
        if widened and reference is not None and not autocast:
            reference.float()  # as exact as the policy that is held against it
        return widened

    def save_policy(self, folder: str, checkpoint: str | None = None) -> None:
        """Save the policy that the run ends with, in the dtype it was loaded in.

        Args:
            folder: where to.
            checkpoint: whose weights to save; None is those in memory.
        """
        if checkpoint is not None:
            self._load_from_checkpoint(checkpoint)
        narrow_again(self._widened)
        self.save_model(folder)

    @property
    def learns_wider(self) -> bool:
        """Whether weights are held in more bits than they were loaded in."""
        return bool(self._widened)

    def create_optimizer(self, model: Any = None) -> torch.optim.Optimizer:
        """The stock optimiser, its parameter groups split by part."""
        made = self.optimizer is None
        optimizer: torch.optim.Optimizer = super().create_optimizer(model)
        if made:
            set_part_rates(optimizer, self.model if model is None else model, self._rates)
        return optimizer

    def train(self, *args: Any, **kwargs: Any) -> Any:
        """The stock training; how long it takes is noted.

        How many checkpoints stay is our matter alone: with a limit of 1, transformers ends by
        deleting the last one where it is not the best, and the run would go on from that.
        """
        self._clock.begins("train")
        self._most, self.args.save_total_limit = self.args.save_total_limit, None
        try:
            return super().train(*args, **kwargs)
        finally:
            self.args.save_total_limit = self._most

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        """The stock evaluation; how long it takes is noted."""
        self._clock.begins("eval")
        figures: dict[str, float] = super().evaluate(*args, **kwargs)
        return figures

    def log(self, logs: dict[str, Any], *args: Any, **kwargs: Any) -> None:
        """The stock log, its durations by a steady clock."""
        logs.update(self._clock.corrected(logs))  # in place: TRL adds what an evaluation gives
        super().log(logs, *args, **kwargs)

    def create_model_card(self, *_: Any, **__: Any) -> None:
        """The card of the folder that is pushed to a hub."""
        if self.is_world_process_zero():
            write_card(Path(self.args.output_dir), self._card, self.state.global_step)

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        """A saved policy carries its card."""
        super()._save(output_dir, state_dict)
        write_card(Path(output_dir or self.args.output_dir), self._card, self.state.global_step)

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        """A checkpoint is written whole or not at all, and the first steps are the first to go.

        By the time of writing, as transformers has it, the newest would go where the clock was put
        back.
        """
        run = Path(self._get_output_dir(trial=trial))
        with saving(run / f"checkpoint-{self.state.global_step}"):
            super()._save_checkpoint(model, trial)
        if self.args.should_save:
            rotate_checkpoints(str(run), self._most, self.state.best_model_checkpoint)

    def _determine_best_metric(self, metrics: dict[str, float], trial: Any) -> bool:
        """Note a new best, and save it: training can end only with what was saved.

        Returns:
            Whether to save, where `save_strategy` is `best`: for whoever else asked, too.
        """
        best: bool = super()._determine_best_metric(metrics, trial)
        if best and self.args.load_best_model_at_end:
            self.control.should_save = True
        return best or self.control.should_save

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        """Continue from these weights, every one of them."""
        if model is None and not self._has_own_loader:
            load_weights(self.model, resume_from_checkpoint)
        else:
            super()._load_from_checkpoint(resume_from_checkpoint, model)

    def _load_best_model(self) -> None:
        """End with the weights that did best on the held-out rows."""
        if self.is_deepspeed_enabled or self._has_own_loader:
            super()._load_best_model()
        else:
            load_weights(self.model, self.state.best_model_checkpoint)

    @property
    def _has_own_loader(self) -> bool:
        """Adapters and FSDP know the names they saved; so does DeepSpeed, which hands a model."""
        return self.is_fsdp_enabled or isinstance(self.model, PeftModel)


def _tell_unreached(model: PeftModel) -> None:
    """Say so where the vision tower may learn but has no adapter to learn with."""
    part_of = family_of(model.config.model_type).part_of
    if not any(p.requires_grad and part_of(n) == "vision" for n, p in model.named_parameters()):
        notes().print(
            "policy.freeze_vision=false: no effect, no adapter of policy.lora.target_modules is in "
            "the vision tower; it stays as it is"
        )
