"""Plans of an ablation, and runs of one; the runs are real, on the toy benchmark, a step each."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from commands import REPOSITORY, invoke
from made_runs import ablation
from tiny_runs import typed

from anomalyr1.ablation.grid import Run, plan
from anomalyr1.ablation.launch import ablate
from anomalyr1.ablation.results import read_result
from anomalyr1.cli import app
from anomalyr1.config import load_config
from anomalyr1.errors import InputError
from anomalyr1.run_folder import completions_file
from anomalyr1.storage import read_jsonl
from anomalyr1.training.grpo import train


def command(run: Run, stage: str) -> list[str]:
    return next(list(command) for name, command in run.commands if name == stage)


def test_a_plan_is_every_variant_with_every_seed(ablation_configs):
    path = ablation(
        ablation_configs,
        "seeds: [3, 5]\n"
        "set: {grpo.beta: 0.1, reward: {weights: {iou: 2.0}}}\n"
        "list:\n  plain: {}\n  paper: {reward.preset: paper}\n"
        "grid: {policy.max_pixels: [3136, 12544]}\n",
    )
    planned = plan(path, ["grpo.max_steps=2"])
    runs = planned.runs
    assert [(run.variant, run.seed) for run in runs] == [
        (f"{name} policy.max_pixels={pixels}", seed)
        for name in ("plain", "paper")
        for pixels in (3136, 12544)
        for seed in (3, 5)
    ]
    assert planned.baseline == "plain policy.max_pixels=3136" and planned.scale is None
    assert len({run.digest for run in runs}) == len({run.folder for run in runs}) == 8
    last = runs[-1]
    assert last.folder.name == f"paper_policy.max_pixels=12544-seed5-{last.digest[:8]}"
    changes = [
        "grpo.beta=0.1", 'reward={"weights": {"iou": 2.0}}', "reward.preset=paper",
        "policy.max_pixels=12544", "grpo.max_steps=2",
    ]  # fmt: skip
    place = [f"run_dir={last.folder}", "resume=auto"]
    train, evaluation = command(last, "train"), command(last, "eval")
    assert train[1:5] == ["-m", "anomalyr1", "train", str(ablation_configs / "train.yaml")]
    assert train[5:] == [*changes, "seed=5", *place]
    assert evaluation[3:5] == ["eval", str(ablation_configs / "eval.yaml")]
    # Every run is asked the same questions: the seed is not the evaluation's.
    assert evaluation[5:] == [*changes, *place, f"policy.path={last.folder / 'policy'}"]


def test_a_variant_may_have_a_verb_and_a_base_of_its_own(ablation_configs, tiny_policy):
    text = (
        "seeds: [0, 1]\nbaseline: start\nlist:\n"
        "  tuned: {verb: sft, base: sft.yaml, data.shots: 1}\n  start: {verb: none}\n  grpo: {}\n"
    )
    planned = plan(ablation(ablation_configs, text))
    tuned, _, start, again, grpo, _ = planned.runs
    assert planned.baseline == "start"
    assert command(tuned, "sft")[3:5] == ["sft", str(ablation_configs / "sft.yaml")]
    assert command(tuned, "sft")[5:7] == ["data.shots=1", "seed=0"]
    assert [[stage for stage, _ in run.commands] for run in (tuned, start, grpo)] == [
        ["sft", "eval"], ["eval"], ["train", "eval"],
    ]  # fmt: skip
    # No training: nothing that a seed could change.
    assert start.folder == again.folder and start.folder.name == f"start-{start.digest[:8]}"
    assert command(start, "eval")[-1] == f"policy.path={tiny_policy}"


@pytest.mark.parametrize(
    ("text", "key", "values"),
    [
        ("grid: {grpo.beta: [0.0, 0.01, 0.1]}", "grpo.beta", [0, 0.01, 0.1]),
        ("list: {a: {verb: none}, b: {data.shots: 1}, c: {data.shots: 2}, d: {data.shots: 4}}",
         "data.shots", [1, 2, 4]),
        ("list: {a: {grpo.beta: 0.0}, b: {grpo.beta: 0.1}}", None, None),  # too few for a curve
        ("list: {a: {grpo.beta: 0.0}, b: {grpo.beta: 0.1},"
         " c: {grpo.beta: 0.2, reward.preset: paper}}", None, None),  # something else differs too
        ("grid: {grpo.bf16: [true, false]}\nlist: {a: {}, b: {}}", None, None),
    ],
)  # fmt: skip
def test_a_number_that_tells_the_variants_apart_is_their_scale(ablation_configs, text, key, values):
    scale = plan(ablation(ablation_configs, text)).scale
    assert (scale and scale.key) == key
    assert scale is None or list(scale.values.values()) == values


def test_the_hash_is_of_what_is_resolved(ablation_configs):
    """A default that is written out is the same run; a changed base is another."""
    first = plan(ablation(ablation_configs, "grid: {reward.preset: [roam]}")).runs[0]
    same = plan(
        ablation(ablation_configs, "grid: {reward.preset: [roam]}\nset: {grpo.max_steps: 1}")
    )
    assert same.runs[0].digest == first.digest and same.runs[0].folder == first.folder
    for name, old, new in (
        ("train", "max_steps: 1", "max_steps: 2"),
        ("eval", "limit: 2", "limit: 3"),
    ):
        config = ablation_configs / f"{name}.yaml"
        text = config.read_text()
        config.write_text(text.replace(old, new))
        changed = plan(ablation(ablation_configs, "grid: {reward.preset: [roam]}")).runs[0]
        assert changed.digest != first.digest
        config.write_text(text)


def test_the_hash_is_of_the_policy_and_the_data_too(ablation_configs, tmp_path):
    """What was trained from another policy, or on other data of the same name, is another run."""
    policy, bench = tmp_path / "policy", tmp_path / "bench"
    changes = f"set: {{policy.path: {policy}, data.benchmark: {bench}}}\nlist: {{a: {{}}}}"
    path = ablation(ablation_configs, changes)
    digests = [plan(path).runs[0].digest]
    for file in (policy / "model.safetensors", bench / "mmad.json"):
        for content in (b"one", b"two"):
            file.parent.mkdir(exist_ok=True)
            file.write_bytes(content)
            digests.append(plan(path).runs[0].digest)
    assert len(set(digests)) == 5


def test_the_hash_is_of_the_source_of_a_reward_too(ablation_configs, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    source = tmp_path / "varied_reward.py"
    path = ablation(ablation_configs, "list: {a: {reward.terms: {varied_reward.f: {weight: 1}}}}")
    digests = set()
    for value in ("1.0", "2.0"):
        source.write_text(f"def f(completions, **columns): return [{value}] * len(completions)\n")
        digests.add(plan(path).runs[0].digest)
    assert len(digests) == 2


def test_the_hash_is_of_what_the_prompt_knows_too(ablation_configs, tmp_path):
    knowledge = tmp_path / "knowledge.json"
    path = ablation(ablation_configs, f"list: {{a: {{prompt.domain_knowledge: {knowledge}}}}}")
    digests = set()
    for content in ("{}", '{"cable": "Three wires."}'):
        knowledge.write_text(content)
        digests.add(plan(path).runs[0].digest)
    assert len(digests) == 2


def test_an_ablation_knows_whether_it_uses_a_gpu(ablation_configs):
    """As the configs of the laptop say it."""
    assert plan(ablation(ablation_configs, "list: {a: {}}")).on_cpu
    both = "list: {a: {}, b: {grpo.use_cpu: false}}"
    assert not plan(ablation(ablation_configs, both)).on_cpu


def test_a_training_can_be_launched_otherwise(ablation_configs):
    text = "grid: {reward.preset: [roam]}\nlaunch: accelerate launch -m anomalyr1\n"
    path = ablation(ablation_configs, text)
    run = plan(path).runs[0]
    assert command(run, "train")[:5] == ["accelerate", "launch", "-m", "anomalyr1", "train"]
    assert command(run, "eval")[1:4] == ["-m", "anomalyr1", "eval"]
    with pytest.raises(InputError, match="expected --jobs 1 beside the `launch`"):
        ablate(path, jobs=2)


BROKEN = [
    ("seeds: [0]", "expected `list`"),
    ("grids: {a: [1]}", "unknown key grids (nearest: grid)"),
    ("grid: {reward.preset: roam}", "found 'roam'; put them into brackets"),
    ("list: {a: 3}", "found 3; write changes such as {reward.preset: paper}"),
    ("list: [a, b]", "expected list to be a mapping in "),
    ("list: a", "found 'a'; write list: {paper: {reward.preset: paper}}"),
    ("grid: [grpo.beta]", "found ['grpo.beta']; write grid: {grpo.beta: [0.0, 0.1]}"),
    ("set: [grpo.beta=1]\nlist: {a: {}}", "found ['grpo.beta=1']; write set: {grpo.beta: 0.1}"),
    ("launch: [accelerate, launch]\nlist: {a: {}}", "found ['accelerate', 'launch']; write launch"),
    ("launch: 3\nlist: {a: {}}", "expected launch to be a command line in "),
    ("launch: accelerate 'launch\nlist: {a: {}}", "(No closing quotation); write launch: accel"),
    ("list: {1: {}, '1': {grpo.beta: 1}}", "found '1' twice; rename one, or drop it"),
    ("grid: {grpo.beta: [0, 0]}", "found 'grpo.beta=0' twice; rename one, or drop it"),
    ("list: {a: {grpo.beta: 1}, ' a': {}}", "found 'a' twice"),
    ("seeds: 3\nlist: {a: {}}", "found 3; write seeds: [0, 1]"),
    ("seeds: [1, 1]\nlist: {a: {}}", "found [1, 1]; drop some"),
    ("list: {a: {reward.presets: paper}}", "unknown key reward.presets (nearest: preset)"),
    ("list: {a: {reward.preset: papper}}", "did you mean 'paper'"),
    ("list: {a: {grpo.betta: 0.1}}", "unknown key grpo.betta (nearest: beta)"),
    ("list: {a: {verb: sft, sft.max_stepz: 1}}", "unknown key sft.max_stepz (nearest: max_steps)"),
    ("list: {a: {verb: eval}}", "out of train, sft, none, found 'eval'"),
    ("list: {a: {}, b: {}}\nbaseline: c", "out of a, b, found 'c'; choose one"),
    ("grid: {eval.limit: [1, many]}", "eval.limit: expected int, found 'many'"),
    ("list: {a: [", "expected a readable ablation"),
]


@pytest.mark.parametrize(("text", "expected"), BROKEN)
def test_a_broken_file_is_refused_before_anything_runs(ablation_configs, text, expected):
    with pytest.raises(InputError) as refused:
        ablate(ablation(ablation_configs, text))
    assert expected in str(refused.value) and "\n" not in str(refused.value)
    assert not (ablation_configs / "runs").exists()


def test_a_missing_file_or_base_is_named(ablation_configs):
    with pytest.raises(InputError, match="expected an ablation file at"):
        plan(ablation_configs / "none.yaml")
    (ablation_configs / "terms.yaml").write_text("base: train.yaml\nrun_dir: runs\nlist: {a: {}}\n")
    with pytest.raises(InputError, match=r"expected eval to be a path in .*found None; name it"):
        plan(ablation_configs / "terms.yaml")


@pytest.mark.parametrize(
    "training",
    [
        "verb: none",
        pytest.param("verb: sft, base: sft.yaml, data.shots: 1", marks=pytest.mark.slow),
    ],
)
def test_runs_are_recorded_skipped_and_taken_up_again(ablation_configs, training):
    """One variant cannot be evaluated: the others are not held up, and nothing is run twice."""
    path = ablation(
        ablation_configs,
        "baseline: start\nlist:\n  fine: {}\n  start: {verb: none}\n"
        f"  cut: {{{training}, eval.benchmark: /nowhere}}\n",
    )
    result = invoke(app, "ablate", path, "--jobs", 2)
    assert result.exit_code == 1, result.output
    assert "[3/3] cut, seed 0: " in result.output and "eval failed: " in result.output
    table = (ablation_configs / "runs/table.md").read_text()
    assert "| fine | 1/1 |" in table and "| cut | 0/1 |" in table
    assert "| seed 0: eval: error: expected a benchmark" in table
    fine, start, cut = plan(path).runs
    measures = read_result(fine.folder, fine.digest).measures
    assert {"reward", "accuracy", "consistency", "format", "iou", "strict accuracy"} <= set(
        measures
    )
    metrics = json.loads((fine.folder / "metrics.json").read_text())
    assert measures["strict accuracy"] == pytest.approx(metrics["macro"]["strict"])
    for name in ("config.yaml", "eval.yaml", "train.log", "predictions.jsonl"):
        assert (fine.folder / name).is_file(), name
    assert not (start.folder / "policy").exists() and (start.folder / "metrics.json").is_file()
    assert "<svg" in (ablation_configs / "runs/bars.svg").read_text()
    trained = (fine.folder / "train.log").stat().st_mtime_ns
    tuned = {path: path.stat().st_mtime_ns for path in cut.folder.glob("sft.log")}
    assert len(tuned) == ("sft" in training)

    planned, results, answers = ablate(path)
    assert [r.stage for r in results] == [None, None, "eval"]
    assert planned.folder == ablation_configs / "runs"
    assert (fine.folder / "train.log").stat().st_mtime_ns == trained  # finished: skipped
    for path, time in tuned.items():
        assert path.stat().st_mtime_ns == time  # trained: only evaluated
    rows = list(csv.DictReader((ablation_configs / "runs/table.csv").read_text().splitlines()))
    assert float(rows[0]["reward mean"]) == pytest.approx(measures["reward"])
    difference = measures["strict accuracy"] - answers.of(start.folder).values["strict accuracy"]
    assert float(rows[0]["strict accuracy difference"]) == pytest.approx(difference)


SHIPPED = sorted((REPOSITORY / "configs/ablations").glob("*.yaml"))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_a_shipped_ablation_is_valid(path):
    from trl import GRPOConfig, SFTConfig

    from anomalyr1.training.arguments import trl_keys

    planned = plan(path)
    by_variant = {run.variant for run in planned.runs}
    assert planned.baseline in by_variant and len(by_variant) > 1
    digests = {run.variant: run.digest for run in planned.runs}
    assert len(set(digests.values())) == len(by_variant)  # no two variants are the same run
    assert planned.folder.name == path.stem
    keys = {"grpo": trl_keys(GRPOConfig), "sft": trl_keys(SFTConfig)}
    for run in planned.runs:  # images are evaluated at the size that they are trained with
        seen = set()
        for stage, words in run.commands:
            config, *changes = words[words.index(stage) + 1 :]
            policy = load_config(Path(config), changes, keys).policy
            seen.add((policy.min_pixels, policy.max_pixels))
        assert len(seen) == 1


@pytest.mark.slow
def test_rows_by_image_are_an_ablation_that_runs(toy_benchmark, tiny_policy, tmp_path):
    """A step of each training that it plans, on another policy and other images."""
    small = typed({
        "policy.path": tiny_policy, "data.benchmark": toy_benchmark, "grpo.max_steps": 1,
        "grpo.max_completion_length": 8,
    })  # fmt: skip
    seen = []
    for run in plan(REPOSITORY / "configs/ablations/group_by_image_cpu.yaml", small).runs:
        if run.seed or run.variant == "start":
            continue
        path, *changes = command(run, "train")[4:]
        train(load_config(Path(path), [*changes, f"run_dir={tmp_path / run.variant}"]))
        rows = read_jsonl(tmp_path / run.variant / completions_file(1))
        seen.append((run.variant, len(rows), len({row["sample_id"].split("#")[0] for row in rows})))
    assert seen == [("single", 128, 8), ("by image", 128, 6), ("by image in pairs", 128, 8)]
