"""Keys without effect beside the others are refused as a kind, neutral values are not."""

from __future__ import annotations

from pathlib import Path

import pytest
from commands import REPOSITORY
from trl import GRPOConfig, SFTConfig

from anomalyr1.config import (
    AugmentConfig,
    Config,
    DataConfig,
    load_config,
    refuse_without_effect,
)
from anomalyr1.config.effect_rules import RULES, TERMS
from anomalyr1.config.effects import SECTIONS
from anomalyr1.errors import InputError
from anomalyr1.rewards.build import build_rewards
from anomalyr1.training.arguments import trl_defaults, trl_keys

KINDS = {"train": GRPOConfig, "sft": SFTConfig}


def refused(tmp_path: Path, verb: str, *overrides: str) -> str:
    """What is said of a config of these overrides; nothing where it is taken."""
    path = tmp_path / "run.yaml"
    path.write_text("{}")
    return check(path, verb, *overrides)


def check(path: Path, verb: str, *overrides: str) -> str:
    config = load_config(path, overrides)
    terms = [term.__name__ for term in build_rewards(config.reward)[0]]
    defaults = trl_defaults(KINDS[verb]) if verb in KINDS else None
    try:
        refuse_without_effect(config, verb, defaults, terms)
    except InputError as error:
        return str(error)
    return ""


@pytest.mark.parametrize(
    ("verb", "without", "needs", "with_it"),
    [
        ("train", "grpo.warmup_steps=5 grpo.lr_scheduler_type=constant", "grpo.lr_scheduler_type",
         "grpo.lr_scheduler_type=constant_with_warmup"),
        ("sft", "sft.warmup_steps=0.1 sft.lr_scheduler_type=constant", "sft.lr_scheduler_type",
         "sft.lr_scheduler_type=cosine"),
        ("train", "grpo.epsilon_high=0.3 grpo.loss_type=sapo", "grpo.loss_type",
         "grpo.loss_type=cispo"),
        ("train", "grpo.delta=2.0 grpo.loss_type=cispo", "grpo.loss_type", "grpo.loss_type=grpo"),
        ("train", "grpo.vespo_k_neg=1.0", "grpo.loss_type", "grpo.loss_type=vespo"),
        ("train", "grpo.use_bias_correction_kl=false", "grpo.beta", "grpo.beta=0.01"),
        ("train", "grpo.sync_ref_model=true", "grpo.beta", "grpo.beta=0.01"),
        ("train", "guard.kl=0.1", "grpo.beta", "grpo.beta=0.01"),
        ("train", "grpo.ref_model_sync_steps=9", "grpo.sync_ref_model",
         "grpo.sync_ref_model=true grpo.beta=0.1"),
        ("train", "grpo.top_k=9 grpo.generation_kwargs.do_sample=false", "grpo.generation_kwargs",
         "grpo.generation_kwargs.do_sample=true"),
        ("train", "grpo.vllm_mode=colocate", "grpo.use_vllm", "grpo.use_vllm=true"),
        ("train", "guard.sampler=0.2", "grpo.use_vllm", "grpo.use_vllm=true"),
        ("train", "grpo.vllm_group_port=9 grpo.use_vllm=true", "grpo.vllm_mode",
         "grpo.vllm_mode=server"),
        ("train", "grpo.vllm_enable_sleep_mode=true grpo.use_vllm=true grpo.vllm_mode=server",
         "grpo.vllm_mode", "grpo.vllm_mode=colocate"),
        ("sft", "sft.hub_model_id=a/b", "sft.push_to_hub", "sft.push_to_hub=true"),
        ("sft", "sft.eval_steps=5", "data.heldout", "data.heldout=b"),
        ("train", "early_stop_patience=3", "data.heldout", "data.heldout=b"),
        ("train", "data.root=x data.mixture=m.yaml", "data.benchmark or data.heldout to be set",
         "data.heldout=b"),
        ("sft", "data.root=x", "data.benchmark or data.heldout", "data.benchmark=b"),
        ("train", "grpo.load_best_model_at_end=true", "data.heldout", "data.heldout=b"),
        ("train", "reward.iou.threshold=0.5 reward.preset=paper", TERMS,
         "reward.weights.iou=1.0"),
        ("train", "reward.table.contradictory=-1 reward.preset=no-consistency", TERMS,
         "reward.preset=roam"),
        ("train", "reward.repetition.ngram=2", TERMS, "reward.terms.repetition.weight=1.0"),
        ("train", "signal.max_rounds=3", "signal.zero_variance", "signal.zero_variance=resample"),
        ("sft", "data.augment.keep=0.5", "data.augment.crop", "data.augment.crop=0.8"),
        ("sft", "policy.learning_rates.vision=0.1", "policy.freeze_vision",
         "policy.freeze_vision=false"),
        ("train", "policy.attention=flex_attention policy.shared_prefix=false",
         "policy.shared_prefix", "policy.shared_prefix=true"),
        ("eval", "eval.votes=4", "eval.temperature", "eval.temperature=0.7"),
        ("eval", "eval.consistency.shifted=all prompt.template=iad_r1", "prompt.template",
         "prompt.template=mmad"),
        ("eval", "eval.consistency.asked_again=true prompt.template=mmad", "prompt.template",
         "prompt.template=inspect"),
        ("eval", "prompt.knowledge_tokens=99", "prompt.domain_knowledge",
         "prompt.domain_knowledge=x.json"),
        ("eval", "eval.backend.url=http://x/v1", "eval.backend.kind", "eval.backend.kind=openai"),
        ("eval", "eval.backend.engine.seed=1", "eval.backend.kind", "eval.backend.kind=vllm"),
        ("eval", "eval.stratified=false", "eval.limit", "eval.limit=3"),
        ("eval", "segmentation.checkpoint=x.pt", "segmentation.kind", "segmentation.kind=sam2"),
        ("eval", "segmentation.jitter=[0.1] segmentation.kind=none", "segmentation.kind",
         "segmentation.kind=box"),
        ("eval", "segmentation.jitter_draws=2", "segmentation.jitter", "segmentation.jitter=[0.1]"),
    ],
)  # fmt: skip
def test_a_key_needs_another(tmp_path, verb, without, needs, with_it):
    said = refused(tmp_path, verb, *without.split())
    key = without.split()[0].partition("=")[0]
    key = key.removesuffix(".contradictory").removesuffix(".seed")  # told as a whole
    assert key in said and f"(needs {needs}" in said and "\n" not in said
    assert refused(tmp_path, verb, *without.split(), *with_it.split()) == ""


