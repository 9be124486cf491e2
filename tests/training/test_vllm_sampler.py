"""VLLM beside the trainer, by a stand-in with its habits: what TRL gets wrong, and put right."""

from __future__ import annotations

import json
import os
from contextlib import nullcontext
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
import vllm_stand_in
from tiny_runs import history, toy_run
from tiny_trainer import SMALL, WIDE, dataset, make_trainer
from trl.generation import vllm_generation
from trl.trainer import grpo_trainer

from anomalyr1.config import Config, LoraSection, PolicyConfig, SamplerConfig, SignalConfig
from anomalyr1.errors import InputError
from anomalyr1.training.collapse import DIFFERENCE
from anomalyr1.training.grpo import train
from anomalyr1.training.sampling_gap import MASKED
from anomalyr1.training.vllm_sampler import VllmSampler
from anomalyr1.training.vllm_settings import sampler_options

OFF = "vllm_importance_sampling_correction"
# Image tokens may be sampled: to forbid them raises all others by their share.
STEP = {
    "max_completion_length": 6,
    "learning_rate": 0.01,
    "generation_kwargs": {"logit_bias": {}},
}


@pytest.fixture
def engine(monkeypatch):
    """TRL sets variables of a launch for vLLM, which would make the next trainer a launched one."""
    before = dict(os.environ)
    yield vllm_stand_in.install(monkeypatch)
    os.environ.clear()
    os.environ.update(before)


def trained(policy, tmp_path, *, steps=2, sampler=True, lora=None, changed=None, **options):
    """A trainer that has made some steps on two prompts, one of them with two images."""
    section = {"path": str(policy), "max_pixels": 112 * 112, "lora": lora}
    config = Config(seed=3, policy=PolicyConfig(**section))
    made = make_trainer(
        policy,
        tmp_path,
        dataset([[SMALL], [WIDE, SMALL]]),
        policy_options={"lora": lora},
        use_vllm=True,
        max_steps=steps,
        **{**STEP, **options},
        trainer_options={
            "sampler": {**engine_options(config), **(changed or {})} if sampler else None,
        },
    )
    made.train()
    return made


def engine_options(config):
    """Of a policy in float32, in one process."""
    arguments = SimpleNamespace(
        use_vllm=True, bf16=False, fp16=False, process_index=0, vllm_tensor_parallel_size=1,
        vllm_max_model_length=None, max_completion_length=6,
    )  # fmt: skip
    return sampler_options(config, arguments, torch.float32)


def largest(made) -> list[float]:
    key = f"{DIFFERENCE}/max"
    return [row[key] for row in made.state.log_history if key in row]


def widths(prompts) -> list[int]:
    return sorted({len(ids) for ids in prompts})


def test_trl_alone_samples_from_another_prompt(engine, tiny_policy, tmp_path):
    """What is put right, as TRL has it today; where this fails, TRL has mended it."""
    made = trained(tiny_policy, tmp_path, steps=1, sampler=False)
    assert max(largest(made)) > 1e-3
    [llm] = engine.made
    assert "dtype" not in llm.arguments and llm.model.dtype == torch.bfloat16
    assert widths(llm.handed) == widths(ids for ids, _ in prompts_of(made))


def prompts_of(made) -> list[tuple[list[int], list[int]]]:
    """Token ids and short ids (one token an image) of the trainer's two prompts."""
    found = []
    for row in (made.train_dataset[index] for index in range(2)):
        text = made.processing_class.apply_chat_template(
            row["prompt"], tokenize=False, add_generation_prompt=True
        )
        wide = made.processing_class(text=[text], images=[row["images"]])["input_ids"][0]
        found.append((list(wide), made._tokenizer(text)["input_ids"]))
    return found


@pytest.mark.parametrize("lora", [None, LoraSection(r=4, alpha=8, dropout=0.0)])
def test_both_give_the_same_log_probabilities(lora, engine, tiny_policy, tmp_path):
    """Two steps, the tower learns between them; images count one token each on the way in."""
    made = trained(tiny_policy, tmp_path, lora=lora)
    assert type(made.vllm_generation) is VllmSampler  # TRL is as it was again, for others:
    assert grpo_trainer.VLLMGeneration is VllmSampler.__base__
    assert vllm_generation.LLM is engine
    assert len(largest(made)) == 2 and max(largest(made)) < 1e-5
    [llm] = engine.made
    assert widths(llm.handed) == widths(short for _, short in prompts_of(made))
    caps = {"shortest_edge": 3136, "longest_edge": 12544}
    given = {
        "dtype": "float32", "seed": 3, "max_model_len": 4096 + 6, "revision": None,
        "mm_processor_kwargs": {"size": caps}, "limit_mm_per_prompt": {"image": 2, "video": 0},
    }  # fmt: skip
    assert llm.arguments.items() >= given.items() and llm.arguments["logprobs_mode"]
    import vllm._custom_ops

    assert vllm._custom_ops._supports_onednn is False  # else the second sync fails on a CPU
    assert made.state.log_history[0][MASKED] == 0.0


