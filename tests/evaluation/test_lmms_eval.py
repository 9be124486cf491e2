"""MMAD as a task of lmms-eval: our prompts, and the compat table of the same answers."""

from __future__ import annotations

import importlib.util
import json
import random
import re
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from commands import REPOSITORY, completed, run_here

from anomalyr1.config import PolicyConfig, PromptConfig
from anomalyr1.data.mmad import load_benchmark
from anomalyr1.errors import InputError
from anomalyr1.evaluation.prediction_lines import prediction_to_row
from anomalyr1.evaluation.score import score
from anomalyr1.policy.load import load_policy
from anomalyr1.rows import build_rows
from anomalyr1.schema import QUESTION_TYPES, ROBUSTMAD_TYPES, Prediction
from anomalyr1.storage import write_jsonl

FOLDER = REPOSITORY / "data/lmms_eval"
INSTALLED = importlib.util.find_spec("lmms_eval") is not None

# What a letter was read in wrongly, or was not read in, elsewhere.
COMPLETIONS = (
    "A", "B.", "(C)", "The answer is B.", "b", "I cannot tell.", "", "F",
    "A scratch is visible.", "the answer is C because A B D are wrong", "CAD part DEFECT",
    "<think>It is dented. So the answer is A.</think>\n<answer>A</answer>",
    "<answer>A</answer><answer>B</answer>",
)  # fmt: skip


