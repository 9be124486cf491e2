"""Rewards of the user's own: named by a dotted path, called as TRL calls them, replayed."""

import hashlib
import math
import pickle
import subprocess
import sys

import pytest
import torch
from commands import invoke

from anomalyr1.cli.rewards import app
from anomalyr1.config import load_config
from anomalyr1.config.reward import RewardConfig, TermConfig
from anomalyr1.errors import InputError
from anomalyr1.rewards.build import build_rewards
from anomalyr1.rewards.own import hashes_of_own
from anomalyr1.rewards.replay import score_completions
from anomalyr1.storage import read_jsonl, write_jsonl

GOOD = "<think>Bent. So the answer is B.</think><answer>B</answer>"
YES_NO = {"A": "No.", "B": "Yes."}
MODULE = f"{__name__}."


def brevity(completions, limit=100, **columns):
    return [float(len(completion[0]["content"]) <= limit) for completion in completions]


def letters_offered(completions, options, **columns):
    return [None if shown is None else len(shown) for shown in options]


def needs_prompts(completions, prompts, **columns):
    return [0.0] * len(completions)


def needs_limit(completions, limit, **columns):
    return [float(limit)] * len(completions)


def without_columns(completions):
    return [0.0] * len(completions)


async def later(completions, **columns):
    return [0.0] * len(completions)


def accuracy(completions, **columns):
    return [0.0] * len(completions)


def one_too_few(completions, **columns):
    return [0.0] * (len(completions) - 1)


def nothing(completions, **columns):
    return None


def endless(completions, **columns):
    return [-math.inf] * len(completions)


def pairs(completions, **columns):
    return torch.ones(len(completions), 2)


def texts(completions, **columns):
    return ["good"] * len(completions)


def tensors(completions, **columns):
    return torch.tensor([0.25, float("nan")])


class Wordiness:
    """Made with its options, as a reward with parameters is in TRL."""

    def __init__(self, per_word: float) -> None:
        self.per_word = per_word

    def __call__(self, completions, **columns):
        return [self.per_word * len(c[0]["content"].split()) for c in completions]


class NotCallable:
    pass


VALUE = 3


def built(name, weight=1.0, options=None, **more):
    entry = TermConfig(weight=weight, options=options or {})
    return build_rewards(RewardConfig(terms={MODULE + name: entry}, **more))


def test_it_stands_among_the_terms_under_its_own_name_and_weight():
    terms, weights = built("brevity", 0.5, {"limit": 60})
    assert [term.__name__ for term in terms] == [
        "accuracy",
        "consistency",
        "format",
        "iou",
        "brevity",
    ]
    assert weights == [1.0, 1.0, 0.5, 1.0, 0.5]
    assert terms[-1]([GOOD, GOOD * 2]) == [1.0, 0.0]  # 57 and 114 characters


def test_a_class_is_made_with_its_options():
    terms, _ = built("Wordiness", options={"per_word": 0.5})
    assert terms[-1]([GOOD, "x"]) == [3.0, 0.5]
    again = pickle.loads(pickle.dumps(terms[-1]))
    assert again(["x y"]) == [1.0] and again.__name__ == "Wordiness"


def test_weight_0_neither_builds_nor_imports():
    config = RewardConfig(terms={"no_such_package.reward": TermConfig(weight=0.0)})
    assert [term.name for term in build_rewards(config)[0]][-1] == "iou"


def test_alone_it_logs_the_telemetry():
    weights = dict.fromkeys(("accuracy", "consistency", "format", "iou"), 0.0)
    (term,), _ = built("brevity", weights=weights)
    logged = {}
    term([GOOD], options=[YES_NO], answer=["B"], log_metric=logged.__setitem__)
    assert logged["outcome/aligned_correct"] == 1.0