@pytest.mark.parametrize(
    ("key", "reader"),
    [("data.contradictory=0.5", "sft"), ("data.images_per_rollout=2", "train")],
)
@pytest.mark.parametrize("verb", ["sft", "train"])
def test_a_key_that_one_verb_reads_is_refused_under_the_other(tmp_path, key, reader, verb):
    said = refused(tmp_path, verb, key, "data.group_by_image=true")
    assert (said == "") == (verb == reader)
    assert verb == reader or f"{key} (needs the verb {reader}, found {verb})" in said


def test_all_are_told_at_once_and_those_of_other_verbs_are_not(tmp_path):
    keys = ("sft.warmup_steps=3", "sft.lr_scheduler_type=constant", "prompt.knowledge_tokens=9")
    other = ("signal.max_rounds=9", "grpo.epsilon_high=0.1", "grpo.loss_type=sapo")
    assert refused(tmp_path, "sft", *keys, *other) == (
        "expected keys that have an effect beside the others, found sft.warmup_steps=3 (needs "
        "sft.lr_scheduler_type other than constant, reduce_lr_on_plateau, greedy, found constant), "
        "prompt.knowledge_tokens=9 (needs prompt.domain_knowledge to be set, found None); leave "
        "them out, or set what they need"
    )


def test_a_neutral_value_may_stand(tmp_path):
    neutral = ("grpo.use_bias_correction_kl=true", "grpo.warmup_steps=0", "grpo.epsilon_high=null")
    assert refused(tmp_path, "train", *neutral, "grpo.lr_scheduler_type=constant") == ""


def test_the_table_names_keys_that_exist():
    known = {section: trl_keys(KINDS[verb]) for verb, section in SECTIONS.items()}
    for rule in RULES:
        for name in (*rule.keys, *rule.others):
            if name == TERMS:
                continue
            section, _, key = name.rpartition(".")
            for kind in ("grpo", "sft") if section == "*" else (section,):
                if kind not in ("grpo", "sft"):
                    found = Config(data=DataConfig(augment=AugmentConfig()))
                    for part in name.split("."):
                        found = getattr(found, part)
                elif key.endswith("*"):
                    assert any(one.startswith(key[:-1]) for one in known[kind]), name
                else:
                    assert key in known[kind], f"{kind}.{key}"


@pytest.mark.parametrize(
    "name", sorted(str(p.relative_to(REPOSITORY)) for p in REPOSITORY.glob("configs/[egs]*/*.yaml"))
)
def test_the_shipped_configs_are_taken(name):
    verb = {"grpo": "train"}.get(name.split("/")[1], name.split("/")[1])
    assert check(REPOSITORY / name, verb) == ""
