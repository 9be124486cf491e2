"""Run by test_signal.py in two processes: resampling where processes differ in need."""

from __future__ import annotations

import sys
from pathlib import Path

import torch

TESTS = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(TESTS / "training"), str(TESTS)]


def main(policy: str, out: str, size: int) -> None:
    from test_signal import Script, trainer

    # Four rows a process. First process 0 is flat throughout and process 1 varies; then all vary.
    run = trainer(
        policy, out, Script([1.0]), zero_variance="resample", difficulty="emit",
        per_device_train_batch_size=4, num_generations=size, max_steps=2,
    )  # fmt: skip
    rank = run.accelerator.process_index
    script = Script([1.0] if rank == 0 else [1.0, 0.0], [0.0, 2.0])
    run.reward_funcs[0] = script
    # Groups of 2: process 0 wants both of its two, so both processes sample two more.
    # Groups of 4: each has one, and the flat one takes the fresh group of its own number.
    expected, replaced = [4, 4], 0.5
    counts, original = [], run._generate_single_turn

    def counting(prompt_ids, *arguments, **options):
        counts.append(len(prompt_ids))
        return original(prompt_ids, *arguments, **options)

    run._generate_single_turn = counting
    run.model.train()
    inputs = [run.train_dataset[i // size] for i in range(4 * rank, 4 * rank + 4)]
    output = run._generate_and_score_completions(inputs)
    assert counts == expected and script.asked == expected, (rank, counts, script.asked)
    assert run._metrics["train"]["signal/replaced"] == [replaced]
    assert (output["completion_mask"].sum(1) > 0).all()
    total = run.accelerator.gather(output["completion_mask"].sum()).sum()
    assert output["num_items_in_batch"] == total
    assert (output["advantages"] != 0).all()
    run._metrics["train"].clear()
    run.train()
    weights = torch.cat([p.detach().flatten() for p in run.model.parameters()])
    both = run.accelerator.gather(weights[None])
    assert torch.equal(both[0], both[1])
    print(f"process {rank}: as expected", flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