@pytest.fixture(scope="module")
def task():
    """The functions that the task's file names."""
    spec = importlib.util.spec_from_file_location("mmad_task", FOLDER / "mmad_task.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def questions(task, benchmark: Path, monkeypatch) -> list[dict]:
    monkeypatch.setenv(task.BENCHMARK, str(benchmark))
    return list(task.questions([{"benchmark": "nowhere"}]))


def drawn(folder: Path) -> Path:
    """Three data sets of empty files, a choice question of every type about each."""
    options = {"A": "Yes.", "B": "No.", "C": "Partly.", "D": "Maybe."}
    types = [kind for kind in QUESTION_TYPES if kind != "Defect Grounding"]
    records = {}
    for number in range(30):
        kind = "good" if number % 3 == 0 else "bad"
        key = f"Set{number % 4 % 3}/part/{kind}/{number}.png"
        (folder / key).parent.mkdir(parents=True, exist_ok=True)
        (folder / key).touch()
        records[key] = {
            "image_path": f"{kind}/{number}.png",
            "similar_templates": [],
            "random_templates": [],
            "conversation": [
                {"Question": "Dented?", "Answer": "ABC"[number % 3], "Options": options, "type": t}
                for t in types
            ],
        }
    (folder / "mmad.json").write_text(json.dumps(records))
    return folder


def prediction(doc: dict, completion: str) -> Prediction:
    return Prediction(
        image=doc["image"],
        question_index=doc["question_index"],
        question_type=doc["question_type"],
        options=dict(doc["options"]),
        answer=doc["answer"],
        completion=completion,
        template="mmad",
        normal=doc["normal"],
        question=doc["question"],
    )


def require_compat(task, found: dict, predictions: list[Prediction], folder: Path) -> None:
    """What lmms-eval shows is what `score` does of the same answers."""
    path = folder / "predictions.jsonl"
    write_jsonl(path, [prediction_to_row(one) for one in predictions])
    scored = score(path, resamples=2)
    table = scored["mmad"]["compat"]
    assert found["by_dataset"] == table
    for column, value in table["Average"].items():
        assert found[column.lower().replace(" ", "_")] == value, column
    assert found["average"] == scored["macro"]["compat"]
    assert found["micro"] == scored["micro"]["compat"]
    assert found["strict_average"] == scored["macro"]["strict"]
    assert found["unreadable"] == scored["invalid_rate"]


@pytest.mark.parametrize("seed", range(3))
def test_the_same_answers_give_the_compat_table(task, tmp_path, monkeypatch, seed):
    docs = questions(task, drawn(tmp_path), monkeypatch)
    assert len(docs) == 30 * 9 and not {doc["question_type"] for doc in docs} & {*ROBUSTMAD_TYPES}
    chance = random.Random(seed)
    said = [chance.choice(COMPLETIONS) for _ in docs]
    records = [task.answers(doc, [text.strip()]) for doc, text in zip(docs, said, strict=True)]
    assert all(set(record) == set(task.METRICS) for record in records)
    chance.shuffle(records)  # several processes hand theirs over one after the other
    found = {name: getattr(task, name)([r[name] for r in records]) for name in task.METRICS}
    predictions = [prediction(doc, text) for doc, text in zip(docs, said, strict=True)]
    assert 0 < found["unreadable"] < 100
    require_compat(task, found, predictions, tmp_path)


@pytest.mark.parametrize("references", [0, 1])
def test_prompts_are_those_of_an_evaluation(
    task, toy_benchmark, tiny_policy, monkeypatch, references
):
    policy = load_policy(PolicyConfig(path=str(tiny_policy), max_pixels=12544))
    prompt = PromptConfig(template="mmad", references=references, reference_kind="random")
    samples = [
        replace(sample, questions=tuple(q for q in sample.questions if not q.is_grounding))
        for sample in load_benchmark(toy_benchmark).samples[:2]
    ]
    rows = build_rows(samples, prompt, policy.processor, policy.family)
    docs = questions(task, toy_benchmark, monkeypatch)[: len(rows)]
    told = {"references": references}
    for row, doc in zip(rows, docs, strict=True):
        assert (doc["image"], doc["question_index"]) == (row.sample.image, row.index)
        messages, images = task.messages(doc, told), task.images(doc, told)
        shown = [part for said in messages for part in said["content"] if part["type"] == "image"]
        assert [part.pop("url").size for part in shown] == [image.size for image in images]
        assert messages == row.messages
        assert [str(Path(doc["root"]) / n) for n in doc["references"][:references]] == [
            *row.images[:-1]
        ]
        assert task.text(doc, told) in "".join(
            part.get("text", "") for part in row.messages[-1]["content"]
        )


def test_missing_images_are_named_before_anything_is_asked(task, tmp_path, monkeypatch):
    folder = drawn(tmp_path)
    (folder / "Set0/part/good/0.png").unlink()
    with pytest.raises(InputError, match=r"1 missing: Set0/part/good/0\.png"):
        questions(task, folder, monkeypatch)


def test_the_task_file_names_functions_that_are_there(task):
    text = (FOLDER / "mmad_template").read_text()
    named = re.findall(r"!function mmad_task\.(\w+)", text)
    assert all(callable(getattr(task, name)) for name in named)
    metrics = yaml.safe_load(re.sub(r"!function ", "", text))["metric_list"]
    assert {metric["metric"] for metric in metrics} == set(task.METRICS)
    assert all(m["aggregation"] == f"mmad_task.{m['metric']}" for m in metrics)


@pytest.mark.slow
@pytest.mark.lmms_eval
@pytest.mark.skipif(not INSTALLED, reason="lmms-eval is not installed")
@pytest.mark.parametrize("name", ["mmad_0shot", "mmad_1shot"])
def test_lmms_eval_runs_it(task, tmp_path, toy_benchmark, monkeypatch, name):
    """Its table is ours of its answers, and that of `anomalyr1 eval` too.

    Its words need not be: it makes the sides of an image multiples of 28 before the processor does.
    """
    policy = REPOSITORY / "data/tiny-policy"
    completed(
        [
            *(sys.executable, "-m", "lmms_eval", "--include_path", str(FOLDER)),
            *("--tasks", name, "--model", "qwen2_5_vl", "--model_args"),
            f"pretrained={policy},max_pixels=12544,min_pixels=3136,device=cpu,device_map=cpu",
            *("--batch_size", "1", "--log_samples", "--output_path", str(tmp_path / "out")),
        ],
        timeout=1800,
        MMAD_BENCHMARK=str(toy_benchmark),
        HF_HOME=str(tmp_path / "hf"),
        HF_HUB_OFFLINE="1",
        HF_DATASETS_OFFLINE="1",
    )
    [results] = (tmp_path / "out").rglob("*_results.json")
    [samples] = (tmp_path / "out").rglob(f"*_samples_{name}.jsonl")
    found = json.loads(results.read_text())["results"][name]
    found = {metric: found[f"{metric},none"] for metric in task.METRICS}
    lines = [json.loads(line) for line in samples.read_text().splitlines()]
    docs = questions(task, toy_benchmark, monkeypatch)
    said = {line["doc_id"]: line["filtered_resps"] for line in lines}
    assert len(said) == len(docs) == 16
    predictions = [prediction(doc, said[doc["position"]]) for doc in docs]
    require_compat(task, found, predictions, tmp_path)
    run_here(
        *("eval", REPOSITORY / f"configs/eval/{name}.yaml", f"run_dir={tmp_path / 'run'}"),
        *(f"policy.path={policy}", "policy.min_pixels=3136", "policy.max_pixels=12544"),
        *(f"eval.benchmark={toy_benchmark}", "eval.batch_size=1", "eval.bootstrap=10"),
    )
    rows = [json.loads(line) for line in (tmp_path / "run/predictions.jsonl").open()]
    ours = {(row["image"], row["question_index"]): row["completion"].strip() for row in rows}
    same = sum(p.completion.strip() == ours[p.image, p.question_index] for p in predictions)
    print(f"{name}: {same} of {len(docs)} completions are those of `anomalyr1 eval`")
    assert same >= len(docs) / 2  # half of the images keep their sides
    metrics = json.loads((tmp_path / "run/metrics.json").read_text())
    assert metrics["mmad"]["compat"] == found["by_dataset"]
