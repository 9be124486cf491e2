"""The verbs that are killed, starved and started twice."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from commands import REPOSITORY
from killing import Verb
from pictures import noise, save
from tiny_runs import ON_CPU, overrides, typed, write_config

from anomalyr1.data.images import image_size
from anomalyr1.data.mmad import load_benchmark
from anomalyr1.evaluation.prediction_lines import prediction_to_row
from anomalyr1.schema import GROUNDING, Prediction
from anomalyr1.storage import write_jsonl


@pytest.fixture(scope="session")
def verbs(tmp_path_factory, toy_benchmark, tiny_policy) -> dict[str, Verb]:
    """Every verb that works for minutes on real data; a new one is one entry."""
    folder = tmp_path_factory.mktemp("verbs")
    empty = write_config(folder / "empty.yaml", seed=0)
    short = {"allow_seen": True, "limit": 6, "max_new_tokens": 8, "bootstrap": 20, "batch_size": 4}
    asked = {
        "policy.path": tiny_policy,
        "policy.max_pixels": 12544,
        "eval.benchmark": toy_benchmark,
        **{f"eval.{key}": value for key, value in short.items()},
    }
    few = {"per_device_train_batch_size": 4, "max_steps": 6, "save_steps": 2}
    sampled = {"num_generations": 4, "max_completion_length": 8, "loss_type": "grpo", "beta": 0.0}
    parts, arriving = folder / "nut", folder / "arriving"
    for number in range(6):
        kind = "good" if number % 2 else "hole"
        save(parts / kind / f"{number}.png", np.asarray(noise(number, 120, 90)))
        save(arriving / f"{number}.png", np.asarray(noise(number, 64, 56)))
        hole = np.zeros((90, 120), np.uint8)
        hole[30:60, 40 : 60 + number] = 255
        save(parts / "masks" / "hole" / f"{number}.png", hole)
    watched = ["--policy", REPOSITORY / "data/tiny-policy", "--segmenter", "box"]
    watched += ["--max-new-tokens", 8, "--interval", 0.05, "--idle", 0.3, "--batch-size", 2]

    def ablation(given: Path, out: Path) -> list[object]:
        return ["ablate", _ablation(given, out, toy_benchmark, tiny_policy)]

    return {
        "data build": Verb(
            lambda given, out: ["data", "build", "folder", parts, "--out", out],
            torch=False,
        ),
        "data build --tile": Verb(
            lambda given, out: [
                *("data", "build", "folder", parts),
                *("--out", out, "--tile", 56),
            ],
            torch=False,
        ),
        "predict --watch": Verb(
            lambda given, out: ["predict", "--watch", arriving, *watched, "--out", out]
        ),
        "eval": Verb(lambda given, out: ["eval", empty, *typed(asked), f"run_dir={out}"]),
        "sft": Verb(
            lambda given, out: [
                "sft",
                empty,
                *overrides("sft", tiny_policy, toy_benchmark, out, **few),
            ]
        ),
        "train": Verb(
            lambda given, out: [
                *("train", empty, "preflight.skip=true", "keep_completions_every=2"),
                *overrides("grpo", tiny_policy, toy_benchmark, out, **few, **sampled),
            ]
        ),
        "mask": Verb(
            lambda given, out: ["mask", out, "--root", toy_benchmark, "--segmenter", "grabcut"],
            torch=False,
            prepare=lambda out: _predictions(out / "predictions.jsonl", toy_benchmark),
        ),
        # A training that outlives its ablation is asked to end, which it does behind a checkpoint.
        "ablate": Verb(ablation, may_leave=re.compile(r"/checkpoints/checkpoint-\d+/")),
    }


def _ablation(folder: Path, out: Path, benchmark: Path, policy: Path) -> Path:
    folder.mkdir(exist_ok=True)
    settings = {**ON_CPU, "max_steps": 4, "save_steps": 2, "per_device_train_batch_size": 4}
    write_config(
        folder / "sft.yaml",
        policy={"path": policy, "max_pixels": 12544},
        data={"benchmark": benchmark},
        sft={**settings, "learning_rate": 1e-3},
    )
    write_config(
        folder / "eval.yaml",
        policy={"path": "nowhere", "max_pixels": 12544},
        eval={"benchmark": benchmark, "max_new_tokens": 8, "limit": 2, "allow_seen": True},
        segmentation={"kind": "none"},
    )
    return write_config(
        folder / "stages.yaml",
        base="sft.yaml",
        eval="eval.yaml",
        verb="sft",
        run_dir=out,
        seeds=[0],
        list={"whole": {}},
    )


def _predictions(path: Path, benchmark: Path) -> None:
    """A box an image, as an evaluation leaves them."""
    completion = '<think>See.</think><answer>[{"bbox_2d": [30, 30, 80, 80]}]</answer>'
    rows = [
        prediction_to_row(
            Prediction(
                sample.image,
                2,
                GROUNDING,
                {},
                None,
                completion,
                frame=size,
                size=size,
                gold_boxes=sample.gold_boxes(sample.questions[2]),
                normal=sample.is_normal,
            )
        )
        for sample in load_benchmark(benchmark).samples
        for size in [image_size(sample.path)]
    ]
    write_jsonl(path, rows)
