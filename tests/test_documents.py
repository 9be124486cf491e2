"""Every config, every document and every command in them does what it says."""

from __future__ import annotations

import inspect
import json
import os
import pydoc
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from commands import REPOSITORY, assert_torch_free
from documents import DOCUMENTS, LANGUAGES, blocks, check, inline, inline_commands
from forked import completed

from anomalyr1.config import load_config

CONFIGS = sorted((REPOSITORY / "configs").rglob("*.yaml"))
RUNS = [path for path in CONFIGS if path.parent.name in ("grpo", "sft", "eval")]


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_a_config_opens_with_its_command(path):
    first = path.read_text().splitlines()[0]
    assert first.startswith("# ") and str(path.relative_to(REPOSITORY)) in first
    assert isinstance(yaml.safe_load(path.read_text()), dict)


@pytest.mark.parametrize("path", RUNS, ids=lambda path: path.stem)
def test_a_run_config_is_accepted_by_us_and_by_trl(path):
    from trl import GRPOConfig, SFTConfig

    from anomalyr1.rewards.build import build_rewards
    from anomalyr1.training.arguments import trl_keys

    keys = {"grpo": trl_keys(GRPOConfig), "sft": trl_keys(SFTConfig)}
    config = load_config(path, verbatim=keys)
    terms, weights = build_rewards(config.reward)
    assert len(terms) == len(weights) > 0
    for section, kind in (("grpo", GRPOConfig), ("sft", SFTConfig)):
        values = dict(getattr(config, section))
        if values:  # a machine without a GPU refuses bf16
            kind(output_dir="unused", **{**values, "bf16": False, "use_cpu": True})


LAUNCHES = [path for path in CONFIGS if path.parent.name == "accelerate"]


@pytest.mark.parametrize("path", LAUNCHES, ids=lambda path: path.stem)
def test_a_launch_config_is_known_to_accelerate(path):
    from accelerate.commands.config.config_args import load_config_from_file
    from accelerate.utils import DeepSpeedPlugin, FullyShardedDataParallelPlugin

    config = load_config_from_file(str(path))  # refuses keys it does not know
    assert config.num_processes >= 1
    sections = yaml.safe_load(path.read_text())
    if "fsdp_config" in sections:
        import dataclasses

        known = {field.name for field in dataclasses.fields(FullyShardedDataParallelPlugin)}
        given = {key.removeprefix("fsdp_") for key in sections["fsdp_config"]}
        renamed = {"version", "offload_params", "transformer_layer_cls_to_wrap"}
        given = {"fsdp_version" if key == "version" else key for key in given}
        assert given - renamed <= known | {"transformer_cls_names_to_wrap", "cpu_offload"}
    if "deepspeed_config" in sections:
        assert DeepSpeedPlugin(zero_stage=sections["deepspeed_config"]["zero_stage"]) is not None


@pytest.mark.parametrize("path", sorted((REPOSITORY / "configs/deepspeed").glob("*.json")), ids=str)
def test_a_deepspeed_config_is_accepted_by_deepspeed(path):
    config = pytest.importorskip("deepspeed.runtime.config")
    values = json.loads(path.read_text())
    numbers = {"train_batch_size": 8, "train_micro_batch_size_per_gpu": 8}
    values.update(gradient_accumulation_steps=1, gradient_clipping=0.5, bf16={"enabled": True})
    values.update(numbers)
    zero = values["zero_optimization"]
    for key in [key for key, value in zero.items() if value == "auto"]:
        zero[key] = 1000
    read = config.DeepSpeedConfig(values)
    assert read.zero_config.stage == zero["stage"]


def test_the_multinode_script_says_what_it_would_run():
    script = str(REPOSITORY / "scripts" / "train_multinode.sh")
    arguments = ["configs/grpo/paper.yaml", "run_dir=runs/a b"]
    done = subprocess.run(
        [script, *arguments], capture_output=True, text=True, env={"PATH": os.environ["PATH"]}
    )
    assert done.returncode == 0 and "--num_processes 8" in done.stdout
    assert r"train configs/grpo/paper.yaml run_dir=runs/a\ b" in done.stdout
    done = subprocess.run([script, "nowhere.yaml"], capture_output=True, text=True)
    assert done.returncode == 2 and "expected a config" in done.stderr
    in_a_job = {"PATH": os.environ["PATH"], "SLURM_JOB_ID": "1", "SLURM_SUBMIT_DIR": REPOSITORY}
    done = subprocess.run([script, *arguments], capture_output=True, text=True, env=in_a_job)
    assert done.returncode == 2 and "submit with --gpus-per-node" in done.stderr
    assert done.stderr.count("\n") == 1 and not done.stdout


