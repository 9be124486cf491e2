"""Run by test_processes.py in one or two processes: three steps on completions given by row.

Prints the losses, gradient norms and the sum of the weights' moves as JSON. Completions are a
function of the step and of the row's place in the global batch, so that the processes of a run
together see what one process sees alone.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch

TESTS = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(TESTS / "training"), str(TESTS)]


def length_reward(completion_ids, **_):
    """Depends on the tokens alone."""
    return [float(sum(ids) % 7) for ids in completion_ids]


def main(policy: str, out: str, rows: int, kind: str) -> None:
    from tiny_trainer import SMALL, WIDE, dataset, make_trainer

    data = dataset([[SMALL], [SMALL], [SMALL, WIDE]])
    shown = data[0]["images"]  # two questions about one picture, one about others
    data = data.map(
        lambda row, n: {"images": shown if n == 1 else row["images"]}, with_indices=True
    )
    run = make_trainer(
        policy, out, data, shared=kind != "stock",
        trainer_options={"images": [[0, 1], [2]] if kind == "trees" else None},
        per_device_train_batch_size=rows, num_generations=2, max_steps=3, beta=0.05,
        shuffle_dataset=False,
    )  # fmt: skip
    run.reward_funcs[0] = length_reward

    def given(prompt_ids, *_):
        first = run.accelerator.process_index * len(prompt_ids)
        completions = []
        for row in range(first, first + len(prompt_ids)):
            seed = torch.Generator().manual_seed(1000 * run.state.global_step + row)
            length = int(torch.randint(2, 9, (1,), generator=seed))
            completions.append(torch.randint(20, 200, (length,), generator=seed).tolist())
        return completions, None

    run._generate_single_turn = given
    run.train()
    history = [entry for entry in run.state.log_history if "loss" in entry]
    weights = run.accelerator.unwrap_model(run.model).state_dict()
    record = {
        "processes": run.accelerator.num_processes,
        "shared": run.sharing.logps,
        "by_image": run.sharing.by_image,
        "loss": [entry["loss"] for entry in history],
        "grad_norm": [entry["grad_norm"] for entry in history],
        "kl": [entry["kl"] for entry in history],
        "weights": [float(weights[name].double().pow(2).sum()) for name in sorted(weights)],
    }
    if run.accelerator.is_main_process:
        Path(out, "record.json").write_text(json.dumps(record))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4])
