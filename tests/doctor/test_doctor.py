"""The doctor names what it looked at, lists every problem at once, and says what to do."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
from commands import REPOSITORY, assert_torch_free, invoke
from peft import LoraConfig, get_peft_model
from rich.console import Console
from tiny_runs import ON_CPU, write_config
from transformers import AutoModelForImageTextToText, AutoProcessor

from anomalyr1.cli import app
from anomalyr1.config import load_config
from anomalyr1.doctor import config as config_module
from anomalyr1.doctor import examine as examination
from anomalyr1.doctor import machine, packages
from anomalyr1.doctor.config import need_lines, read_config
from anomalyr1.doctor.examine import Machine, examine
from anomalyr1.doctor.lines import Line, print_report
from anomalyr1.doctor.policy_and_data import input_lines
from anomalyr1.doctor.probe import Facts, Gpu

KERNELS = {"eager": None, "sdpa": None, "flash_attention_2": "no package", "flex_attention": "no"}
LAPTOP = Facts(build=None, threads=1, attention=KERNELS)
NODE = Facts("CUDA 12.8", 8, (Gpu("H100", 80 * 2**30, 79 * 2**30, True),), True, KERNELS)


@pytest.fixture
def write(tmp_path, toy_benchmark, tiny_policy):
    """Writes a config of a healthy run, or one with another policy or benchmark."""

    def written(policy=tiny_policy, benchmark=toy_benchmark) -> Path:
        settings = {"max_steps": 1, "per_device_train_batch_size": 4, "num_generations": 2}
        return write_config(
            tmp_path / "run.yaml",
            run_dir=tmp_path / "runs/tiny",
            policy={"path": policy, "max_pixels": 12544},
            data={"benchmark": benchmark},
            eval={"benchmark": benchmark},
            grpo={**ON_CPU, **settings, "report_to": "tensorboard"},
        )

    return written


@pytest.fixture
def laptop(monkeypatch) -> None:
    """Nothing is tried: a machine without a GPU is taken for granted."""
    monkeypatch.setattr(examination, "try_libraries", lambda: Machine(LAPTOP, {}))


def doctor(*arguments) -> tuple[int, str]:
    result = invoke(app, "doctor", *arguments)
    return result.exit_code, result.output


def look(path: Path, *overrides: str, facts: Facts = LAPTOP) -> dict[str, Line]:
    """Name -> line of the part about the config."""
    return {line.name: line for line in examine(Machine(facts, {}), path, overrides)["config"]}


def test_a_healthy_config_on_this_machine(write, tmp_path):
    """Everything for real, the tries in other processes too."""
    status, output = doctor(write())
    assert status == 0, output
    assert output.rstrip().splitlines()[-1].startswith("no problems, ")
    for name in (
        "python", "torch", "transformers", "trl", "peft", "accelerate", "deepspeed", "sam2",
        "flash-attn", "processor", "threads", "GPU", "attention", "run folder", "file",
        "policy.path", "data.benchmark", "eval.benchmark", "segmentation", "precision",
        "grpo.report_to",
    ):  # fmt: skip
        assert f"\n  {name}" in output, name
    assert "asked for: sdpa" in output and "8 images, no errors in data check" in output
    assert not (tmp_path / "runs").exists()


def test_without_a_config_torch_stays_in_another_process():
    code = (
        "from pathlib import Path;"
        "from anomalyr1.doctor.examine import examine, Machine;"
        "examine(Machine('no torch', {}), Path('x.yaml'))"
    )
    assert_torch_free(code)


def test_all_problems_are_listed(write, laptop, tmp_path):
    path = write(policy=tmp_path / "nothing", benchmark=tmp_path / "nowhere")
    status, output = doctor(path, "grpo.bf16=true", "grpo.use_cpu=false")
    assert status == 1
    assert "policy.path      problem" in output and f"nothing at {tmp_path}/nothing" in output
    assert "data.benchmark   problem" in output and f"{tmp_path}/nowhere" in output
    assert "grpo.bf16=false grpo.use_cpu=true" in output
    assert output.rstrip().splitlines()[-1].startswith("4 problems, ")


def test_a_config_that_cannot_be_read_is_a_problem_with_every_key(write, laptop, tmp_path):
    status, output = doctor(write(), "grpo.max_stepz=1", "policy.dtype=int3")
    assert status == 1
    assert "unknown key grpo.max_stepz (nearest: max_steps)" in output
    assert "policy.dtype: expected one of auto" in output
    status, output = doctor(tmp_path / "none.yaml")
    assert status == 1 and "expected a config file at" in output and "-> check the path" in output


def test_what_trl_and_the_reward_refuse(write):
    path = write()
    lines = look(path, "grpo.num_generations=3", "reward.weights.iou=-1")
    assert "file" not in lines
    assert lines["grpo"].status == "problem" and "num_generations" in lines["grpo"].found
    wrong = look(path, "grpo.output_dir=x")
    assert "unknown key grpo.output_dir" in wrong["file"].found


def test_an_absent_package_shows_how_to_get_it(write, monkeypatch):
    real = packages.installed

    def absent(package: str) -> str | None:
        return None if package in ("peft", "sam2", "deepspeed") else real(package)

    monkeypatch.setattr(packages, "installed", absent)
    monkeypatch.setattr(config_module, "installed", absent)
    lines = {line.name: line for line in packages.package_lines(LAPTOP, {})}
    assert (lines["peft"].status, lines["peft"].advice) == ("problem", "pip install 'peft>=0.18'")
    assert lines["sam2"].status == "note" and ".[sam2]" in lines["sam2"].advice
    assert lines["deepspeed"].status == "ok"  # of no use here
    on_node = {line.name: line for line in packages.package_lines(NODE, {})}
    deepspeed = on_node["deepspeed"]
    assert deepspeed.status == "note" and ".[deepspeed]" in deepspeed.advice
    needs = look(write(), "grpo.deepspeed=zero.json", "segmentation.kind=sam2")
    for name in ("grpo.deepspeed", "segmentation.kind=sam2"):
        assert needs[name].status == "problem" and "pip install" in needs[name].advice, name
    assert "grpo" not in needs  # the same is not said twice


def test_it_says_which_verbs_it_looked_for(write):
    path = write()
    assert look(path)["verb"].found == "looked at for train and eval"
    lines = look(path, "eval.benchmark=null", "grpo.sapo_temperature_pos=2.0")
    assert lines["verb"].found == "looked at for train"
    assert (lines["train"].status, lines["train"].advice[:14]) == ("problem", "leave them out")
    assert "sapo_temperature_pos=2.0 (needs grpo.loss_type one of sapo" in lines["train"].found
    assert look(path, "data.benchmark=null")["verb"].status == "problem"
    path.write_text("seed: 3\n")
    assert look(path)["verb"].status == "note"


def test_an_old_or_broken_package_is_a_problem(monkeypatch):
    real = packages.installed
    monkeypatch.setattr(packages, "installed", lambda p: "0.9.1" if p == "trl" else real(p))
    broken = {"deepspeed": "ImportError: undefined symbol"}
    lines = {line.name: line for line in packages.package_lines("Segmentation fault", broken)}
    assert lines["trl"].found == "0.9.1, >=1.16 is needed" and "--upgrade" in lines["trl"].advice
    assert "does not run: Segmentation fault" in lines["torch"].found
    assert "undefined symbol" in lines["deepspeed"].found
    assert {lines[name].status for name in ("trl", "torch", "deepspeed")} == {"problem"}
    lines = {line.name: line for line in packages.package_lines("same", {"deepspeed": "same"})}
    assert lines["deepspeed"].status == "note"  # torch is what is broken


PRECISION = [
    # A CPU: TRL asks for bfloat16 unless told otherwise, transformers refuses that.
    (LAPTOP, {}, "problem"),
    (LAPTOP, {"bf16": True}, "problem"),
    (LAPTOP, {"bf16": True, "use_cpu": True}, "note"),
    (LAPTOP, {"bf16": False}, "ok"),
    (LAPTOP, {"fp16": True}, "problem"),
    (NODE, {}, "ok"),
    (NODE, {"fp16": True}, "ok"),
    # A GPU that knows float16 only.
    (Facts("CUDA 12.8", 8, (Gpu("T4", 16, 16, False),), False, KERNELS), {"bf16": True}, "problem"),
]


@pytest.mark.parametrize(("facts", "given", "status"), PRECISION)
def test_precision(facts, given, status):
    line = config_module._precision("grpo", given, facts)
    assert line.status == status and bool(line.advice) == (status != "ok")


def test_trackers_and_dtype(write):
    lines = look(write(), "grpo.report_to=wandbb", "policy.dtype=bfloat16")
    assert "wandbb is no tracker" in lines["grpo.report_to"].found
    assert lines["policy.dtype"].status == "note"
    config = load_config(write(), ["grpo.report_to=none", "policy.dtype=bfloat16"])
    names = [line.name for line in need_lines(config, NODE, {})]
    assert names == ["precision"]


def test_the_machine(tmp_path, monkeypatch):
    lines = {line.name: line for line in machine.machine_lines(NODE, tmp_path, "sdpa")}
    assert lines["GPU 0"].found == "H100, 80 GiB, 79 free, with bfloat16"
    assert lines["attention"].status == "ok"
    asked = machine.attention(LAPTOP, "flash_attention_2")
    assert asked.status == "problem" and asked.advice == "policy.attention=sdpa"
    asked = machine.attention(LAPTOP, "flex_attention")
    assert asked.status == "note" and asked.found.endswith("but: no; sdpa takes over")
    # Eight threads in each of two processes on eight CPUs: four a process are enough.
    crowded = machine.threads(8, 8.0, {"LOCAL_WORLD_SIZE": "2"})
    assert crowded.status == "note" and crowded.advice.startswith("OMP_NUM_THREADS=4")
    assert machine.threads(1, 8.0, {"OMP_NUM_THREADS": "16"}).status == "note"
    assert machine.threads(8, 8.0, {}).status == "ok"
    assert machine.threads(1, 0.5, {}).status == "ok"
    assert machine.disk(tmp_path / "a" / "b", 0).status == "ok"
    assert machine.disk(tmp_path, 2**60).status == "note"
    (tmp_path / "file").write_text("")
    assert machine.disk(tmp_path / "file" / "run", 0).status == "problem"
    monkeypatch.setattr(machine.shutil, "disk_usage", lambda _: SimpleNamespace(free=9))
    assert machine.disk(tmp_path, 0).status == "problem"


def test_weights_that_are_cut_off_are_found(write, tiny_policy, tmp_path):
    policy = shutil.copytree(tiny_policy, tmp_path / "policy")
    with (policy / "model.safetensors").open("rb+") as file:
        file.truncate(10_000)
    line = look(write(policy=policy))["policy.path"]
    assert line.status == "problem" and "model.safetensors (1 of 1) cannot be read" in line.found


def test_an_adapter_needs_its_base_and_takes_no_other(write, tiny_policy, tmp_path):
    model = AutoModelForImageTextToText.from_pretrained(str(tiny_policy))
    adapter = tmp_path / "adapter"
    get_peft_model(model, LoraConfig(target_modules=["q_proj"])).save_pretrained(adapter)
    AutoProcessor.from_pretrained(str(tiny_policy)).save_pretrained(adapter)
    path = write(policy=adapter)
    lines = look(path)
    assert (lines["policy.path"].status, lines["its base"].status) == ("ok", "ok")
    twice = look(path, "policy.lora.r=4")["policy.path"]
    assert twice.status == "problem" and "anomalyr1 merge" in twice.advice
    config = adapter / "adapter_config.json"
    values = {**json.loads(config.read_text()), "base_model_name_or_path": "/no/base"}
    config.write_text(json.dumps(values))
    assert look(path)["its base"].status == "problem"


def test_a_hub_id_is_not_fetched(write):
    line = look(write(policy="no-such-owner/no-such-policy"))["policy.path"]
    assert line.status in ("note", "problem")  # a problem where HF_HUB_OFFLINE is set
    assert line.advice.startswith("hf download no-such-owner/no-such-policy")


def test_benchmarks_with_faults(write, toy_benchmark, tmp_path):
    bench = shutil.copytree(toy_benchmark, tmp_path / "bench")
    path = write(benchmark=bench)
    images = sorted((bench / "Toy/tile/test/spot").iterdir())
    shutil.copy(images[0], images[1])
    line = look(path)["data.benchmark"]
    assert line.status == "problem" and "8 images, 1 error in data check" in line.found
    assert line.advice.startswith("anomalyr1 data check")
    assert look(path, f"data.root={bench}")["data.benchmark"].status == "ok"
    images[2].unlink()
    assert "1 missing" in look(path)["eval.benchmark"].found
    records = json.loads((bench / "mmad.json").read_text())
    for record in records.values():
        record["conversation"][0]["Answer"] = "Z"
    (bench / "mmad.json").write_text(json.dumps(records))
    line = look(path)["data.benchmark"]
    assert "8 faults (the first: " in line.found and line.advice == "mend the records"


def test_a_mixture_is_looked_at_part_by_part(write, toy_benchmark, tmp_path):
    mixture = tmp_path / "mix.yaml"
    mixture.write_text(f"datasets: [{{json_path: {toy_benchmark}}}, {{json_path: gone}}]")
    path = write()
    overrides = ("data.benchmark=null", "eval.benchmark=null", f"data.mixture={mixture}")
    lines, _ = input_lines(load_config(path, overrides))
    assert [(line.name, line.status) for line in lines[1:]] == [
        ("data.mixture", "ok"),
        ("data.mixture", "problem"),
    ]
    assert look(path, *overrides[:2])["benchmark"].status == "problem"


def test_a_segmenter_needs_its_checkpoint(write, tmp_path):
    path = write()
    (tmp_path / "sam.pt").write_bytes(b"0" * 1_000_000)
    at = f"segmentation.checkpoint={tmp_path}"
    found = look(path, "segmentation.kind=sam2", f"{at}/sam.pt")["segmentation"].found
    assert found == "sam2: sam.pt, 1 MB"
    assert look(path, "segmentation.kind=sam2", f"{at}/none.pt")["segmentation"].status == "problem"


def test_every_word_fits_eighty_columns():
    console = Console(width=80, record=True)
    long = Line("data.benchmark", "problem", "x" * 200 + " [brackets]", "do [this]")
    print_report({"config": [long]}, console)
    text = console.export_text()
    assert "[brackets]" in text and "-> do [this]" in text and "1 problem, no notes" in text
    assert max(map(len, text.splitlines())) <= 80


@pytest.mark.parametrize(
    "name",
    ["grpo/tiny_cpu", "grpo/qwen2_5_vl_3b_lora", "eval/mmad_1shot", "eval/mmad_1shot_reasoned"],
)
def test_the_shipped_configs_are_accepted(name):
    config, lines = read_config(REPOSITORY / f"configs/{name}.yaml", ())
    assert config is not None and {line.status for line in lines} == {"ok"}