def relative(path: Path) -> str:
    return str(path.relative_to(REPOSITORY))


RUNNABLE = [
    document
    for document in DOCUMENTS
    if any(block.language in ("python", "bash") for block in blocks(document))
]


def run_document(document: Path, folder: Path, status: int = 0) -> str:
    paths = os.pathsep.join([str(REPOSITORY), str(REPOSITORY / "tests")])
    words = (REPOSITORY / "tests/launched/document.py", document)
    return completed(words, status=status, folder=folder, PYTHONPATH=paths)


@pytest.mark.parametrize("document", RUNNABLE, ids=relative)
def test_a_document_runs_from_top_to_bottom(document, tmp_path):
    """Its python and bash blocks, in their order, in a folder that has what a clone has."""
    for name in ("configs", "data", "scripts"):
        shutil.copytree(REPOSITORY / name, tmp_path / name)
    run_document(document, tmp_path)
    if document.name == "README.md":
        run = tmp_path / "runs" / "demo"
        for name in ("policy", "predictions.jsonl", "metrics.json", "report.html", "completions"):
            assert (run / name).exists(), name


@pytest.mark.parametrize(
    ("block", "said"),
    [
        ("```python\nanswer = 1\n\nassert answer == 2\n```", 'shown.md", line 9'),
        ("```bash\nanomalyr1 data check nowhere\n```", "exit status 2"),
        ("```bash\npython scripts/nowhere.py\n```", "nowhere.py"),
        ("```bash\ndoctor --all\n```", "a command of nobody"),
    ],
)
def test_a_block_that_fails_fails_its_document(block, said, tmp_path):
    document = tmp_path / "shown.md"
    document.write_text(f"# A document\n\n```python\nseen = 1\n```\n{block}\n")
    assert said in run_document(document, tmp_path, status=1)


@pytest.mark.parametrize("document", DOCUMENTS, ids=relative)
def test_a_document_shows_only_commands_that_exist(document):
    """In text blocks and between backticks: verb, options, scripts, configs and overrides."""
    for block in blocks(document):
        assert block.language in LANGUAGES, f"{document.name}:{block.line} names no language"
        if block.language == "text":
            for command in block.commands:
                if command.startswith(("anomalyr1 ", "accelerate ", "python ", "sbatch ", "./")):
                    check(command)
    for command in inline_commands(document):
        check(command)


@pytest.mark.parametrize(
    "command",
    [
        "anomalyr1 trian configs/grpo/tiny_cpu.yaml",
        "anomalyr1 score --compatible predictions.jsonl",
        "anomalyr1 train configs/grpo/nowhere.yaml",
        "anomalyr1 train configs/grpo/tiny_cpu.yaml grpo.max_step=3",
        "accelerate launch --config_file configs/accelerate/zero9.yaml -m anomalyr1 train CONFIG",
        "python scripts/bench_grpo.py --gird",
        "sbatch scripts/train_nodes.sh CONFIG",
        "anomaly train configs/grpo/tiny_cpu.yaml",
    ],
)
def test_a_command_that_does_not_exist_is_found(command):
    with pytest.raises(BaseException):  # noqa: B017
        check(command)


@pytest.mark.parametrize("document", DOCUMENTS, ids=relative)
def test_a_document_names_only_what_exists(document):
    """Files, functions, keys of the config with their values, and its own links."""
    text = document.read_text(encoding="utf-8")
    named = set(
        re.findall(
            r"(?:configs|scripts|tests|anomalyr1|docs|data)/[\w/.-]+\.(?:py|yaml|sh|md)", text
        )
    )
    assert not [name for name in named if not (REPOSITORY / name).exists()]
    for link in re.findall(r"\]\(([^)#]+)[^)]*\)", text):
        assert "://" in link or (document.parent / link).exists(), link
    for code in inline(document):
        if re.fullmatch(r"anomalyr1(\.\w+)+", code):
            assert pydoc.locate(code) is not None, code
        if re.fullmatch(
            r"(?:data|eval|grpo|guard|policy|prompt|reward|signal|sft)(?:\.\w+)+=\S+", code
        ):
            check(f"anomalyr1 train configs/grpo/tiny_cpu.yaml {shlex.quote(code)}")


