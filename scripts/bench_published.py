"""Stock TRL against the shared prefix on the architecture of Qwen2.5-VL-3B, weights random.

python scripts/bench_published.py                     16 GiB of memory, ten minutes on two cores
python scripts/bench_published.py --layers 2          its first two layers of both kinds

Every width, head, position and window is that of the published model; the vocabulary is a small one
of its own, because no tokenizer comes with this repository. One copy of the float32 weights serves
both sides, forward passes only: sampling from one seed, and log-probabilities of what was sampled.
Tokens must be the same and log-probabilities within 1e-4. The last line is JSON.
"""

from __future__ import annotations

import json
import tempfile
import time
from copy import deepcopy
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from bench_cases import QUESTION, Case, make_trainer
from bench_grpo import rollout_of, score
from measuring import check_equal
from random_policies import cut_layers, name_tokens
from transformers import GenerationConfig, Qwen2_5_VLForConditionalGeneration

from anomalyr1.config import PolicyConfig
from anomalyr1.planning.architecture import read_architecture
from anomalyr1.policy.tiny import build_processor, train_tokenizer
from anomalyr1.training.trainer import PolicyTrainer


def random_policy(name: str, layers: int | None, max_pixels: int) -> tuple[Any, Any]:
    """The published architecture with random weights, and a processor that speaks QUESTION."""
    config = deepcopy(read_architecture(PolicyConfig(path=name)).config)
    tokenizer = train_tokenizer([QUESTION])
    config.text_config.vocab_size = len(tokenizer)
    end, pad = name_tokens(config, tokenizer)
    if layers is not None:
        cut_layers(config, layers)
    torch.manual_seed(0)
    model = Qwen2_5_VLForConditionalGeneration(config)
    model.generation_config = GenerationConfig(eos_token_id=end, pad_token_id=pad)
    return model, build_processor(tokenizer, max_pixels=max_pixels)


def timed(trainer: PolicyTrainer, shared: bool, run: Any) -> tuple[Any, float]:
    """What a pass gives on one of the sides, and its seconds."""
    trainer.sharing.logps = trainer.sharing.rollout = shared
    torch.manual_seed(0)
    start = time.perf_counter()
    with torch.no_grad():
        found = run()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return found, time.perf_counter() - start


def main(
    name: Annotated[str, typer.Option(help="The published model.")] = "Qwen/Qwen2.5-VL-3B-Instruct",
    layers: Annotated[int | None, typer.Option(help="Layers of each tower; default: all.")] = None,
    images: Annotated[int, typer.Option(help="Pictures in the prompt.")] = 2,
    side: Annotated[int, typer.Option(help="Pixels of their sides.")] = 448,
    completion: Annotated[int, typer.Option(help="Tokens C.")] = 16,
    generations: Annotated[int, typer.Option(help="Completions G.")] = 8,
) -> None:
    """Time both sides once, check that they agree, and print the ratios."""
    case = Case(images=images, side=side, completion=completion, generations=generations)
    policy = random_policy(name, layers, side * side)
    with tempfile.TemporaryDirectory() as folder:
        trainer = make_trainer(policy, case, Path(folder), shared=True, copied=False)
    trainer.model.eval()
    trainer.generation_config.do_sample = True
    inputs = [trainer.train_dataset[0]] * generations
    sample = rollout_of(trainer, inputs)
    seconds: dict[str, dict[str, float]] = {"rollout": {}, "log_probabilities": {}}
    tokens, values = {}, {}
    for side_name, shared in (("shared", True), ("stock", False)):
        (tokens[side_name], _), seconds["rollout"][side_name] = timed(trainer, shared, sample)
    if tokens["shared"] != tokens["stock"]:
        raise SystemExit("the two sides sample differently")
    trainer._generate_single_turn = lambda *_, **__: (tokens["shared"], None)
    batch = trainer._generate_and_score_completions(inputs)
    for side_name, shared in (("shared", True), ("stock", False)):
        values[side_name], seconds["log_probabilities"][side_name] = timed(
            trainer, shared, lambda: score(trainer, batch)
        )
    mask = batch["completion_mask"]
    check_equal("log-probabilities", *(value * mask for value in values.values()), limit=1e-4)
    prompt = int(batch["prompt_mask"][0].sum())
    stock, own = generations * (prompt + completion), prompt + generations * completion
    ratios = {key: round(both["stock"] / both["shared"], 2) for key, both in seconds.items()}
    difference = ((values["stock"] - values["shared"]) * mask).abs().max()
    record = {
        "ratio": ratios["log_probabilities"],
        "rollout_ratio": ratios["rollout"],
        "seconds": {
            key: {k: round(v, 2) for k, v in both.items()} for key, both in seconds.items()
        },
        "largest_difference": float(difference),
        "distinct_tokens": len({token for row in tokens["shared"] for token in row}),
        "token_limit": round(stock / own, 2),
        "parameters": sum(p.numel() for p in trainer.model.parameters()),
        "architecture": name,
        "layers": layers or "all",
        "prompt_tokens": prompt,
        "completion": completion,
        "generations": generations,
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }
    print(json.dumps(record))


if __name__ == "__main__":
    typer.run(main)
