"""Compares what `anomalyr1 plan` expects with what a real pass takes, on the CPU.

python scripts/check_plan.py                    (six minutes on two cores; --policy tiny: three)

Each line is one process that makes a shared-prefix (or stock) log-probability pass, its backward
pass and an AdamW step on random completions. Compared is the most memory above weights, optimiser
state and the batch. It is counted as bytes of live tensors (anomalyr1/planning/live.py), which is
what a GPU's allocator has to serve and what the plan speaks of; the growth of resident memory
stands beside it, but depends on the C library's caches and leaves out pages never written, such as
most of the fused head's tile under a small vocabulary. The last line is JSON.
"""

from __future__ import annotations

import json
import multiprocessing
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from plan_cases import Case, cases
from rich.console import Console
from rich.table import Table

TINY = "data/tiny-policy"
QUESTION = "Is there a defect in the object? " * 6
MIB = 2**20


def larger_policy(folder: Path) -> Path:
    """A random Qwen2.5-VL of about 100 M parameters."""
    from anomalyr1.policy.tiny import TinyShape, build_tiny_policy

    shape = TinyShape(
        hidden_size=768,
        num_layers=10,
        num_heads=12,
        num_kv_heads=4,
        mrope_section=(8, 12, 12),
        vision_depth=6,
        vision_hidden_size=512,
        vision_heads=8,
    )
    build_tiny_policy([QUESTION] * 8, folder, shape=shape, vocab_size=1024)
    return folder


def measure(case: Case, policy: str) -> dict[str, float]:
    """Measured and planned bytes of one case; runs in a process of its own."""
    import torch

    from anomalyr1.cli.policy import quiet_libraries
    from anomalyr1.config import LoraSection, PolicyConfig
    from anomalyr1.planning.live import LiveBytes

    quiet_libraries()
    section = PolicyConfig(
        path=policy,
        dtype="float32",
        attention=case.attention,  # type: ignore[arg-type]
        min_pixels=case.side**2,
        max_pixels=case.side**2,
        freeze_vision=case.frozen,
        shared_prefix=case.shared,
        chunk_completions=case.chunk,
        lora=LoraSection(r=16) if case.lora else None,
    )
    with tempfile.TemporaryDirectory() as scratch:
        run = build_trainer(case, section, scratch)
    tokens, mask, vision = batch(run, case)
    trained = [p for p in run.model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, fused=True)
    for parameter in trained:
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    optimizer.zero_grad(set_to_none=not case.half)
    reset_high_water()
    before = memory_status("VmRSS")
    with LiveBytes() as live:
        logps, _, _ = run._get_per_token_logps_and_entropies(
            run.model, tokens, mask, case.completion, compute_entropy=True, **vision
        )
        logps.mean().backward()
        optimizer.step()
    resident = memory_status("VmHWM") - before
    planned = plan(case, section, tokens, mask, vision)
    return {"measured": live.peak, "resident": resident, "planned": planned}


def build_trainer(case: Case, section: Any, scratch: str) -> Any:
    """The project's trainer on made-up rows, one a prompt."""
    import numpy as np
    from datasets import Dataset, Features, Image, List, Value
    from PIL import Image as Picture
    from trl import GRPOConfig

    from anomalyr1.policy.load import load_policy, lora_config
    from anomalyr1.training.trainer import PolicyTrainer

    chance = np.random.default_rng(0)
    shape = (case.side, case.side, 3)
    pictures = [
        [
            Picture.fromarray(chance.integers(0, 255, shape, dtype=np.uint8))
            for _ in range(case.images)
        ]
        for _ in range(case.prompts)
    ]
    part = {name: Value("string") for name in ("type", "text")}
    message = {"role": Value("string"), "content": List(part)}
    data = Dataset.from_list(
        [
            {"prompt": [{"role": "user", "content": asked(case, number)}], "images": row}
            for row in pictures
            for number in range(case.questions)
        ],
        features=Features({"prompt": List(message), "images": List(Image())}),
    )
    loaded = load_policy(section, trainable=True)
    starts = range(0, case.prompts * case.questions, case.questions)
    by_image = [list(range(first, first + case.questions)) for first in starts]
    run = PolicyTrainer(
        model=loaded.model,
        processing_class=loaded.processor,
        reward_funcs=[lambda completions, **_: [0.0] * len(completions)],
        args=GRPOConfig(
            output_dir=scratch,
            per_device_train_batch_size=case.rows,
            num_generations=case.generations,
            max_completion_length=case.completion,
            gradient_checkpointing=case.checkpointing,
            use_cpu=True,
            bf16=case.half,
            report_to="none",
        ),
        train_dataset=data,
        peft_config=lora_config(section),
        shared_prefix=case.shared,
        chunk_completions=case.chunk,
        images=by_image if case.questions > 1 else None,
    )
    if case.checkpointing:
        run.model.gradient_checkpointing_enable(run.args.gradient_checkpointing_kwargs)
    if case.half:
        run.model = run.model_wrapped = run.accelerator.prepare_model(run.model)
    run.model.train()
    return run