def test_it_sees_conversations_and_options_without_nulls():
    """In training options come through Arrow and completions as conversations; not so in a file."""
    terms, _ = built("letters_offered")
    arrow = [{"A": "x", "B": "y", "C": None}, {"A": None, "B": None, "C": None}]
    said = [[{"role": "assistant", "content": GOOD}]] * 2
    assert terms[-1](said, options=arrow) == [2.0, None]
    config = RewardConfig(
        terms={MODULE + "letters_offered": TermConfig(), MODULE + "brevity": TermConfig()}
    )
    rows = [{"completion": GOOD, "options": {"A": "x", "B": "y"}}, {"completion": GOOD}]
    scored = score_completions(rows, config)
    assert [one.rewards["letters_offered"] for one in scored] == [2.0, None]
    assert [one.rewards["brevity"] for one in scored] == [1.0, 1.0]
    assert [one.total for one in scored] == [2.0 + 1.0 + 0.5, 1.0]  # format counts half


def test_trls_own_rewards_can_be_named():
    terms, _ = build_rewards(RewardConfig(terms={"trl.rewards.think_format_reward": TermConfig()}))
    assert terms[-1](["<think>\nx\n</think>\nB", "B"]) == [1.0, 0.0]


def test_a_tensor_is_as_good_as_a_list_and_nan_means_none():
    assert built("tensors")[0][-1](["x", "y"]) == [0.25, None]


def test_a_built_in_term_can_be_weighed_there_too():
    config = RewardConfig(preset="paper", terms={"length": TermConfig(weight=0.2)})
    terms, weights = build_rewards(config)
    assert [term.name for term in terms] == ["accuracy", "consistency", "length"]
    assert weights == [1.0, 1.0, 0.2]
    dropped = RewardConfig(preset="paper", terms={"accuracy": TermConfig(weight=0.0)})
    assert [term.name for term in build_rewards(dropped)[0]] == ["consistency"]


REFUSED = [
    ("no_such_package.rewards.f", {}, "a module no_such_package.rewards .* PYTHONPATH"),
    ("json.no_such_module.f", {}, "a module json.no_such_module"),
    (MODULE + "brevty", {}, "did you mean 'brevity'"),
    (MODULE + "VALUE", {}, "expected a plain callable at .*VALUE .* found 3"),
    (MODULE + "later", {}, "found an async function"),
    (MODULE + "without_columns", {}, r"\*\*columns"),
    (MODULE + "NotCallable", {}, "define __call__"),
    (MODULE + "Wordiness", {}, "options that .*Wordiness can be made with"),
    (MODULE + "brevity", {"limt": 3}, "out of limit, found 'limt'"),
    (MODULE + "brevity", {"completions": 3}, "found 'completions'"),
    (MODULE + "letters_offered", {"options": 3}, "found 'options'"),
    (MODULE + "accuracy", {}, "beside the built-in accuracy"),
    (
        "brevity",
        {},
        "reward.terms .* choose one",
    ),  # neither built in nor a path
    ("accuracy", {"x": 1}, "no options of the built-in accuracy"),
    ("../rewards.py", {}, "package.module.callable"),
    ("a..b", {}, "package.module.callable"),
    (".brevity", {}, "package.module.callable"),
    ("os; import evil.f", {}, "package.module.callable"),
]


@pytest.mark.parametrize(("path", "options", "message"), REFUSED)
def test_what_is_no_reward_is_refused_in_one_line(path, options, message):
    with pytest.raises(InputError, match=message) as caught:
        build_rewards(RewardConfig(terms={path: TermConfig(options=options)}))
    assert "\n" not in str(caught.value)


def test_two_of_one_name_and_two_weights_of_one_term_are_refused(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "twin_rewards.py").write_text("def brevity(completions, **columns): ...\n")
    twins = {MODULE + "brevity": TermConfig(), "twin_rewards.brevity": TermConfig()}
    with pytest.raises(InputError, match=r"twin_rewards.brevity beside .*own_terms.brevity"):
        build_rewards(RewardConfig(terms=twins))
    twins["twin_rewards.brevity"] = TermConfig(weight=0.0)
    build_rewards(RewardConfig(terms=twins))
    with pytest.raises(InputError, match="one weight of iou"):
        build_rewards(RewardConfig(weights={"iou": 1.0}, terms={"iou": TermConfig()}))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("one_too_few", "a list of 2 numbers or nulls, found 1"),
        ("nothing", "a list of 2 numbers or nulls, found None"),
        ("texts", "found 'good' among them"),
        ("endless", "found -inf among them"),
        ("pairs", "found tensor.* among them"),
        ("needs_prompts", "asking for prompts"),
        ("needs_limit", "asking for limit"),
    ],
)
def test_a_wrong_return_or_a_column_that_is_not_there_is_named(name, message):
    terms, _ = built(name)
    with pytest.raises(InputError, match=f"the reward {MODULE}{name} .*{message}") as caught:
        terms[-1]([GOOD, GOOD], options=[YES_NO] * 2)
    assert "\n" not in str(caught.value)
    assert built("needs_prompts")[0][-1]([GOOD], prompts=["?"]) == [0.0]
    assert built("needs_limit", options={"limit": 2})[0][-1]([GOOD]) == [2.0]


