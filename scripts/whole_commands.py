"""The commands a user types, on the whole Qwen2.5-VL-3B with random weights, from sft to eval.

python scripts/whole_commands.py           a GPU of 24 GB, three minutes, 9 GB of disk
python scripts/whole_commands.py --tiny    the same commands on a laptop

The shipped configs of adapters, with fewer and shorter steps. GRPO is made twice: once through, and
once killed (SIGKILL) after its first checkpoint and resumed, whose figures have to be those of the
first to the last digit: a GPU adds in any order unless `grpo.full_determinism` forbids it. Random
weights answer nothing, so a reward that is different for every text stands beside ROAM: there is
something to learn, if nothing worth it. Each command is a line of JSON.
"""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from result_lines import Book

from anomalyr1.run_folder import CHECKPOINTS, HISTORY, POLICY, PREDICTIONS
from anomalyr1.storage import read_jsonl

REPOSITORY = Path(__file__).resolve().parent.parent
TINY = REPOSITORY / "data" / "tiny-policy"
STEPS, KILLED_AFTER = 4, 2
# What a step's figures are held equal by; the others are times and counts.
FIGURES = ("loss", "grad_norm", "reward", "kl", "entropy")
# Ids that the tokenizer knows get larger embeddings: the others, most of the vocabulary, are text
# of no length, and would be nearly all that is sampled.
KNOWN_SCALE = 6.0


def unlike(completions: Sequence[Any], **_: Any) -> list[float]:
    """A number from 0 to 1 for each text, without sense and always the same."""
    return [zlib.crc32(c[0]["content"].encode()) / 2**32 for c in completions]


def write_policy(out: Path) -> float:
    """Save random weights in the published shape; billions of parameters."""
    import torch
    from bench_cases import QUESTION
    from random_policies import NAME, name_tokens, published_config, random_weights

    from anomalyr1.policy.tiny import build_processor, train_tokenizer

    tokenizer = train_tokenizer([QUESTION])
    config = published_config(NAME)
    end, pad = name_tokens(config, tokenizer)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = random_weights(config, device, torch.bfloat16)
    with torch.no_grad():
        model.get_input_embeddings().weight[: len(tokenizer)] *= KNOWN_SCALE
    model.generation_config.eos_token_id, model.generation_config.pad_token_id = end, pad
    model.save_pretrained(out)
    build_processor(tokenizer).save_pretrained(out)
    return round(sum(p.numel() for p in model.parameters()) / 1e9, 2)


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "anomalyr1", *arguments]


