"""What vLLM cannot do is refused by name before a policy is loaded; a server is looked at."""

from __future__ import annotations

import copy
import sys

import pytest
import torch
import vllm_stand_in
from tiny_runs import ON_CPU
from trl import GRPOConfig

from anomalyr1.config import Config, PolicyConfig, SamplerConfig
from anomalyr1.errors import InputError
from anomalyr1.training.arguments import trl_arguments
from anomalyr1.training.vllm_prompts import narrowed, require_same_prompts
from anomalyr1.training.vllm_server import require_server
from anomalyr1.training.vllm_settings import computed_in, refuse_vllm, sampler_options


def arguments(config=None, **given):
    batch = {"num_generations": 2, "per_device_train_batch_size": 2, "max_completion_length": 32}
    keys = {**ON_CPU, **batch, "use_vllm": True, **given}
    return trl_arguments(GRPOConfig, "grpo", keys, config or Config())


REFUSED = [
    ({"vllm_mode": "server"}, {}, r"a GPU for grpo\.vllm_mode=server, found none"),
    ({"vllm_enable_sleep_mode": True}, {}, r"a GPU for grpo\.vllm_enable_sleep_mode=true"),
    ({"vllm_max_model_length": 4127}, {}, r"at least 4128 \(.*4096 and .* 32\), found 4127"),
    ({"vllm_tensor_parallel_size": 2}, {}, r"to divide the 1 processes, found 2"),
    ({}, {"seed": 1, "model": "x"}, r"without model, seed, .* by policy\.path; seed is decided"),
]


@pytest.mark.parametrize(("given", "engine", "said"), REFUSED)
def test_what_the_config_alone_rules_out(given, engine, said):
    config = Config(sampler=SamplerConfig(engine=engine))
    with pytest.raises(InputError, match=said) as error:
        refuse_vllm(config, arguments(**given))
    assert "\n" not in str(error.value)


def test_what_vllm_itself_rules_out(monkeypatch, tiny_policy):
    config = Config(policy=PolicyConfig(path=str(tiny_policy)))
    monkeypatch.setitem(sys.modules, "vllm", None)
    with pytest.raises(InputError, match=r"installed for grpo\.use_vllm=true, found none that"):
        refuse_vllm(config, arguments())
    refuse_vllm(config, arguments(use_vllm=False))
    vllm_stand_in.install(monkeypatch)
    refuse_vllm(config, arguments(generation_kwargs={"temperature": 0.0}))
    with pytest.raises(InputError, match=r"found do_sample; correct them \(greedy decoding is"):
        refuse_vllm(config, arguments(generation_kwargs={"do_sample": False}))
    kernels = sys.modules["vllm.v1.attention.backends.cpu_attn"].CPUAttentionBackend
    monkeypatch.setattr(kernels, "get_supported_head_sizes", lambda: [64, 32])
    with pytest.raises(InputError, match=r"kernels take \(32, 64\) .* found 16; sample with"):
        refuse_vllm(config, arguments())


def test_the_dtype_is_that_in_which_the_trainer_computes():
    assert computed_in(arguments(), torch.float32) == "float32"
    assert computed_in(arguments(), torch.bfloat16) == "bfloat16"
    assert computed_in(arguments(bf16=True), torch.float32) == "bfloat16"
    assert sampler_options(Config(), arguments(use_vllm=False), torch.float32) is None
    kept = arguments(vllm_max_model_length=9000)
    assert sampler_options(Config(), kept, torch.float32)["max_model_len"] == 9000


def test_a_prompt_is_narrowed_only_where_it_was_widened():
    image, pair = {"image": "one"}, {"image": ["one", "two"]}
    for ids, data, short in [
        ([5, 9, 9, 6], image, [5, 9, 6]),
        ([5, 9, 6], image, [5, 9, 6]),
        ([9, 9, 5, 9], pair, [9, 5, 9]),
        ([5, 5, 5], None, [5, 5, 5]),
    ]:
        prompt = {"prompt_token_ids": ids, "multi_modal_data": data}
        assert narrowed(prompt, 9)["prompt_token_ids"] == short
    text = {"prompt": "words", "multi_modal_data": image}
    features = {"prompt_token_ids": [9, 9], "mm_features": 1}
    assert narrowed(text, 9) == text and narrowed(features, 9) == features
    with pytest.raises(InputError, match="found 1 beside 2 images"):
        narrowed({"prompt_token_ids": [5, 9, 9], "multi_modal_data": pair}, 9)


@pytest.mark.parametrize(
    ("trained", "sampled", "said"),
    [
        ([5, 9, 9], [5, 9, 9, 9], r"4 tokens long instead of 3, its images \[3\] .* of \[2\]; "),
        ([5, 6, 7], [5, 8, 7], "3 tokens long instead of 3, other text from token 1 on; "),
        ([5, 6, 7], [5, 6], "2 tokens long instead of 3, the longer one cut short; "),
    ],
)
def test_another_prompt_is_described(trained, sampled, said):
    with pytest.raises(InputError, match=f"found 1 of 2 different, the first one {said}"):
        require_same_prompts([[1], trained], [[1], sampled], 9)
    require_same_prompts([trained], [list(trained)], 9)


def test_a_server_is_held_against_the_config():
    config = Config(policy=PolicyConfig(max_pixels=12544))
    options = sampler_options(config, arguments(), torch.float32)
    size = {"shortest_edge": 3136, "longest_edge": 12544}
    right = {
        "model_config": {
            "dtype": "torch.float32", "max_model_len": 9000,
            "multimodal_config": {"mm_processor_kwargs": {"size": size}},
        }
    }  # fmt: skip
    require_server(right, options)
    require_server({}, options)  # what is not told passes
    wrong = copy.deepcopy(right)
    wrong["model_config"] |= {"dtype": "torch.bfloat16", "max_model_len": 4000}
    wrong["model_config"]["multimodal_config"]["mm_processor_kwargs"] = None
    with pytest.raises(InputError) as error:
        require_server(wrong, options)
    said = str(error.value)
    assert "found dtype bfloat16, a context of 4000, pixel caps None and None; start it" in said
    assert "--dtype float32 --max-model-len 4128 --mm-processor-kwargs '{" in said