def test_the_hash_is_of_the_module_named_and_of_the_file_written_in(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    written, named = tmp_path / "hashed_writing.py", tmp_path / "hashed_naming.py"
    written.write_text(
        "class Kept:\n    def __call__(self, completions, **columns): ...\n"
        "def plain(completions, **columns): ...\n"
    )
    named.write_text(
        "from functools import partial, wraps\n"
        "from hashed_writing import Kept, plain\n"
        "@wraps(plain)\ndef wrapped(*given, **columns): ...\n"
        "bound = partial(plain, limit=3)\n"
        "def own(completions, **columns): ...\n"
    )
    names = ["Kept", "plain", "wrapped", "bound", "own"]
    terms, _ = build_rewards(
        RewardConfig(terms={f"hashed_naming.{name}": TermConfig() for name in names})
    )
    both = hashlib.sha256(named.read_bytes() + written.read_bytes()).hexdigest()
    alone = hashlib.sha256(named.read_bytes()).hexdigest()
    assert hashes_of_own(terms) == {
        f"hashed_naming.{name}": alone if name == "own" else both for name in names
    }


def test_a_module_that_does_not_import_says_why(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "torn_rewards.py").write_text("def f(:\n")
    (tmp_path / "wanting_rewards.py").write_text("import no_such_package\n")
    for module, message in (
        ("torn_rewards", "to import, found SyntaxError"),
        ("wanting_rewards", "to import, found ModuleNotFoundError: No module named"),
    ):
        with pytest.raises(InputError, match=message):
            build_rewards(RewardConfig(terms={f"{module}.f": TermConfig()}))


def test_a_config_names_it_and_is_read_without_importing(tmp_path):
    file = tmp_path / "config.yaml"
    file.write_text(
        "reward:\n  terms:\n    no_such_package.f: {weight: 0.5, options: {limit: 200}}\n"
    )
    expected = {"no_such_package.f": TermConfig(0.5, {"limit": 200})}
    assert load_config(file).reward.terms == expected
    given = ["reward.terms={no_such_package.f: {weight: 2, options: {words: [a, b]}}}"]
    file.write_text("seed: 0\n")
    assert load_config(file, given).reward.terms == {
        "no_such_package.f": TermConfig(2.0, {"words": ["a", "b"]})
    }


def test_replay_scores_it_from_the_working_directory(tmp_path):
    """`python -m` looks in the working directory; the installed command needs PYTHONPATH."""
    (tmp_path / "my_rewards.py").write_text(
        "def brevity(completions, limit, **columns):\n"
        "    return [float(len(c[0]['content']) <= limit) for c in completions]\n"
    )
    write_jsonl(tmp_path / "kept.jsonl", [{"completion": GOOD}, {"completion": GOOD * 2}])
    (tmp_path / "config.yaml").write_text(
        "reward:\n  terms:\n    my_rewards.brevity: {weight: 2.0, options: {limit: 60}}\n"
    )
    arguments = ["reward", "replay", "kept.jsonl", "--config", "config.yaml", "--out", "out.jsonl"]
    command = [sys.executable, "-m", "anomalyr1", *arguments]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    scored = read_jsonl(tmp_path / "out.jsonl")
    assert [row["rewards"]["brevity"] for row in scored] == [1.0, 0.0]
    assert [row["total"] for row in scored] == [2.0, 0.0]
    with pytest.raises(InputError, match="PYTHONPATH"):
        invoke(app, "replay", "x.jsonl", "--config", tmp_path / "config.yaml")
