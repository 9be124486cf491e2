"""A small benchmark and a tiny random policy, made once a test run."""

from __future__ import annotations

import gc
import json
import signal
from pathlib import Path

import numpy as np
import pytest
from commands import REPOSITORY
from hypothesis import settings
from pictures import save

settings.register_profile("untimed", deadline=None)  # a slow machine is no failure
settings.load_profile("untimed")


def pytest_configure(config: pytest.Config) -> None:
    """Started in the background, a shell has Ctrl-C ignored, also in all that the tests start."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_finish() -> None:
    """Each training collects garbage, which would go through all of the libraries every time."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def toy_benchmark(tmp_path_factory) -> Path:
    """Eight images of two sizes (half with a dark spot), a reference, three questions each."""
    root = tmp_path_factory.mktemp("toy")
    rng = np.random.default_rng(0)
    reference = "Toy/tile/train/good/000.png"
    records = {}
    for index in range(8):
        normal = index % 2 == 0
        key = f"Toy/tile/test/{'good' if normal else 'spot'}/{index:03d}.png"
        height, width = (112, 112) if index < 4 else (90, 160)
        pixels = rng.integers(100, 140, (height, width, 3)).astype(np.uint8)
        boxes = []
        if not normal:
            pixels[30:70, 40:90] = 10
            boxes = [[40, 30, 90, 70]]
        save(root / key, pixels)
        records[key] = {
            "image_path": f"test/{'good' if normal else 'spot'}/{index:03d}.png",
            "mask_path": None,
            "similar_templates": [reference],
            "random_templates": [],
            "boxes": boxes,
            "box_labels": ["spot"] * len(boxes),
            "conversation": [
                {
                    "Question": "Is there a defect in the object?",
                    "Answer": "B" if normal else "A",
                    "Options": {"A": "Yes.", "B": "No."},
                    "type": "Anomaly Detection",
                },
                {
                    "Question": "What is in the image?",
                    "Answer": "C",
                    "Options": {"A": "Nut.", "B": "Pill.", "C": "Tile.", "D": "Cap."},
                    "type": "Object Classification",
                },
                {
                    "Question": "Locate every defect in the image.",
                    "Answer": boxes,
                    "Options": {},
                    "type": "Defect Grounding",
                },
            ],
        }
    save(root / reference, rng.integers(100, 140, (112, 112, 3)).astype(np.uint8))
    (root / "mmad.json").write_text(json.dumps(records))
    return root


@pytest.fixture(scope="session")
def mvtec_benchmark(tmp_path_factory) -> Path:
    """Built from a tree in MVTec-AD's layout: two products of 2 good, 2 crack and 1 hole."""
    from source_trees import mvtec

    from anomalyr1.data.making.builder import build_benchmark
    from anomalyr1.data.making.sources.catalogue import read_source

    folder = tmp_path_factory.mktemp("mvtec")
    build_benchmark(read_source("mvtec", mvtec(folder / "source")), folder / "bench")
    return folder / "bench"


@pytest.fixture(scope="session")
def tiny_policy(tmp_path_factory, toy_benchmark) -> Path:
    """A tiny Qwen2.5-VL with random weights that knows the words of the toy benchmark."""
    from anomalyr1.policy.tiny import SMALLEST, build_tiny_policy

    out = tmp_path_factory.mktemp("policy")
    build_tiny_policy(toy_texts(toy_benchmark) * 4, out, shape=SMALLEST, vocab_size=512)
    return out


@pytest.fixture(scope="session")
def tiny_qwen3(tmp_path_factory, toy_benchmark) -> Path:
    """A tiny Qwen3-VL of the same kind."""
    from anomalyr1.policy.tiny_qwen3 import build_tiny_qwen3

    return build_tiny_qwen3(toy_texts(toy_benchmark) * 4, tmp_path_factory.mktemp("qwen3"))


@pytest.fixture(scope="session")
def policy_path(request) -> Path:
    """The tiny policy of a family, by the name of its fixture (`families`)."""
    return request.getfixturevalue(request.param)


@pytest.fixture
def ablation_configs(tmp_path, toy_benchmark, tiny_policy) -> Path:
    """A folder with configs of an ablation: GRPO, fine-tuning and evaluation, a step each."""
    from tiny_runs import ON_CPU, write_config

    policy = {"path": tiny_policy, "max_pixels": 12544, "freeze_vision": False}
    common = {**ON_CPU, "max_steps": 1, "per_device_train_batch_size": 4, "learning_rate": 1e-3}
    write_config(
        tmp_path / "train.yaml",
        policy=policy,
        data={"benchmark": toy_benchmark, "question_types": ["Defect Grounding"]},
        preflight={"skip": True},
        grpo={**common, "num_generations": 2, "max_completion_length": 8},
    )
    write_config(
        tmp_path / "sft.yaml", policy=policy, data={"benchmark": toy_benchmark}, sft=common
    )
    short = {"max_new_tokens": 8, "limit": 2, "allow_seen": True}
    write_config(
        tmp_path / "eval.yaml",
        policy={"path": "nowhere", "max_pixels": 12544},
        eval={"benchmark": toy_benchmark, **short},
        segmentation={"kind": "none"},
    )
    return tmp_path


def toy_texts(toy_benchmark: Path) -> list[str]:
    """Prompts and gold completions of the toy benchmark."""
    from anomalyr1.data.mmad import load_benchmark
    from anomalyr1.geometry import Frame
    from anomalyr1.gold_completions import texts_about

    return texts_about(load_benchmark(toy_benchmark).samples, Frame(112, 112, 112, 112))


@pytest.fixture(scope="session")
def inspector():
    """An inspector with the policy that ships with the project, filled boxes for masks."""
    from anomalyr1 import Inspector

    return Inspector.from_pretrained(
        REPOSITORY / "data/tiny-policy", segmenter="box", max_new_tokens=96
    )
