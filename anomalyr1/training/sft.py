"""`anomalyr1 sft`: supervised fine-tuning on the same prompts, with gold reasoning and answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from transformers import set_seed
from trl import SFTConfig, SFTTrainer

from anomalyr1.config import Config, refuse_without_effect
from anomalyr1.policy.load import load_policy, lora_config
from anomalyr1.run_lock import alone_in_its_folder
from anomalyr1.training.arguments import refuse_data_parallel, trl_arguments, trl_defaults
from anomalyr1.training.augmented_rows import augmented_rows
from anomalyr1.training.callbacks import HistoryCallback
from anomalyr1.training.card import model_card
from anomalyr1.training.checkpoints import prepare_run
from anomalyr1.training.continuing import feeding, refuse_changed
from anomalyr1.training.dataset import to_dataset
from anomalyr1.training.faulty_rows import contradicted, loosened
from anomalyr1.training.feed import training_rows
from anomalyr1.training.heldout import early_stop, heldout_rows, with_heldout
from anomalyr1.training.image_groups import ImageGroups, Ungrouped, by_image, refuse_groups
from anomalyr1.training.resuming import TokensGoOn
from anomalyr1.training.run_trainer import RunTrainer
from anomalyr1.training.running import train_policy
from anomalyr1.training.sharing import rows_packed, shares_rows


class TuningTrainer(RunTrainer, SFTTrainer):  # type: ignore[misc]
    """TRL's trainer with exact resumption, learning rates of the parts and a card.

    Args:
        images: the rows by the images they are about; None leaves them single.
        shared_prefix: compute what the rows of a batch share once; False is stock TRL.
    """

    data_collator: Any

    def __init__(
        self,
        *args: Any,
        images: ImageGroups | None = None,
        shared_prefix: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        if images is not None:
            self.train_dataset = images
            self.data_collator = Ungrouped(self.data_collator)
        self.shares = shared_prefix and shares_rows(self)

    def compute_loss(self, model: Any, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        """TRL's loss; what rows share is computed once."""
        called = rows_packed(self, model) if self.shares else model
        return super().compute_loss(called, inputs, *args, **kwargs)


@alone_in_its_folder
def finetune(config: Config) -> Path:
    """Fine-tune a policy on gold completions, or go on with an interrupted run.

    The loss is on the completion only; nothing is cut (`max_length` is None).

    Returns:
        The folder of the tuned policy, `<run_dir>/policy`.

    Raises:
        InputError: anything in the config or the data that training would trip over.
    """
    run_dir = Path(config.run_dir)
    refuse_groups(config)
    set_seed(config.seed)
    refuse_without_effect(config, "sft", trl_defaults(SFTConfig))
    arguments = trl_arguments(
        SFTConfig,
        "sft",
        with_heldout("sft", config.sft, config, metric="eval_loss"),
        config,
        max_length=None,
        completion_only_loss=True,
    )
    refuse_data_parallel(arguments)
    checkpoint = prepare_run(run_dir, config.resume)
    if checkpoint is not None:
        refuse_changed(run_dir, "sft", config, feeding(arguments))
    policy = load_policy(config.policy, trainable=True)
    used, rows = training_rows(config, policy.processor, policy.family)
    rows = contradicted(rows, config.data.contradictory, config.seed)
    rows = loosened(rows, config.data.loose_boxes)
    heldout = heldout_rows(config, policy.processor, policy.family, used)
    dataset = to_dataset(rows, with_completion=True)
    augmented = augmented_rows(config, rows, dataset, policy.processor, policy.family)
    history = HistoryCallback(run_dir)
    grouped = config.data.group_by_image
    trainer = TuningTrainer(
        model=policy.model,
        processing_class=policy.processor,
        args=arguments,
        train_dataset=dataset,
        eval_dataset=None if heldout is None else to_dataset(heldout, with_completion=True),
        peft_config=lora_config(config.policy),
        callbacks=[history, *early_stop(config, history.console)],
        card=model_card("sft", config, used),
        learning_rates=config.policy.learning_rates,
        freeze_vision=config.policy.freeze_vision,
        freeze_projector=config.policy.freeze_projector,
        augmented=augmented,
        images=ImageGroups(dataset, by_image(rows)) if grouped else None,
        shared_prefix=grouped and config.policy.shared_prefix,
    )
    trainer.add_callback(TokensGoOn(trainer))
    return train_policy(trainer, "sft", config, used, checkpoint, augmented)
