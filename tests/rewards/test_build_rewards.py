"""Building rewards from a config: presets, overrides, None semantics, TRL's calling form."""

import pickle
from pathlib import Path

import pytest
from commands import assert_torch_free

from anomalyr1.config.reward import LengthOptions, RepetitionOptions, RewardConfig
from anomalyr1.errors import InputError
from anomalyr1.geometry import Frame
from anomalyr1.gold_completions import gold_completion
from anomalyr1.rewards.build import PRESETS, TERMS, build_rewards
from anomalyr1.schema import Box, Question, Sample

GOOD = "<think>Chipped. So the answer is B.</think><answer>B</answer>"
WRONG = "<think>Chipped. So the answer is A.</think><answer>A</answer>"
NO_TAGS = "B"
INSPECT = "<think>So the answer is B.</think><answer>B\n[[0, 0, 2, 2]]</answer>"
BOXES = "<think>So the product is abnormal.</think><answer>[[0, 0, 2, 2]]</answer>"
NOTHING = "<think>So the product is normal.</think><answer>[]</answer>"
YES_NO = {"A": "No.", "B": "Yes."}


def terms_of(**config):
    terms, weights = build_rewards(RewardConfig(**config))
    return {term.__name__: term for term in terms}, weights


def test_presets_build_the_terms_they_name():
    expected = {
        "paper": ["accuracy", "consistency"],
        "paper-strict": ["accuracy", "consistency"],
        "roam": ["accuracy", "consistency", "format", "iou"],
        "accuracy-only": ["accuracy"],
        "no-consistency": ["accuracy", "format", "iou"],
        "no-iou": ["accuracy", "consistency", "format"],
        "format-only": ["format"],
    }
    assert set(PRESETS) == set(expected)
    for preset, names in expected.items():
        terms, weights = terms_of(preset=preset)
        assert list(terms) == names
        assert weights == [PRESETS[preset].weights[name] for name in names]


def test_weights_override_add_and_drop():
    terms, weights = terms_of(preset="roam", weights={"iou": 2.0, "format": 0, "length": 0.1})
    assert list(terms) == ["accuracy", "consistency", "iou", "length"]
    assert weights == [1.0, 1.0, 2.0, 0.1]


def test_table_override_changes_one_value():
    terms, _ = terms_of(table={"silent_correct": 0.25})
    columns = {"options": [YES_NO] * 2, "answer": ["B"] * 2}
    silent = "<think>Chipped.</think><answer>B</answer>"
    assert terms["consistency"]([silent, GOOD], **columns) == [0.25, 1.0]


def test_gate_override():
    text = f"{GOOD} Thanks!"
    columns = {"options": [YES_NO], "answer": ["B"]}
    assert terms_of(preset="paper")[0]["accuracy"]([text], **columns) == [1.0]
    assert terms_of(preset="paper", gate="strict")[0]["accuracy"]([text], **columns) == [0.0]
    assert terms_of(preset="roam")[0]["accuracy"]([text], **columns) == [0.0]


@pytest.mark.parametrize(
    ("config", "found", "nearest"),
    [
        ({"preset": "raom"}, "raom", "roam"),
        ({"weights": {"acuracy": 1.0}}, "acuracy", "accuracy"),
        ({"table": {"silent_corect": 1.0}}, "silent_corect", "silent_correct"),
    ],
)
def test_a_misspelt_name_is_refused_with_the_nearest(config, found, nearest):
    with pytest.raises(InputError, match=f"found '{found}'; did you mean '{nearest}'"):
        build_rewards(RewardConfig(**config))


def test_a_reward_of_nothing_is_refused():
    with pytest.raises(InputError, match="weight other than 0"):
        build_rewards(RewardConfig(preset="format-only", weights={"format": 0.0}))


def test_terms_survive_pickling_and_score_the_same():
    config = RewardConfig(weights=dict.fromkeys(TERMS, 1.0))
    terms, _ = build_rewards(config)
    assert [term.__name__ for term in terms] == list(TERMS)
    columns = {
        "options": [YES_NO, None],
        "answer": ["B", None],
        "boxes": [[[0, 0, 2, 2]], []],
        "completion_ids": [[1, 2, 3], [4, 4, 4, 4]],
    }
    for term in terms:
        again = pickle.loads(pickle.dumps(term))
        assert again.__name__ == term.__name__
        assert again([INSPECT, NOTHING], **columns) == term([INSPECT, NOTHING], **columns)


