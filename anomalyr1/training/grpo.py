"""`anomalyr1 train`: GRPO with the ROAM reward."""

from __future__ import annotations

from pathlib import Path

from transformers import set_seed
from trl import GRPOConfig

from anomalyr1.config import Config, refuse_without_effect
from anomalyr1.policy.load import load_policy, lora_config, reference_options
from anomalyr1.rewards.build import build_rewards
from anomalyr1.run_lock import alone_in_its_folder
from anomalyr1.training.arguments import (
    refuse_data_parallel,
    refuse_too_few,
    trl_arguments,
    trl_defaults,
)
from anomalyr1.training.augmented_rows import augmented_rows
from anomalyr1.training.callbacks import HistoryCallback
from anomalyr1.training.card import model_card
from anomalyr1.training.checkpoints import prepare_run
from anomalyr1.training.continuing import feeding, refuse_changed
from anomalyr1.training.dataset import to_dataset
from anomalyr1.training.feed import training_rows
from anomalyr1.training.guarding import GuardCallback
from anomalyr1.training.heldout import early_stop, heldout_rows, with_heldout
from anomalyr1.training.image_groups import by_image, questions_an_image
from anomalyr1.training.preflight import preflight
from anomalyr1.training.resuming import RolloutBoundary
from anomalyr1.training.running import train_policy
from anomalyr1.training.trainer import PolicyTrainer
from anomalyr1.training.vllm_settings import refuse_vllm, sampler_options


@alone_in_its_folder
def train(config: Config) -> Path:
    """Train a policy with GRPO, or go on with an interrupted run.

    Returns:
        The folder of the trained policy, `<run_dir>/policy`.

    Raises:
        InputError: anything in the config or the data that training would trip over.
    """
    run_dir = Path(config.run_dir)
    set_seed(config.seed)
    reward_funcs, reward_weights = build_rewards(config.reward)
    terms = [term.__name__ for term in reward_funcs]
    refuse_without_effect(config, "train", trl_defaults(GRPOConfig), terms)
    arguments = trl_arguments(
        GRPOConfig,
        "grpo",
        with_heldout("grpo", config.grpo, config, metric="eval_reward"),
        config,
        reward_weights=list(reward_weights),
        **reference_options(config.policy),
    )
    rollout = arguments.per_device_train_batch_size * arguments.steps_per_generation
    shown = config.data.images_per_rollout, rollout, arguments.num_generations
    questions_an_image(*shown)
    refuse_vllm(config, arguments)
    refuse_data_parallel(arguments)
    checkpoint = prepare_run(run_dir, config.resume)
    if checkpoint is not None:
        refuse_changed(run_dir, "train", config, feeding(arguments))
    policy = load_policy(config.policy, trainable=True)
    used, rows = training_rows(config, policy.processor, policy.family)
    heldout = heldout_rows(config, policy.processor, policy.family, used)
    dataset = to_dataset(rows)
    augmented = augmented_rows(config, rows, dataset, policy.processor, policy.family)
    images = by_image(rows) if config.data.group_by_image else None
    questions = questions_an_image(*shown, len(images or ()), arguments.world_size)
    if questions is None:
        refuse_too_few(len(rows), arguments)
    if checkpoint is None and not config.preflight.skip:
        preflight(config, arguments, policy, rows, reward_funcs, reward_weights)
    history = HistoryCallback(run_dir)
    trainer = PolicyTrainer(
        model=policy.model,
        processing_class=policy.processor,
        reward_funcs=list(reward_funcs),
        args=arguments,
        train_dataset=dataset,
        eval_dataset=None if heldout is None else to_dataset(heldout),
        peft_config=lora_config(config.policy),
        callbacks=[
            history,
            GuardCallback(run_dir, config.guard, history.console),
            *early_stop(config, history.console),
        ],
        card=model_card("train", config, used),
        learning_rates=config.policy.learning_rates,
        freeze_vision=config.policy.freeze_vision,
        freeze_projector=config.policy.freeze_projector,
        augmented=augmented,
        shared_prefix=config.policy.shared_prefix,
        chunk_completions=config.policy.chunk_completions,
        images=images,
        questions=questions,
        flex=config.policy.attention == "flex_attention",
        signal=config.signal,
        run_dir=run_dir,
        sampler=sampler_options(config, arguments, policy.model.dtype),
        keep_every=config.keep_completions_every,
    )
    served = arguments.steps_per_generation * arguments.num_iterations
    trainer.add_callback(RolloutBoundary(served, trainer.passes_behind))
    return train_policy(trainer, "train", config, used, checkpoint, augmented, reward_funcs)
