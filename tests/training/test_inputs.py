"""Mixtures and domain knowledge reach the prompts that training sees."""

from __future__ import annotations

import json

import pytest

from anomalyr1.config import Config, DataConfig, PolicyConfig, PromptConfig
from anomalyr1.errors import InputError
from anomalyr1.policy.family import QWEN2_5_VL
from anomalyr1.policy.load import load_processor
from anomalyr1.prompts import KNOWLEDGE_HEADER
from anomalyr1.training.feed import training_rows


@pytest.fixture
def processor(tiny_policy):
    return load_processor(PolicyConfig(path=str(tiny_policy), max_pixels=12544))


def mixture(folder, *entries: dict):
    path = folder / "mixture.yaml"
    path.write_text(json.dumps({"datasets": list(entries)}))
    return str(path)


def test_a_mixture_samples_and_repeats_its_parts(toy_benchmark, processor, tmp_path):
    file = mixture(
        tmp_path,
        {"json_path": str(toy_benchmark), "sampling_strategy": "first:2", "weight": 2},
        {"json_path": str(toy_benchmark), "sampling_strategy": "last:1"},
    )
    used, rows = training_rows(Config(data=DataConfig(mixture=file)), processor, QWEN2_5_VL)
    assert [len(samples) for _, samples in used] == [4, 1]
    assert len(rows) == 5 * 3
    assert all(len(benchmark.sha256) == 64 for benchmark, _ in used)


def test_a_mixture_stands_alone(toy_benchmark, processor, tmp_path):
    file = mixture(tmp_path, {"json_path": str(toy_benchmark)})
    data = DataConfig(mixture=file, benchmark=str(toy_benchmark))
    with pytest.raises(InputError, match=r"data\.mixture alone"):
        training_rows(Config(data=data), processor, QWEN2_5_VL)


def test_domain_knowledge_is_off_by_default_and_within_its_budget(
    toy_benchmark, processor, tmp_path
):
    path = tmp_path / "knowledge.json"
    text = "The tile is plain. " + "A spot is dark. " * 50
    path.write_text(json.dumps({"Toy": {"tile": {"good": text}}}))
    data = DataConfig(benchmark=str(toy_benchmark))
    _, plain = training_rows(Config(data=data), processor, QWEN2_5_VL)
    prompt = PromptConfig(domain_knowledge=str(path), knowledge_tokens=40)
    _, told = training_rows(Config(data=data, prompt=prompt), processor, QWEN2_5_VL)

    def words(row) -> str:
        return "".join(part.get("text") or "" for part in row.messages[1]["content"])

    assert KNOWLEDGE_HEADER not in words(plain[0])
    added = words(told[0]).split(f"{KNOWLEDGE_HEADER}\n")[1].split("\n")[0]
    assert added.startswith("The tile is plain.") and added.endswith(".")
    assert 0 < len(processor.tokenizer(added)["input_ids"]) <= 40
    assert told[0].tokens > plain[0].tokens