ROWS = [
    # completion, options, answer, boxes -> accuracy, consistency, format, iou
    (GOOD, YES_NO, "B", None, (1.0, 1.0, 1.0, None)),  # choice: iou does not apply
    (WRONG, YES_NO, "B", None, (0.0, 0.1, 1.0, None)),
    (NO_TAGS, YES_NO, "B", None, (0.0, 0.0, 0.0, None)),  # readable, but the gate fails
    (GOOD, YES_NO, None, None, (None, None, 1.0, None)),  # no gold: only the format can be judged
    (INSPECT, YES_NO, "B", [[0, 0, 2, 2]], (1.0, 1.0, 1.0, 1.0)),  # inspect: letter and boxes
    (INSPECT, YES_NO, "B", [], (1.0, 1.0, 1.0, 0.0)),  # normal image, but a box
    (GOOD, YES_NO, "B", [[0, 0, 2, 2]], (1.0, 1.0, 0.0, 0.0)),  # inspect without its list
    (BOXES, None, None, [[0, 0, 2, 2]], (1.0, 1.0, 1.0, 1.0)),  # grounding
    (BOXES, {}, None, [[0, 0, 2, 2]], (1.0, 1.0, 1.0, 1.0)),  # no options may be empty too
    (BOXES, None, None, [], (0.0, 0.1, 1.0, 0.0)),
    (NOTHING, None, None, [], (1.0, 1.0, 1.0, 1.0)),
    (NOTHING, None, None, [[0, 0, 2, 2]], (0.0, 0.1, 1.0, 0.0)),
    (BOXES, None, None, None, (None, None, 1.0, None)),  # gold boxes not known
    (GOOD, None, None, [], (0.0, 0.0, 0.0, 0.0)),  # a letter where a list is due
]


def test_one_batch_of_everything():
    terms, _ = terms_of(preset="roam")
    columns = {
        "options": [row[1] for row in ROWS],
        "answer": [row[2] for row in ROWS],
        "boxes": [row[3] for row in ROWS],
    }
    completions = [row[0] for row in ROWS]
    for index, name in enumerate(("accuracy", "consistency", "format", "iou")):
        assert terms[name](completions, **columns) == [row[4][index] for row in ROWS], name


def test_options_merged_by_arrow():
    """Arrow gives each row the keys of all rows; those of other rows hold None."""
    merged = {"A": "No.", "B": "Yes.", "C": None, "D": None}
    grounding = dict.fromkeys("ABCD")
    terms, _ = terms_of(preset="roam")
    columns = {
        "options": [merged, grounding, merged],
        "answer": ["B", None, "B"],
        "boxes": [None, [[0.0, 0.0, 2.0, 2.0]], None],
    }
    said_c = "<think>So the answer is C.</think><answer>C</answer>"
    completions = [GOOD, BOXES, said_c]
    assert terms["accuracy"](completions, **columns) == [1.0, 1.0, 0.0]
    assert terms["format"](completions, **columns) == [1.0, 1.0, 0.0]
    assert terms["iou"](completions, **columns) == [None, 1.0, None]


def test_a_datasets_round_trip_keeps_the_scores():
    datasets = pytest.importorskip("datasets")
    rows = [
        {"options": YES_NO, "answer": "B", "boxes": None, "completion": GOOD},
        {"options": {}, "answer": None, "boxes": [[0.0, 0.0, 2.0, 2.0]], "completion": BOXES},
        {"options": {"C": "x", "D": "y"}, "answer": "D", "boxes": None, "completion": GOOD},
    ]
    table = datasets.Dataset.from_list(rows)
    columns = {name: [row[name] for row in table] for name in ("options", "answer", "boxes")}
    terms, _ = terms_of(preset="roam")
    completions = [row["completion"] for row in rows]
    assert terms["accuracy"](completions, **columns) == [1.0, 1.0, 0.0]


@pytest.mark.parametrize(
    "completion",
    [
        GOOD,
        [{"role": "assistant", "content": GOOD}],
        [{"role": "assistant", "content": [{"type": "text", "text": GOOD}]}],
        [
            {
                "role": "assistant",
                "content": [{"type": "text", "text": t} for t in (GOOD[:9], GOOD[9:])],
            }
        ],
    ],
)
def test_completions_may_be_conversational(completion):
    terms, _ = terms_of(preset="roam")
    columns = {"options": [YES_NO], "answer": ["B"], "prompts": [["..."]], "image": [None]}
    assert terms["accuracy"]([completion], **columns) == [1.0]


