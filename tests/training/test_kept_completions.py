"""A completion earns the same in training, from the file a run keeps, and from its prediction."""

from __future__ import annotations

import json
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from commands import REPOSITORY
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tiny_runs import toy_run

from anomalyr1.config import load_config
from anomalyr1.config.reward import (
    IouOptions,
    LengthOptions,
    RepetitionOptions,
    RewardConfig,
    TermConfig,
)
from anomalyr1.data.making.synthetic import synthesize
from anomalyr1.evaluation.backends.answering import prediction_of
from anomalyr1.evaluation.image_readings import readings_of
from anomalyr1.evaluation.prediction_lines import prediction_to_row, read_predictions
from anomalyr1.geometry import Frame
from anomalyr1.gold_completions import gold_completion
from anomalyr1.policy.generate import Completion
from anomalyr1.rewards.build import PRESETS, TERMS, build_rewards
from anomalyr1.rewards.completion_lines import read_completions
from anomalyr1.rewards.luggage import COLUMNS, of_lines
from anomalyr1.rewards.replay import score_completions
from anomalyr1.rewards.roam import outcome_of
from anomalyr1.rows import Row
from anomalyr1.schema import GROUNDING, OPTION_LETTERS, OUTCOMES, Box, Question, Sample
from anomalyr1.storage import read_json, read_jsonl, write_json, write_jsonl
from anomalyr1.training.dataset import to_dataset
from anomalyr1.training.grpo import train
from anomalyr1.training.kept_completions import Remembered, kept_completions

FRAME = Frame(200, 100, 112, 56)


def shares_of_luggage(completions, scale=1.0, **columns):
    """A reward of the user's own that looks at all that a completion brings along."""
    rows = zip(completions, *(columns[name] for name in COLUMNS), strict=True)
    return [scale * len(json.dumps(row)) for row in rows]


def row_of(question: Question, template="choice", boxes=None, frame=FRAME) -> Row:
    sample = Sample("D/tile/test/dent/1.png", Path("root"), (question,), boxes=boxes)
    size = (frame.width, frame.height)
    return Row(sample, 0, question, template, [], (), (), size, frame, 0)


def as_training(rows, completions, ids, terms):
    """What TRL's `_calculate_rewards` makes of a batch, and the records of it that are kept."""
    dataset = to_dataset(rows)
    inputs = [dataset[index] for index in range(len(rows))]
    names = [name for name in inputs[0] if name not in ("prompt", "completion", "completion_ids")]
    columns = {name: [row[name] for row in inputs] for name in names}
    columns |= {"log_metric": lambda *_: None, "log_extra": lambda *_: None, "trainer_state": None}
    said = [[{"role": "assistant", "content": text}] for text in completions]
    wrapped = [Remembered.of(term) for term in terms]
    for term in wrapped:
        term(prompts=[None] * len(rows), completions=said, completion_ids=ids, **columns)
    rewards = {term.__name__: term.last for term in wrapped}
    return rewards, kept_completions(inputs, said, ids, rewards=rewards, said={})


@pytest.mark.parametrize("letter", ["A", "E", "F", "M", "Z"])
@pytest.mark.parametrize("template", ["choice", "inspect"])
def test_the_right_letter_earns_the_full_reward_whichever_it_is(letter, template):
    options = {name: f"Part {name}." for name in OPTION_LETTERS}
    asked = Question("Which part is it?", "Object Classification", options, letter)
    few = Question("Is there a defect?", "Anomaly Detection", {"A": "Yes.", "B": "No."}, "A")
    rows = [row_of(asked, template, boxes=()), row_of(few, template, boxes=())]
    texts = [gold_completion(row.sample, row.question, template, FRAME) for row in rows]
    terms, _ = build_rewards(RewardConfig())
    rewards, _ = as_training(rows, texts, [[1], [1]], terms)
    for term in ("accuracy", "consistency", "format"):
        assert rewards[term] == [1.0, 1.0], term
    assert rewards["iou"] == ([None, None] if template == "choice" else [1.0, 1.0])