def test_features_of_older_weights_are_not_sampled_from(engine, tiny_policy, tmp_path, monkeypatch):
    class Keeps(vllm_stand_in.LLM):
        def __init__(self, **arguments):
            super().__init__(**arguments)
            self.llm_engine.reset_encoder_cache = lambda: None

    monkeypatch.setattr(vllm_generation, "LLM", Keeps)
    first, second = largest(trained(tiny_policy, tmp_path))
    assert first < 1e-5 < 1e-4 < second


def test_without_the_correction_the_difference_is_logged_too(engine, tiny_policy, tmp_path):
    """Of a step with the dtype that vLLM would have chosen."""
    made = trained(tiny_policy, tmp_path, steps=1, changed={"dtype": "bfloat16"}, **{OFF: False})
    assert 1e-4 < max(largest(made)) < 0.1 and MASKED not in made.state.log_history[0]


def test_image_tokens_are_not_sampled(engine, tiny_policy, tmp_path):
    """They are forbidden; the others, of 500 nearly alike, are each likelier by a 500th."""
    made = trained(tiny_policy, tmp_path, steps=1, generation_kwargs=None)
    token = made.vllm_generation.image_token
    assert made.vllm_generation.generation_kwargs["logit_bias"] == {token: -100.0}
    assert 1e-4 < max(largest(made)) < 0.01


def test_another_prompt_stops_the_run_in_one_line(engine, tiny_policy, tmp_path):
    caps = {"size": {"shortest_edge": 3136, "longest_edge": 6272}}
    with pytest.raises(InputError, match=r"its images \[4\] tokens instead of \[16\]") as error:
        trained(tiny_policy, tmp_path, changed={"mm_processor_kwargs": caps})
    assert "\n" not in str(error.value) and "6 of 6 different" in str(error.value)


@pytest.mark.parametrize("fails", ["__init__", "generate"])
def test_whatever_vllm_raises_is_one_line(fails, engine, tiny_policy, tmp_path, monkeypatch):
    def broken(*_, **__):
        raise RuntimeError("Engine core\ninitialization failed")

    monkeypatch.setattr(vllm_stand_in.LLM, fails, broken)
    with pytest.raises(InputError, match="found: Engine core initialization failed; ") as error:
        trained(tiny_policy, tmp_path, steps=1)
    assert str(error.value).startswith("expected vLLM to ")


def test_a_run_with_all_that_stands_beside_it(engine, tiny_policy, toy_benchmark, tmp_path):
    """Resampled groups, heartbeats and kept completions; what is logged of both."""
    config = toy_run(tmp_path / "run", tiny_policy, toy_benchmark)
    config = replace(
        config,
        keep_completions_every=1,
        signal=SignalConfig(zero_variance="resample", max_rounds=1),
        grpo={**config.grpo, "use_vllm": True, "max_steps": 2, "top_k": 0},
    )
    train(config)
    rows = history(tmp_path / "run", f"{DIFFERENCE}/mean")
    assert len(rows) == 2 and all(row[f"{DIFFERENCE}/max"] < 0.01 for row in rows)
    assert all({MASKED, "signal/rounds", "reward"} <= row.keys() for row in rows)
    kept = sorted((tmp_path / "run/completions").iterdir())
    assert len(kept) == 2 and len(kept[0].read_text().splitlines()) == 4
    beats = [json.loads(file.read_text()) for file in (tmp_path / "run/heartbeat").iterdir()]
    assert beats and engine.made[0].arguments["seed"] == config.seed
    assert not (tmp_path / "run/warnings.jsonl").exists()


def test_engine_arguments_of_the_config_come_last():
    config = Config(seed=3, sampler=SamplerConfig(engine={"enforce_eager": True}))
    assert engine_options(config).items() >= {"enforce_eager": True, "seed": 3}.items()


def test_a_server_forgets_features_and_is_compared_by_image():
    posted = []
    answer = SimpleNamespace(raise_for_status=lambda: posted.append("checked"))
    session = SimpleNamespace(post=lambda url: posted.append(url) or answer)
    client = SimpleNamespace(
        base_url="http://host:1", session=session, reset_prefix_cache=lambda: None,
        update_named_params=lambda *_: None,
    )  # fmt: skip
    sampler = object.__new__(VllmSampler)
    sampler.__dict__.update(
        mode="server", vllm_client=client, accelerator=SimpleNamespace(is_main_process=True),
        enable_sleep_mode=False, _weight_metadata=[], model=torch.nn.Linear(1, 1),
        _dist=SimpleNamespace(is_fsdp=False, gather_params=lambda _: nullcontext()),
        processing_class=SimpleNamespace(image_token_id=9),
    )  # fmt: skip
    sampler.sync_weights()
    assert posted == ["http://host:1/reset_encoder_cache", "checked"]
    made = {"mm_placeholders": {"image": [{"offset": 1, "length": 2}]}}
    placed = sampler._place_features(made, [5, 9, 9, 6])
    assert placed["mm_placeholders"]["image"] == [{"offset": 1, "length": 2}]
    with pytest.raises(InputError, match=r"make \[3\] features of the images .* found \[2\]"):
        sampler._place_features(made, [5, 9, 9, 9, 6])
    assert sampler._place_features(None, [5]) is None