def test_absent_columns_are_unknown():
    terms, _ = terms_of(preset="roam")
    assert terms["accuracy"]([GOOD]) == [None]
    assert terms["format"]([BOXES]) == [1.0]


def test_penalties_by_hand():
    terms, _ = terms_of(
        weights={"length": 1.0, "repetition": 1.0},
        length=LengthOptions(max_tokens=10, soft_tokens=4),
        repetition=RepetitionOptions(ngram=2, max_penalty=-1.0),
    )
    # 6 tokens are free, then a quarter a token, -1 from 10 on.
    lengths = (0, 6, 7, 9, 10, 11)
    columns = {"completion_ids": [list(range(n)) for n in lengths]}
    assert terms["length"]([GOOD] * 6, **columns) == [0.0, 0.0, -0.25, -0.75, -1.0, -1.0]
    # pairs: none; (1,2),(2,3),(3,4) all distinct; (5,5) four times: 1 - 1/4.
    columns = {"completion_ids": [[7], [1, 2, 3, 4], [5, 5, 5, 5, 5]]}
    assert terms["repetition"]([GOOD] * 3, **columns) == [0.0, 0.0, -0.75]
    assert terms["length"]([GOOD]) == [None]  # no tokens at hand
    assert terms["repetition"]([GOOD]) == [None]


def test_penalties_equal_trl():
    other_rewards = pytest.importorskip("trl.rewards.other_rewards")
    ids = [[n % k for n in range(length)] for length in (0, 2, 5, 30, 60, 90) for k in (1, 3, 50)]
    terms, _ = terms_of(
        weights={"length": 1.0, "repetition": 1.0},
        length=LengthOptions(max_tokens=80, soft_tokens=30),
        repetition=RepetitionOptions(ngram=3, max_penalty=-0.5),
    )
    texts = [GOOD] * len(ids)
    length = other_rewards.get_soft_overlong_punishment(80, 30)(completion_ids=ids)
    repetition = other_rewards.get_repetition_penalty_reward(3, -0.5)(completion_ids=ids)
    assert terms["length"](texts, completion_ids=ids) == pytest.approx(length)
    assert terms["repetition"](texts, completion_ids=ids) == pytest.approx(repetition)


@pytest.mark.parametrize(
    ("options", "wrong"),
    [(LengthOptions, {"soft_tokens": 0}), (LengthOptions, {"max_tokens": 10}),
     (RepetitionOptions, {"ngram": 0}), (RepetitionOptions, {"max_penalty": 0.5})],
)  # fmt: skip
def test_penalties_out_of_range_are_refused(options, wrong):
    with pytest.raises(InputError):
        options(**wrong)


ROOM = Frame(200, 100, 112, 56)
DENT = (Box(20, 10, 60, 40, "dent"),)
KIND = {"A": "Scratch.", "B": "No, it is a dent.", "C": "All of the above."}


@pytest.mark.parametrize("boxes", [(), DENT], ids=["normal", "defect"])
@pytest.mark.parametrize(
    ("template", "question_type", "options"),
    [
        ("choice", "Anomaly Detection", YES_NO),
        ("inspect", "Anomaly Detection", YES_NO),
        ("choice", "Defect Classification", KIND),
        ("choice", "Object Details", KIND),
        ("grounding", "Defect Grounding", {}),
    ],
)
def test_the_gold_completion_earns_the_full_reward(template, question_type, options, boxes):
    image = f"d/c/{'dent' if boxes else 'good'}/1.png"
    gold = "B" if boxes else "A"
    question = Question("?", question_type, options, gold if options else None, boxes)
    sample = Sample(image, Path(), (question,), boxes=boxes)
    text = gold_completion(sample, question, template, ROOM)
    terms, _ = build_rewards(RewardConfig())
    shown = [list(ROOM.to_model(box).xyxy) for box in boxes]
    columns = {
        "options": [options or None],
        "answer": [question.answer],
        "boxes": [None if template == "choice" else shown],
    }
    scores = {term.name: term([text], **columns)[0] for term in terms}
    assert (scores["accuracy"], scores["consistency"], scores["format"]) == (1.0, 1.0, 1.0)
    if template != "choice":  # corners are written as whole pixels
        assert scores["iou"] > 0.9


def test_rewards_and_parsing_do_not_import_torch():
    code = "import anomalyr1.rewards.build, anomalyr1.rewards.replay, anomalyr1.parsing"
    assert_torch_free(code)