def asked(case: Case, number: int) -> list[dict[str, str | None]]:
    """The question of that number about a prompt's pictures: as long as any other."""
    words = QUESTION.split()
    text = " ".join([*words[number:], *words[:number]])
    return [{"type": "image", "text": None}] * case.images + [{"type": "text", "text": text}]


def batch(run: Any, case: Case) -> tuple[Any, Any, dict[str, Any]]:
    """A micro-batch of full-length completions, as TRL lays it out."""
    import torch

    rows = [row for row in run.train_dataset for _ in range(case.generations)]
    texts = [
        run.processing_class.apply_chat_template(
            row["prompt"], tokenize=False, add_generation_prompt=True
        )
        for row in rows
    ]
    inputs = run.processing_class(
        text=texts, images=[row["images"] for row in rows], padding=True, return_tensors="pt"
    )
    completions = torch.randint(20, 200, (len(rows), case.completion))
    tokens = torch.cat([inputs["input_ids"], completions], 1)
    attention = torch.cat([inputs["attention_mask"], torch.ones_like(completions)], 1)
    # A completion that ends earlier, as there always is one: stock attention needs its mask.
    attention[0, -1] = 0
    kinds = torch.cat([inputs["mm_token_type_ids"], torch.zeros_like(completions)], 1)
    vision = {
        "mm_token_type_ids": kinds,
        "num_images": [case.images] * len(rows),
        "image_grid_thw": inputs["image_grid_thw"],
        "pixel_values": inputs["pixel_values"],
    }
    return tokens, attention, vision


def plan(case: Case, section: Any, tokens: Any, mask: Any, vision: dict[str, Any]) -> int:
    """What the plan expects above weights, optimiser state and batch, in bytes."""
    from planned import planned_phases

    from anomalyr1.shared_prefix.prefixes import Prompt, beginning

    grpo = {
        "per_device_train_batch_size": case.rows,
        "num_generations": case.generations,
        "max_completion_length": case.completion,
        "gradient_checkpointing": case.checkpointing,
        "bf16": case.half,
        "gradient_accumulation_steps": 1 + case.half,
        "steps_per_generation": 1,
        "use_cpu": True,
    }
    patches = int(vision["image_grid_thw"][: case.images].prod(-1).sum())
    prompt = tokens.size(1) - case.completion
    given = {"input_ids": tokens, "attention_mask": mask, **vision}
    names = ("input_ids", "attention_mask", "mm_token_type_ids")
    asked = Prompt.of_batch({name: given[name][:, :prompt] for name in names})
    shared = beginning(asked[:: case.generations][: case.questions])
    phases = planned_phases(section, grpo, prompt, case.images, patches, shared, case.questions)
    held = {"weights", "optimiser state", "images"} | ({"gradients"} if case.half else set())
    return max(
        sum(size for part, size in phases[phase].items() if part not in held)
        for phase in ("training pass", "optimiser step")
    )


def memory_status(name: str) -> int:
    """A line of /proc/self/status in bytes; 0 where there is none."""
    path = Path("/proc/self/status")
    if not path.is_file():
        return 0
    lines = dict(line.split(":", 1) for line in path.read_text().splitlines())
    return int(lines[name].split()[0]) * 1024


def reset_high_water() -> None:
    """Let the kernel forget the peak so far."""
    path = Path("/proc/self/clear_refs")
    if path.exists():
        path.write_text("5")


def run_case(case: Case, path: str) -> dict[str, float]:
    """Measure in a fresh process, whose memory nothing has touched."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(measure, (case, path))


def main(
    policy: Annotated[str, typer.Option(help="tiny, large or both.")] = "both",
) -> None:
    """Measure every case in a fresh process and print a table."""
    console = Console(width=None if sys.stdout.isatty() else 110)
    table = Table("policy", "case", title="Planned against measured memory (MiB)")
    for name in ("measured", "planned", "planned / measured", "resident"):
        table.add_column(name, justify="right")
    lines = []
    with tempfile.TemporaryDirectory() as scratch:
        for kind in ("tiny", "large") if policy == "both" else (policy,):
            path = TINY if kind == "tiny" else str(larger_policy(Path(scratch)))
            for case in cases(kind):
                found = run_case(case, path)
                ratio = found["planned"] / found["measured"]
                sharing = "shared" if case.shared else "stock"
                mib = [f"{found[key] / MIB:.0f}" for key in ("measured", "planned", "resident")]
                table.add_row(
                    kind, f"{sharing}: {case.label}", mib[0], mib[1], f"{ratio:.2f}", mib[2]
                )
                lines.append({**asdict(case), **found, "ratio": round(ratio, 3)})
    console.print(table)
    print(json.dumps({"ratios": [line["ratio"] for line in lines], "cases": lines}))


if __name__ == "__main__":
    typer.run(main)
