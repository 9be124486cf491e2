"""Boxes come out where they went in, in both families: rows, gold, rewards, predictions, masks."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import count
from pathlib import Path

import numpy as np
import pytest
from pictures import save

from anomalyr1.config import (
    Config,
    DataConfig,
    EvalConfig,
    PolicyConfig,
    PreflightConfig,
    PromptConfig,
    SegmentationConfig,
)
from anomalyr1.config.reward import RewardConfig
from anomalyr1.data.images import open_image
from anomalyr1.data.mmad import load_benchmark
from anomalyr1.evaluation.backends import in_process
from anomalyr1.evaluation.pipeline import evaluate
from anomalyr1.evaluation.prediction_lines import read_predictions
from anomalyr1.geometry import Frame, set_iou
from anomalyr1.gold_completions import gold_completion
from anomalyr1.parsing import parse_response
from anomalyr1.policy.family import QWEN2_5_VL, QWEN3_VL
from anomalyr1.policy.load import load_policy
from anomalyr1.rewards.build import build_rewards
from anomalyr1.rewards.completion_lines import read_completions
from anomalyr1.rewards.reading import read_batch
from anomalyr1.rewards.replay import score_completions
from anomalyr1.rewards.telemetry import batch_metrics
from anomalyr1.rows import build_rows
from anomalyr1.schema import Box
from anomalyr1.training.dataset import to_dataset
from anomalyr1.training.grpo import train

SIZES = ((640, 480), (317, 911), (1000, 250), (1280, 719), (421, 400))  # width, height
ENOUGH = 0.97  # whole numbers cost up to half a step at each edge of a box
MAX_PIXELS = 200_000


@pytest.fixture(scope="module")
def bench(tmp_path_factory) -> Path:
    """Five images, no side like another, each with two boxes; and a whole-image defect."""
    root, records = tmp_path_factory.mktemp("sizes"), {}
    for number, (width, height) in enumerate(SIZES):
        key = f"Toy/plate/test/dent/{number}.png"
        pixels = np.full((height, width, 3), 150, np.uint8)
        first = [round(0.05 * width), round(0.1 * height), round(0.45 * width), round(0.8 * height)]
        second = [round(0.52 * width), round(0.3 * height), width, height]
        boxes = [first, second] if number else [[0, 0, width, height]]
        for x1, y1, x2, y2 in boxes:
            pixels[y1:y2, x1:x2] = 20
        save(root / key, pixels)
        records[key] = {
            "image_path": f"test/dent/{number}.png",
            "boxes": boxes,
            "box_labels": ["dent"] * len(boxes),
            "conversation": [
                {
                    "Question": "Locate every defect.",
                    "Answer": boxes,
                    "Options": {},
                    "type": "Defect Grounding",
                },
                {
                    "Question": "Is there a defect?",
                    "Answer": "A",
                    "Options": {"A": "Yes.", "B": "No."},
                    "type": "Anomaly Detection",
                },
            ],
        }
    (root / "mmad.json").write_text(json.dumps(records))
    return root


@pytest.fixture(params=(QWEN2_5_VL, QWEN3_VL), ids=lambda family: family.name)
def family(request):
    return request.param


@pytest.fixture
def policy(family, tiny_policy, tiny_qwen3):
    path = {QWEN2_5_VL: tiny_policy, QWEN3_VL: tiny_qwen3}[family]
    return PolicyConfig(path=str(path), max_pixels=MAX_PIXELS)


@pytest.fixture
def rows(policy, bench):
    loaded = load_policy(policy)
    samples = load_benchmark(bench).samples
    prompt = PromptConfig(references=0, template="inspect")
    return build_rows(samples, prompt, loaded.processor, loaded.family)


def gold_text(row) -> str:
    return gold_completion(row.sample, row.question, row.template, row.frame)


def test_gold_is_written_in_the_frame_that_the_family_speaks_in(rows, policy, family):
    """Pixels of what the processor really makes of the image, or thousandths of its sides."""
    processor = load_policy(policy).processor
    for row in rows:
        width, height = row.size
        seen = processor.image_processor(images=open_image(row.sample.path), return_tensors="pt")
        _, down, across = seen["image_grid_thw"][0].tolist()
        sides = (across * 14, down * 14) if family is QWEN2_5_VL else (1000, 1000)
        expected = [
            [round(x1 * sides[0] / width), round(y1 * sides[1] / height),
             round(x2 * sides[0] / width), round(y2 * sides[1] / height)]
            for x1, y1, x2, y2 in (box.xyxy for box in row.sample.boxes)
        ]  # fmt: skip
        answer = gold_text(row).split("<answer>")[1].split("</answer>")[0]
        stated = json.loads(answer[answer.index("[") :])
        assert [box["bbox_2d"] for box in stated] == expected
        asked = row.messages[1]["content"][-1]["text"]
        said = "boxes in pixels" if family is QWEN2_5_VL else "from 0 to 1000 along each side"
        assert said in asked and ("pixels" in asked) == (family is QWEN2_5_VL)


def test_gold_earns_its_reward(rows, family):
    """The columns that TRL hands over, Arrow's rounding included."""
    data = to_dataset(rows, with_completion=True)
    columns = {name: data[name] for name in data.column_names if name not in ("images", "prompt")}
    texts = columns.pop("completion")
    terms, _ = build_rewards(RewardConfig(preset="roam"))
    (iou,) = [term for term in terms if term.name == "iou"]
    scores = iou(completions=texts, **columns)
    assert len(scores) == 2 * len(SIZES) and min(scores) >= ENOUGH
    readings = read_batch(texts, columns)
    assert {reading.frame for reading in readings} == {row.frame.model_size for row in rows}
    # Of the five images one has a box as large as itself, however its frame is counted.
    shares = [batch_metrics([reading]) for reading in readings]
    whole = [share["boxes/whole_image"] for share in shares]
    assert whole == [1.0, 1.0] + [0.0] * (2 * len(SIZES) - 2)