def environment() -> dict[str, str]:
    """Variables under which `unlike` is found by its dotted path."""
    paths = [str(REPOSITORY), str(REPOSITORY / "scripts"), os.environ.get("PYTHONPATH")]
    return {**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONPATH": os.pathsep.join(filter(None, paths))}


def call(*arguments: str) -> float:
    """Run a command to its end; its seconds."""
    started = time.monotonic()
    done = subprocess.run(
        command(*arguments), cwd=REPOSITORY, env=environment(), capture_output=True, text=True
    )
    if done.returncode:
        said = " ".join((done.stdout + done.stderr).strip().splitlines()[-3:])
        raise RuntimeError(f"exit status {done.returncode}: {said}"[-190:])
    return round(time.monotonic() - started, 1)


def kill_after(checkpoint: Path, limit: float, *arguments: str) -> float:
    """Run a command until a checkpoint is whole, and kill it then with all that it started."""
    started = time.monotonic()
    process = subprocess.Popen(
        command(*arguments),
        cwd=REPOSITORY,
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        while not checkpoint.is_dir():
            if process.poll() is not None or time.monotonic() - started > limit:
                raise RuntimeError(f"no {checkpoint.name} to kill it after")
            time.sleep(0.1)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    return round(time.monotonic() - started, 1)


def history(run: Path) -> list[dict[str, Any]]:
    """The figures of each step of a training."""
    return [line for line in read_jsonl(run / HISTORY, "a training log") if "loss" in line]


def figures(run: Path) -> list[dict[str, float]]:
    """Those of a step that must not depend on a kill."""
    return [{key: line[key] for key in FIGURES if key in line} for line in history(run)]


def sft(overrides: list[str], run: Path) -> dict[str, Any]:
    seconds = call(
        *("sft", "configs/sft/qwen2_5_vl_3b_lora.yaml", *overrides, f"run_dir={run}"),
        *("sft.max_steps=3", "sft.save_steps=3", "sft.logging_steps=1", "sft.report_to=none"),
    )
    losses = [line["loss"] for line in history(run)]
    return {"seconds": seconds, "losses": losses, "agrees": all(map(math.isfinite, losses))}


def training(overrides: list[str], run: Path, tokens: int, ordered: bool) -> list[str]:
    return [
        *("train", "configs/grpo/qwen2_5_vl_3b_lora.yaml", *overrides, f"run_dir={run}"),
        "reward.terms={whole_commands.unlike: {weight: 1.0}}",
        f"grpo.max_steps={STEPS}",
        f"grpo.save_steps={KILLED_AFTER}",
        f"grpo.max_completion_length={tokens}",
        "grpo.report_to=none",
        f"grpo.full_determinism={str(ordered).lower()}",
        "preflight.skip=true",
    ]


def grpo(arguments: list[str], run: Path) -> dict[str, Any]:
    """A training from its start to its end; its policy has to move."""
    seconds, steps = call(*arguments), figures(run)
    moves = len(steps) == STEPS and all(step["grad_norm"] > 0 for step in steps)
    return {"seconds": seconds, "steps": steps, "agrees": moves}


def resumed(arguments: list[str], run: Path, whole: Path, limit: float) -> dict[str, Any]:
    """The same training, killed and resumed; how far its steps are from those of the first."""
    checkpoint = run / CHECKPOINTS / f"checkpoint-{KILLED_AFTER}"
    before = kill_after(checkpoint, limit, *arguments)
    seconds, ours, theirs = call(*arguments), figures(run), figures(whole)
    pairs = zip(ours, theirs, strict=True)
    apart = [max(abs(a[key] - b[key]) for key in a) for a, b in pairs]
    return {
        "seconds": seconds,
        "seconds_until_killed": before,
        "apart_by_step": apart,
        "agrees": len(apart) == STEPS and not any(apart),
    }


def evaluated(overrides: list[str], run: Path, policy: Path, test: Path) -> dict[str, Any]:
    seconds = call(
        *("eval", "configs/eval/mmad_1shot_reasoned.yaml", *overrides, f"run_dir={run}"),
        *(f"policy.path={policy}", f"eval.benchmark={test}"),
        *("eval.limit=2", "eval.max_new_tokens=32", "eval.gallery=0"),
    )
    count = len(read_jsonl(run / PREDICTIONS, "predictions"))
    return {"seconds": seconds, "predictions": count, "agrees": count > 0}


def main(
    tiny: Annotated[bool, typer.Option(help="The tiny policy and small images.")] = False,
    ordered: Annotated[bool, typer.Option(help="GRPO with grpo.full_determinism.")] = True,
    seconds: Annotated[float, typer.Option(help="Begin nothing new after so many.")] = 600,
    out: Annotated[Path | None, typer.Option(help="File that lines of JSON are added to.")] = None,
) -> None:
    """Run every command, and write a line of JSON for each; status 1 where one was not right."""
    book = Book(out, time.monotonic() + seconds)
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        side = 112 if tiny else 448
        policy, benchmark = TINY, work / "benchmark"
        pixels = [f"policy.max_pixels={side * side}"]
        if tiny:
            pixels += ["policy.dtype=float32"]
        on_cpu = ["bf16=false", "use_cpu=true"] if tiny else []
        if not tiny:
            policy = work / "policy"

            def made(_: str) -> dict[str, Any]:
                return {"billions": write_policy(policy), "agrees": True}

            book.check("random weights", "", made)
        drawn = ["--train", "16", "--test", "8", "--size", str(side)]
        call("data", "synth", "--out", str(benchmark), *drawn)
        data = [*pixels, f"data.benchmark={benchmark / 'train'}"]
        of = {name: [f"{name}.{option}" for option in on_cpu] for name in ("sft", "grpo")}
        taught = [*data, *of["sft"], f"policy.path={policy}"]
        book.check("sft", "", lambda _: sft(taught, work / "sft"))
        whole, killed = work / "whole", work / "killed"
        trained = [*data, *of["grpo"], f"policy.path={policy}"]
        tokens = 16 if tiny else 32
        book.check("train", "", lambda _: grpo(training(trained, whole, tokens, ordered), whole))
        again = training(trained, killed, tokens, ordered)
        book.check("train, killed and resumed", "", lambda _: resumed(again, killed, whole, 240))
        test = benchmark / "test"
        book.check("eval", "", lambda _: evaluated(pixels, work / "eval", whole / POLICY, test))
    raise typer.Exit(int(book.disagreed))


if __name__ == "__main__":
    typer.run(main)