def test_the_dataset_and_the_records_carry_all_of_the_luggage():
    row = row_of(Question("Locate.", GROUNDING, boxes=(Box(0, 0, 9, 9, "dent"),)), "grounding")
    dataset = to_dataset([row])
    assert {*dataset.column_names, "completion_ids"} == {*COLUMNS, "prompt", "images"}
    _, [record] = as_training([row], ["x"], [[4, 5]], build_rewards(RewardConfig())[0])
    assert set(COLUMNS) <= set(record)
    assert record["box_labels"] == ["dent"] and record["frame"] == [112, 56]
    assert record["completion_ids"] == [4, 5] and record["template"] == "grounding"


@pytest.mark.parametrize("template", ["choice", "inspect", "grounding"])
def test_a_prediction_brings_along_what_a_kept_completion_does(template):
    gold = (Box(3, 5, 40, 31, "dent"), Box(50, 60, 70, 80))
    question = Question("Which part?", "Defect Analysis", {"A": "x.", "F": "y."}, "F")
    if template == "grounding":
        question = Question("Locate.", GROUNDING)
    row = row_of(question, template, boxes=gold)
    _, kept = as_training([row], ["x"], [[4, 5]], build_rewards(RewardConfig())[0])
    predicted = [prediction_to_row(prediction_of(row, Completion("x", (4, 5))))]
    assert of_lines(predicted) == of_lines(kept)
    assert of_lines(kept)["box_labels"] == [None if template == "choice" else ["dent", None]]


def test_boxes_keep_their_corners_to_the_last_bit():
    box = Box(1 / 3, 2 / 7, 55.1, 77.7)
    row = row_of(Question("Locate.", GROUNDING, boxes=(box,)), "grounding")
    assert tuple(to_dataset([row])[0]["boxes"][0]) == FRAME.to_model(box).xyxy


@pytest.mark.parametrize("label", [None, "dent"])
def test_a_gold_box_without_a_label_accepts_any(label):
    """The word "defect" stands in the written answer alone: 0.0 in training, 1.0 in replay."""
    row = row_of(Question("Locate.", GROUNDING, boxes=(Box(0, 0, 50, 50, label),)), "grounding")
    terms, _ = build_rewards(RewardConfig(iou=IouOptions(label_aware=True)))
    text = "<think>So the product is abnormal.</think><answer>[{}]</answer>"
    said = [text.format(f'{{"bbox_2d": [0, 0, 28, 28], "label": "{n}"}}') for n in ("dent", "hole")]
    rewards, _ = as_training([row] * 2, said, [[1]] * 2, terms)
    assert rewards["iou"] == pytest.approx([1.0, 1.0] if label is None else [1.0, 0.0])
    assert '"label": "defect"' in gold_completion(
        replace(row.sample, boxes=(Box(0, 0, 9, 9),)),
        replace(row.question, boxes=None),
        "grounding",
        FRAME,
    )


labels = st.sampled_from([None, "dent", "deep_scratch", "defect"])


@st.composite
def boxes(draw, width, height):
    x1, y1 = draw(st.floats(0, width - 1)), draw(st.floats(0, height - 1))
    x2, y2 = draw(st.floats(x1, width)), draw(st.floats(y1, height))
    return Box(x1, y1, x2, y2, draw(labels))


@st.composite
def asked(draw):
    """A row of any kind: 2 to 26 options or none, any template, gold boxes known or not."""
    width, height = draw(st.integers(2, 3000)), draw(st.integers(2, 3000))
    frame = Frame(width, height, 28 * draw(st.integers(1, 40)), 28 * draw(st.integers(1, 40)))
    gold = draw(st.none() | st.lists(boxes(width, height), max_size=3).map(tuple))
    template = draw(st.sampled_from(["choice", "inspect", "grounding"]))
    if template == "grounding":
        own = draw(st.none() | st.lists(boxes(width, height), max_size=3).map(tuple))
        return row_of(Question("Locate.", GROUNDING, boxes=own), template, gold, frame)
    letters = OPTION_LETTERS[: draw(st.integers(2, 26))]
    options = {letter: f"Part {letter.lower()}." for letter in letters}
    answer = draw(st.sampled_from(letters))
    question = Question("Which part?", "Defect Analysis", options, answer)
    return row_of(question, template, gold, frame)


