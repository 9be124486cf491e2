"""A model that cannot share prefixes trains as stock TRL does, and says so in one line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_trainer import SMALL, WIDE, dataset, make_trainer
from transformers import (
    AutoProcessor,
    Qwen2VLConfig,
    Qwen2VLForConditionalGeneration,
    Qwen3_5Config,
    Qwen3_5ForConditionalGeneration,
)

from anomalyr1.config import (
    Config,
    DataConfig,
    EvalConfig,
    PolicyConfig,
    PreflightConfig,
    PromptConfig,
    SegmentationConfig,
)
from anomalyr1.doctor.policy_and_data import input_lines
from anomalyr1.errors import InputError
from anomalyr1.evaluation.pipeline import evaluate
from anomalyr1.policy.generate import generate
from anomalyr1.policy.load import load_policy
from anomalyr1.policy.tiny import image_token_ids
from anomalyr1.shared_prefix.attention import prepare, sharing_obstacle
from anomalyr1.training.dataset import to_dataset
from anomalyr1.training.grpo import train
from anomalyr1.training.sft import finetune

REASONS = {
    "older": "Qwen2VLForConditionalGeneration is no Qwen2.5-VL or Qwen3-VL",
    "recurrent": "Qwen3_5ForConditionalGeneration has linear_attention layers, whose state runs "
    "through all tokens and would mix the rows behind a prefix",
}


def saved(model, processor, out):
    """A checkpoint that ends where the tokenizer says."""
    token = processor.tokenizer.convert_tokens_to_ids
    model.generation_config.eos_token_id = token("<|im_end|>")
    model.generation_config.pad_token_id = token("<|endoftext|>")
    model.save_pretrained(out)
    processor.save_pretrained(out)
    return out


@pytest.fixture(scope="module")
def older(tiny_policy, tmp_path_factory):
    """A tiny Qwen2-VL, whose vision tower and positions are close relatives."""
    processor = AutoProcessor.from_pretrained(tiny_policy)
    token = processor.tokenizer.convert_tokens_to_ids
    config = Qwen2VLConfig(
        text_config={
            "vocab_size": len(processor.tokenizer),
            "hidden_size": 64,
            "intermediate_size": 128,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 10000.0,
                "mrope_section": [2, 3, 3],
            },
            "pad_token_id": token("<|endoftext|>"),
        },
        vision_config={
            "depth": 2,
            "embed_dim": 64,
            "hidden_size": 64,
            "num_heads": 4,
            "mlp_ratio": 2,
        },
        **image_token_ids(processor.tokenizer),
    )
    torch.manual_seed(0)
    model = Qwen2VLForConditionalGeneration(config)
    return saved(model, processor, tmp_path_factory.mktemp("qwen2vl"))


@pytest.fixture(scope="module")
def recurrent(tiny_qwen3, tmp_path_factory):
    """A tiny Qwen3.5: a layer of linear attention (a gated delta net), then one of full."""
    processor = AutoProcessor.from_pretrained(tiny_qwen3)
    config = Qwen3_5Config(
        text_config={
            "vocab_size": len(processor.tokenizer),
            "hidden_size": 64,
            "intermediate_size": 128,
            "num_hidden_layers": 2,
            "layer_types": ["linear_attention", "full_attention"],
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "head_dim": 32,
            "linear_num_key_heads": 2,
            "linear_num_value_heads": 2,
            "linear_key_head_dim": 16,
            "linear_value_head_dim": 16,
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 10000.0,
                "partial_rotary_factor": 0.5,
                "mrope_section": [4, 2, 2],
                "mrope_interleaved": True,
            },
        },
        vision_config={
            "depth": 2,
            "hidden_size": 64,
            "intermediate_size": 128,
            "num_heads": 4,
            "out_hidden_size": 64,
            "num_position_embeddings": 64,
        },
        **image_token_ids(processor.tokenizer),
    )
    torch.manual_seed(0)
    model = Qwen3_5ForConditionalGeneration(config)
    return saved(model, processor, tmp_path_factory.mktemp("qwen3_5"))


@pytest.fixture(params=REASONS)
def other(request):
    """A model that cannot share, and why."""
    return request.getfixturevalue(request.param), REASONS[request.param]


def test_it_trains_without_sharing(other, tmp_path, capsys):
    path, reason = other
    run = make_trainer(path, tmp_path, dataset([[SMALL], [WIDE]]))
    lines = [line for line in capsys.readouterr().out.splitlines() if "shared prefix" in line]
    assert lines == [f"shared prefix: off, {reason}; prompts are computed once a completion"]
    before = {name: weight.detach().clone() for name, weight in run.model.named_parameters()}
    run.train()
    assert any((before[n] != weight).any() for n, weight in run.model.named_parameters())


def test_it_answers_without_sharing(other):
    path, reason = other
    policy = load_policy(PolicyConfig(path=str(path), max_pixels=112 * 112))
    assert prepare(policy.model) == sharing_obstacle(policy.model) == reason
    picture = Image.fromarray(np.zeros((112, 112, 3), np.uint8))
    content = [{"type": "image"}, {"type": "text", "text": "Is there a defect?"}]
    asked = [[{"role": "user", "content": content}]]
    assert len(generate(policy, asked, [[picture]], max_new_tokens=4)) == 1


LETTERS = ["Anomaly Detection", "Object Classification"]
TRAINER = {
    "max_steps": 1,
    "per_device_train_batch_size": 2,
    "use_cpu": True,
    "bf16": False,
    "gradient_checkpointing": False,
    "report_to": "none",
}


def run_of(older, bench, folder, *, types=None, template="choice") -> Config:
    return Config(
        run_dir=str(folder),
        policy=PolicyConfig(path=str(older), max_pixels=112 * 112),
        data=DataConfig(benchmark=str(bench), question_types=types, group_by_image=True),
        prompt=PromptConfig(references=1, template=template),
        preflight=PreflightConfig(skip=True),
        eval=EvalConfig(benchmark=str(bench), question_types=types, max_new_tokens=4, bootstrap=20),
        segmentation=SegmentationConfig(kind="box"),
        grpo={**TRAINER, "num_generations": 2, "max_completion_length": 8},
        sft=TRAINER,
    )


@pytest.mark.parametrize("verb", [train, finetune, evaluate])
@pytest.mark.parametrize(("types", "template"), [(None, "choice"), (LETTERS, "inspect")])
def test_it_is_not_asked_for_boxes(verb, types, template, older, toy_benchmark, tmp_path):
    """Nobody here knows the frame it would state them in."""
    config = run_of(older, toy_benchmark, tmp_path / "run", types=types, template=template)
    with pytest.raises(InputError) as refusal:
        verb(config)
    message = str(refusal.value)
    assert "\n" not in message
    assert "expected a Qwen2.5-VL or Qwen3-VL where boxes are asked for, found qwen2_vl" in message
    assert f"{8 if types is None else 16} such question(s)" in message
    assert not list(Path(config.run_dir).rglob("*.jsonl"))


def test_it_answers_and_learns_letters(older, toy_benchmark, tmp_path, capsys):
    config = run_of(older, toy_benchmark, tmp_path / "run", types=LETTERS)
    evaluate(config)
    lines = (tmp_path / "run" / "predictions.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    assert len(rows) == 16 and all(row["frame"] is None for row in rows)
    assert {tuple(row["size"]) for row in rows} == {(112, 112), (160, 90)}
    capsys.readouterr()
    for verb in (train, finetune):
        folder = tmp_path / verb.__name__
        trained = verb(run_of(older, toy_benchmark, folder, types=LETTERS))
        assert (trained / "model.safetensors").is_file()
    assert capsys.readouterr().out.count("images are computed once a question") == 1  # of sft


def test_doctor_says_what_it_can_be_asked(older, toy_benchmark, tmp_path):
    lines, _ = input_lines(run_of(older, toy_benchmark, tmp_path, types=LETTERS))
    said = {line.name: line for line in lines}
    assert (
        said["policy.path"].status == "note"
        and "letters alone and shares no" in said["policy.path"].advice
    )
    assert said["data.benchmark"].status == "ok"
    lines, _ = input_lines(run_of(older, toy_benchmark, tmp_path))
    said = {line.name: line for line in lines}
    assert said["data.benchmark"].status == "problem"
    assert "found qwen2_vl" in said["data.benchmark"].found


def test_gold_of_an_unknown_frame_states_no_corners(older, toy_benchmark, tmp_path, monkeypatch):
    """What sft would teach: the option, and not where it is seen in pixels of somebody else."""
    from anomalyr1.training import sft

    taught = []

    def kept(rows, **options):
        data = to_dataset(rows, **options)
        taught.extend(turn[0]["content"][0]["text"] for turn in data["completion"])
        return data

    monkeypatch.setattr(sft, "to_dataset", kept)
    finetune(run_of(older, toy_benchmark, tmp_path / "run", types=LETTERS))
    assert len(taught) == 16 and not any("[" in text for text in taught)