def test_the_table_of_outcomes_is_the_one_that_scores():
    from anomalyr1.rewards.roam import PAPER_TABLE

    text = (REPOSITORY / "docs" / "method.md").read_text()
    table = dict(re.findall(r"^\| `(\w+)` \| [^|]+ \| ([\d.]+) \|$", text, re.M))
    assert {outcome: float(worth) for outcome, worth in table.items()} == PAPER_TABLE


def test_the_table_of_differences_is_that_of_trl_and_of_the_config():
    import trl

    from anomalyr1.config import load_config

    text = (REPOSITORY / "docs" / "method.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \| ([^|]+) \| [^|]+ \| ([^|]+) \|", text, re.M)
    written = load_config(REPOSITORY / "configs/grpo/paper.yaml").grpo
    defaults = trl.GRPOConfig(output_dir="unused", use_cpu=True, bf16=False)
    assert len(rows) > 20
    for key, default, ours in rows:
        assert yaml.safe_load(ours) == written[key], key
        if trl.__version__.startswith("1.16."):
            assert yaml.safe_load(default) == getattr(defaults, key), key


def test_the_limits_of_the_guard_are_those_of_the_config():
    from dataclasses import asdict

    from anomalyr1.config import GuardConfig

    text = (REPOSITORY / "docs" / "method.md").read_text()
    written = dict(re.findall(r"\| `guard\.(\w+)` \| ([\d.]+) \|$", text, re.M))
    kept = asdict(GuardConfig())
    others = {key: kept.pop(key) for key in ("enabled", "window", "groups")}
    assert {key: float(value) for key, value in written.items()} == kept
    assert all(f"guard.{key}" in text for key in others)


def test_the_drawing_of_the_rooms_is_the_contract_that_is_kept():
    tomllib = pytest.importorskip("tomllib", reason="Python 3.11 reads pyproject.toml")
    layers = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["tool"]["importlinter"]
    [contract] = [c for c in layers["contracts"] if c["name"] == "Layers"]
    kept = [layer.replace("anomalyr1.", "") for layer in contract["layers"]]
    [drawing, *_] = blocks(REPOSITORY / "docs" / "architecture.md")
    drawn = [re.split(r"\s\s", line)[0] for line in drawing.text.splitlines()]
    assert [line for line in drawn if line.strip(" |")] == kept
    rooms = {path.stem for path in (REPOSITORY / "anomalyr1").iterdir() if path.stem[0] != "_"}
    assert rooms - {"py"} == {room for layer in kept for room in layer.split(" | ")}


def test_the_sources_and_settings_of_the_data_page_are_those_of_the_code():
    from anomalyr1.data.making.row_benchmark import ROW_FORMS, SETTINGS
    from anomalyr1.data.making.sources.catalogue import ANY_SOURCE, SOURCES

    text = (REPOSITORY / "data" / "README.md").read_text()
    listed, settings = text.split("## Settings")
    named = {
        name
        for cell in re.findall(r"^\| (`[^|]+`) \|", listed, re.M)
        for name in re.findall(r"`([\w-]+)`", cell)
    }
    assert named == {*SOURCES, *ROW_FORMS, "auto"}
    every, own = settings.split("## ")[0].split("and some have their own")
    assert re.findall(r"^\| `(\w+)=", every, re.M) == list(ANY_SOURCE)
    written = {
        (name, key)
        for keys, names in re.findall(r"^\| (`\w+=[^|]+`) \| ([^|]+) \|", own, re.M)
        for key in re.findall(r"`(\w+)=", keys)
        for name in re.findall(r"`([\w-]+)`", names)
    }
    known = {
        (name, key)
        for name, read in SOURCES.items()
        for key, parameter in inspect.signature(read).parameters.items()
        if parameter.kind is parameter.KEYWORD_ONLY and key not in ("seed", *ANY_SOURCE)
    }
    assert written == known | {(name, key) for name in ROW_FORMS for key in SETTINGS}