@st.composite
def said(draw, row):
    """A completion near the right one: other letters, shifted and renamed boxes, broken tags."""
    letters = [*row.question.options, None]
    letter, conclusion = draw(st.sampled_from(letters)), draw(st.sampled_from(letters))
    shown = [
        {
            "bbox_2d": [v + draw(st.sampled_from([0, 0, 0.25, -3, 11])) for v in box.xyxy],
            **draw(st.sampled_from([{}, {"label": "dent"}, {"label": "Deep Scratch"}])),
        }
        for box in (row.gold_in_model or ())[: draw(st.integers(0, 3))]
    ]
    listed = "" if row.template == "choice" else f"\n{json.dumps(shown)}"
    reasoning = draw(
        st.sampled_from([f"So the answer is {conclusion}.", "So the product is abnormal.", "Hm."])
    )
    answer = f"<answer>{letter or ''}{listed}</answer>"
    return draw(
        st.sampled_from(
            [f"<think>{reasoning}</think>{answer}"] * 4
            + [f"<think>{reasoning}</think>\n{answer} Thanks!", answer, "", "é\u2028\x00"]
        )
    )


@st.composite
def batches(draw):
    rows = draw(st.lists(asked(), min_size=1, max_size=4))
    texts = [draw(said(row)) for row in rows]
    ids = [draw(st.lists(st.integers(0, 3), max_size=12)) for _ in rows]
    return rows, texts, ids


similarity = st.builds(
    IouOptions,
    similarity=st.sampled_from(["iou", "giou", "siou"]),
    threshold=st.none() | st.floats(0.05, 1.0),
    label_aware=st.booleans(),
    size_gamma=st.floats(0, 0.9),
    size_scale=st.floats(1, 200),
)
own_terms = st.just({}) | st.just(
    {f"{__name__}.shares_of_luggage": TermConfig(weight=0.1, options={"scale": 1 / 3})}
)
rewards_of_any_kind = st.builds(
    RewardConfig,
    preset=st.sampled_from(list(PRESETS)),
    weights=st.just(dict.fromkeys(TERMS, 0.7)) | st.just({"length": 1.0, "repetition": 0.5}),
    table=st.just({}) | st.dictionaries(st.sampled_from(OUTCOMES), st.floats(-1, 1)),
    gate=st.sampled_from([None, "strict", "released"]),
    iou=similarity,
    length=st.builds(LengthOptions, max_tokens=st.integers(4, 12), soft_tokens=st.integers(1, 4)),
    repetition=st.builds(RepetitionOptions, ngram=st.integers(1, 3), max_penalty=st.floats(-2, 0)),
    terms=own_terms,
)


@given(batches(), rewards_of_any_kind)
@settings(max_examples=120, suppress_health_check=list(HealthCheck))
def test_replay_gives_the_rewards_that_training_gave(batch, config):
    rows, texts, ids = batch
    terms, _ = build_rewards(config)
    rewards, records = as_training(rows, texts, ids, terms)
    by_row = zip(*rewards.values(), strict=True)
    given_to = [dict(zip(rewards, values, strict=True)) for values in by_row]
    with tempfile.TemporaryDirectory() as folder:
        kept, predicted = Path(folder) / "kept.jsonl", Path(folder) / "predictions.jsonl"
        write_jsonl(kept, records)
        again = score_completions(read_completions(kept), config)
        assert [one.rewards for one in again] == given_to == [row["rewards"] for row in records]
        predictions = [
            prediction_of(replace(row, index=index), Completion(text, tuple(tokens)))
            for index, (row, text, tokens) in enumerate(zip(rows, texts, ids, strict=True))
        ]
        write_jsonl(predicted, [prediction_to_row(one) for one in predictions])
        from_predictions = score_completions(read_completions(predicted), config)
        readings = readings_of(read_predictions(predicted))
    for one, other in zip(again, from_predictions, strict=True):
        own = {"shares_of_luggage"}  # sees the numbers of the questions, which differ here
        assert {k: v for k, v in one.rewards.items() if k not in own} == {
            k: v for k, v in other.rewards.items() if k not in own
        }
    if config.gate in (None, "strict") and PRESETS[config.preset].gate == "strict":
        assert [outcome_of(reading) for reading in readings] == [one.outcome for one in again]
        assert [one.outcome for one in from_predictions] == [one.outcome for one in again]