def test_a_policy_that_answers_with_gold_boxes_is_scored_so(
    bench, policy, family, rows, tmp_path, monkeypatch
):
    """All of `eval` for real but the words: the tiny policy reads its prompts and is overruled."""
    real, asked = in_process.complete_asked, count()

    def overruled(*arguments, **options):
        completions = real(*arguments, **{**options, "max_new_tokens": 1})
        return [each._replace(text=gold_text(rows[next(asked)])) for each in completions]

    monkeypatch.setattr(in_process, "complete_asked", overruled)
    config = Config(
        run_dir=str(tmp_path),
        policy=policy,
        prompt=PromptConfig(references=0, template="inspect"),
        eval=EvalConfig(benchmark=str(bench), batch_size=4, bootstrap=20),
        segmentation=SegmentationConfig(kind="box"),
    )
    evaluate(config)
    predictions = read_predictions(tmp_path / "predictions.jsonl")
    assert len(predictions) == len(rows) == next(asked)
    for prediction, row in zip(predictions, rows, strict=True):
        assert (prediction.image, prediction.size) == (row.sample.image, row.size)
        assert prediction.frame == row.frame.model_size
        assert (prediction.frame == (1000, 1000)) == (family is QWEN3_VL)
        back = Frame(*prediction.size, *prediction.frame)
        boxes = parse_response(prediction.completion, row.question).boxes
        in_image = [back.to_original(box) for box in boxes]
        assert set_iou(in_image, prediction.gold_boxes) >= ENOUGH
    found = json.loads((tmp_path / "metrics.json").read_text())["localization"]
    assert found["boxes"]["pooled"]["set_iou"] >= 100 * ENOUGH
    assert found["boxes"]["pooled"]["f1@0.5"] == 100
    masks = found["masks"]["box"]
    assert masks["predicted"]["pooled"]["iou"] >= ENOUGH * 100
    assert masks["gold"]["pooled"]["iou"] == 100
    scored = score_completions(read_completions(tmp_path / "predictions.jsonl"), RewardConfig())
    assert min(score.rewards["iou"] for score in scored) >= ENOUGH


def test_a_box_in_the_other_familys_frame_is_seen_to_be_wrong(rows, family):
    """That the numbers above can fail: pixels taken for thousandths, and the reverse."""
    for row in rows[2:]:
        width, height = (1000, 1000) if family is QWEN2_5_VL else row.size
        wrong = Frame(*row.size, width, height)
        stated = [wrong.to_model(box) for box in row.sample.boxes]
        assert set_iou([row.frame.to_original(box) for box in stated], row.sample.boxes) < 0.9


@pytest.fixture
def settings(tiny_qwen3, toy_benchmark, tmp_path) -> Config:
    return Config(
        run_dir=str(tmp_path / "run"),
        policy=PolicyConfig(path=str(tiny_qwen3), max_pixels=16_384),
        data=DataConfig(benchmark=str(toy_benchmark)),
        prompt=PromptConfig(references=1),
        preflight=PreflightConfig(skip=True),
        eval=EvalConfig(
            benchmark=str(toy_benchmark), max_new_tokens=4, bootstrap=20, likelihood=True
        ),
        segmentation=SegmentationConfig(kind="box"),
        grpo={
            "max_steps": 1,
            "num_generations": 2,
            "per_device_train_batch_size": 4,
            "max_completion_length": 8,
            "learning_rate": 1e-3,
            "use_cpu": True,
            "bf16": False,
            "gradient_checkpointing": False,
            "report_to": "none",
        },
        keep_completions_every=1,
    )


def test_a_qwen3_vl_trains_with_shared_prefixes(settings, capsys):
    before = load_policy(settings.policy).model.state_dict()
    trained = train(settings)
    assert "shared prefix: " not in capsys.readouterr().out  # nothing keeps it from sharing
    after = load_policy(PolicyConfig(path=str(trained))).model.state_dict()
    moved = {name for name in before if not before[name].equal(after[name])}
    assert not any(QWEN3_VL.part_of(name) == "vision" for name in moved)  # frozen by default
    assert {"projector", "language"} >= {QWEN3_VL.part_of(name) for name in moved}
    kept = (Path(settings.run_dir) / "completions").glob("*.jsonl")
    boxes = [Box(*box) for file in kept for line in file.read_text().splitlines()
             for box in json.loads(line)["boxes"] or ()]  # fmt: skip
    assert all(max(box.xyxy) <= 1000 for box in boxes)


def test_a_qwen3_vl_is_evaluated_with_shared_prefixes_as_without(settings, tmp_path, capsys):
    found = []
    for shared in (True, False):
        policy = replace(settings.policy, shared_prefix=shared)
        run = replace(settings, run_dir=str(tmp_path / str(shared)), policy=policy)
        assert evaluate(run).is_file()
        found.append(read_predictions(Path(run.run_dir) / "predictions.jsonl"))
    assert "shared prefix: " not in capsys.readouterr().out
    predictions, stock = found
    assert len(predictions) == 24
    for ours, theirs in zip(predictions, stock, strict=True):
        assert ours.completion == theirs.completion
        weighed, plain = ours.letter_logps or {}, theirs.letter_logps or {}
        assert weighed.keys() == plain.keys() and bool(weighed) == bool(ours.options)
        for place, logps in weighed.items():
            assert logps == pytest.approx(plain[place], abs=1e-4)
    assert {prediction.frame for prediction in predictions} == {(1000, 1000)}
    assert {prediction.size for prediction in predictions} == {(112, 112), (160, 90)}