def test_the_scripts_of_the_readme_are_executable():
    for name in ("quickstart.sh", "test.sh", "setup.sh", "train_multinode.sh", "gpu_acceptance.sh"):
        path = Path(REPOSITORY / "scripts" / name)
        assert path.stat().st_mode & 0o111
        subprocess.run(["bash", "-n", str(path)], check=True)


@pytest.mark.slow
def test_the_quickstart_runs_to_its_end(tmp_path):
    """All of it but the installation, in a folder that has what a clone has."""
    for name in ("configs", "data", "scripts"):
        shutil.copytree(REPOSITORY / name, tmp_path / name)
    script = tmp_path / "scripts" / "quickstart.sh"
    whole = script.read_text()
    assert whole.count("./scripts/setup.sh --keep\n") == 1
    script.write_text(whole.replace("./scripts/setup.sh --keep\n", ""))
    verb = tmp_path / ".venv" / "bin" / "anomalyr1"
    verb.parent.mkdir(parents=True)
    verb.write_text(f'#!/bin/sh\nexec {sys.executable} -m anomalyr1 "$@"\n')
    verb.chmod(0o755)
    done = subprocess.run(
        [str(script)],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        timeout=1800,
    )
    assert done.returncode == 0, f"{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
    page = Path(done.stdout.splitlines()[-1].removeprefix("report").strip())
    assert page.stat().st_size > 100_000


def test_help_is_quick_because_torch_is_not_imported():
    code = "import anomalyr1, anomalyr1.cli"
    assert_torch_free(code)


def test_the_public_names_are_loaded_when_they_are_asked_for():
    assert_torch_free("import anomalyr1; dir(anomalyr1); from anomalyr1 import Box, parse_response")
    import anomalyr1

    assert set(anomalyr1.__all__) <= set(dir(anomalyr1)) and anomalyr1.__all__ == sorted(
        anomalyr1.__all__
    )
    for name in anomalyr1.__all__:
        assert getattr(anomalyr1, name).__name__ == name
    with pytest.raises(AttributeError, match="'trian'"):
        _ = anomalyr1.trian


def bench(*arguments) -> dict:
    lines = completed(arguments).splitlines()
    record: dict = json.loads(next(line for line in reversed(lines) if line.startswith("{")))
    assert record["ratio"] > 0
    return record


def test_the_benchmarks_of_the_readme_run(tmp_path):
    plot = tmp_path / "bench.png"
    small, once = ["--images", "1", "--side", "56", "--completion", "6"], ["--repeats", "1"]
    record = bench("scripts/bench_grpo.py", *small, "--generations", "2", *once, "--plot", plot)
    assert plot.stat().st_size > 1000 and record["cases"][0]["token_limit"] > 1
    record = bench("scripts/bench_sft.py", *small, *once, "--questions", "2")
    assert record["token_limit"] > 1
    record = bench("scripts/bench_chunks.py", *small, *once, "--generations", "4", "--chunk", "1")
    assert record["peak_mib"]["chunks"] > 0
    record = bench("scripts/bench_evaluation.py", *small, *once, "--questions", "2")
    assert record["questions_per_second"] > 0
    record = bench("scripts/bench_inspect.py", *small[2:], *once, "--images", "2")
    assert record["tokens_an_image"]["kept"] < record["tokens_an_image"]["computed"]
    record = bench("scripts/bench_reading.py", "--side", "56", *once, "--micro-batches", "2")
    assert record["pixels_equal"] and record["rows"] == 256
    few = ["--only", "grabcut", "--only", "sam3-transformers", "--boxes", "2", *small[:4], *once]
    assert set(bench("scripts/bench_masks.py", *few)["segmenters"]) == {few[1], few[3]}
    record = bench("scripts/bench_published.py", *small, "--layers", "1", "--generations", "2")
    assert record["distinct_tokens"] > 1 and record["parameters"] > 5e7


@pytest.mark.slow
def test_the_second_family_is_benchmarked_too():
    small = ["--images", "1", "--side", "64", "--completion", "6", "--repeats", "1"]
    asked = ["--generations", "2", "--questions", "2"]
    record = bench("scripts/bench_grpo.py", *small, *asked, "--family", "qwen3_vl")
    assert record["family"] == "qwen3_vl" and record["cases"][0]["token_limit"] > 1
    assert record["cases"][0]["step_ratio_to_prompts"] > 0  # a tree