def test_one_step_of_training_replays_from_the_file_it_keeps(tmp_path):
    """The trained tiny policy, whose boxes and labels are readable, a step of every term."""
    benchmark = tmp_path / "drawn"
    synthesize(benchmark, train=12, test=2, seed=0)
    records = read_json(benchmark / "train" / "mmad.json")
    for record in records.values():  # boxes alone
        record["conversation"] = [q for q in record["conversation"] if q["type"] == GROUNDING]
    write_json(benchmark / "train" / "mmad.json", records)
    run = tmp_path / "run"
    terms = f"{{{__name__}.shares_of_luggage: {{weight: 0.01, options: {{scale: 0.5}}}}}}"
    config = load_config(
        REPOSITORY / "configs" / "grpo" / "tiny_cpu.yaml",
        [
            f"run_dir={run}",
            f"data.benchmark={benchmark / 'train'}",
            f"policy.path={REPOSITORY / 'data' / 'tiny-policy'}",
            "preflight.skip=true",
            "keep_completions_every=1",
            "reward.iou.label_aware=true",
            "reward.weights={length: 1.0, repetition: 0.5}",
            "reward.length={max_tokens: 60, soft_tokens: 50}",
            f"reward.terms={terms}",
            "grpo.max_steps=1",
            "grpo.per_device_train_batch_size=48",
            "grpo.num_generations=4",
        ],
    )
    train(config)
    file = run / "completions" / "step-00001.jsonl"
    rows = read_completions(file)
    assert len(rows) == 48
    reward = load_config(run / "config.yaml").reward
    again = score_completions(rows, reward)
    assert [one.rewards for one in again] == [row["rewards"] for row in rows]
    for term in ("iou", "length", "repetition", "shares_of_luggage"):
        known = {one.rewards[term] for one in again} - {None}
        assert len(known) > 1, (term, known)  # the comparison is of something


def kept_files(run: Path) -> dict[str, list[dict]]:
    """The files that a run keeps, in their order."""
    return {file.name: read_jsonl(file) for file in sorted((run / "completions").glob("*"))}


@pytest.mark.parametrize(
    ("settings", "every", "steps"),
    [
        ({"logging_steps": 5}, 2, [1, 2, 4, 6]),
        ({"logging_steps": 99}, 3, [1, 3, 6]),
        ({}, 0, []),
        # A rollout serves steps 1 to 3, another 4 to 6; neither is written twice.
        ({"num_iterations": 3}, 2, [1, 4]),
        ({"num_iterations": 3}, 5, [1, 5]),
    ],
)
def test_files_are_kept_whatever_is_logged(
    tiny_policy, toy_benchmark, tmp_path, settings, every, steps
):
    config = toy_run(tmp_path / "run", tiny_policy, toy_benchmark)
    grpo = {**config.grpo, "beta": 0.0, "save_steps": 3, **settings}
    train(replace(config, grpo=grpo, keep_completions_every=every))
    kept = kept_files(tmp_path / "run")
    assert list(kept) == [f"step-{step:05d}.jsonl" for step in steps]
    for step, rows in zip(steps, kept.values(), strict=True):
        assert [row["step"] for row in rows] == [step] * 4
    told = {json.dumps([row["completion_ids"] for row in rows]) for rows in kept.values()}
    assert len(told) == len(kept)


def test_a_run_that_goes_on_keeps_the_same_files(tiny_policy, toy_benchmark, tmp_path):
    config = toy_run(tmp_path / "run", tiny_policy, toy_benchmark)
    grpo = {**config.grpo, "save_steps": 2, "logging_steps": 4, "num_iterations": 2}
    config = replace(config, grpo=grpo, keep_completions_every=3)
    train(config)
    kept = kept_files(tmp_path / "run")
    assert list(kept) == ["step-00001.jsonl", "step-00003.jsonl", "step-00006.jsonl"]
    shutil.rmtree(tmp_path / "run/policy")
    for step in (6, 7):
        shutil.rmtree(tmp_path / f"run/checkpoints/checkpoint-{step}")
    for name in list(kept)[1:]:
        (tmp_path / "run/completions" / name).unlink()
    train(config)  # goes on from step 4: what it had kept of step 3 stays lost
    again = kept_files(tmp_path / "run")
    assert list(again) == ["step-00001.jsonl", "step-00006.jsonl"]
    for name, rows in again.items():
        for key in ("completion_ids", "sample_id", "rewards", "step"):
            assert [row[key] for row in rows] == [row[key] for row in kept[name]], (name, key)
