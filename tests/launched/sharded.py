"""Run by test_processes.py in two processes: shared prefixes on sharded weights.

Log-probabilities and gradients of a whole copy against weights split by FSDP2 or DeepSpeed.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
import torch.distributed as dist

TESTS = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(TESTS / "training"), str(TESTS)]


def split(model, kind: str):
    """The model split over the processes."""
    if kind == "fsdp2":
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import fully_shard

        mesh = init_device_mesh("cpu", (dist.get_world_size(),))
        for layer in (*model.model.language_model.layers, *model.model.visual.blocks):
            fully_shard(layer, mesh=mesh)
        return fully_shard(model, mesh=mesh)
    import deepspeed

    engine, *_ = deepspeed.initialize(
        model=model,
        optimizer=torch.optim.AdamW(model.parameters(), 1e-3),
        config={
            "train_micro_batch_size_per_gpu": 1,
            "zero_optimization": {"stage": int(kind.removeprefix("zero"))},
            "zero_allow_untested_optimizer": True,
        },
        dist_init_required=False,
    )
    return engine


def gradients(model, kind: str | None) -> dict[str, torch.Tensor]:
    """Whole gradients, whatever holds them."""
    if kind is None:
        return {name: p.grad for name, p in model.named_parameters()}
    if kind == "fsdp2":
        return {name: p.grad.full_tensor() for name, p in model.named_parameters()}
    from deepspeed.utils import safe_get_full_grad

    return {name: safe_get_full_grad(p) for name, p in model.module.named_parameters()}


def scored_apart(run, model, data) -> None:
    """Completions so unequal that the processes cut their passes into different numbers of chunks.

    A pass over split weights is made by all processes together, so one that made fewer would leave
    the others waiting.
    """
    from tiny_trainer import batch

    from anomalyr1.shared_prefix import logprobs

    length = 3 if dist.get_rank() == 0 else 12
    tokens, attention, width, vision = batch(run, data, [length] * 6)
    counts, inner = [], logprobs.chunked
    # Room for both groups of three short completions, not for those of long ones.
    prompts = attention[[0, 3], :-width].sum().item()
    run.chunk_tokens = prompts + 2 * 3 * (1 + 3)
    logprobs.chunked = lambda *given: (counts.append(found := inner(*given)), found)[1]
    with torch.no_grad():
        logps, _, _ = run._get_per_token_logps_and_entropies(
            model, tokens, attention, width, **vision
        )
    numbers = [None, None]
    dist.all_gather_object(numbers, len(counts[0]))
    assert numbers == [1, 2], numbers
    assert (logps < 0).all()


def main(policy: str, out: str, kind: str) -> None:
    from tiny_trainer import SMALL, WIDE, batch, dataset, make_trainer

    dist.init_process_group("gloo")
    data = dataset([[SMALL, WIDE], [WIDE]])
    results = []
    for how in (None, kind):
        run = make_trainer(policy, out, data, shared=True)
        model = run.model if how is None else split(run.model, how)
        run.accelerator.unwrap_model = lambda m, **_: getattr(m, "module", m)
        model.train()
        tokens, attention, width, vision = batch(run, data, [9, 4, 1, 7, 9, 2])
        logps, _, _ = run._get_per_token_logps_and_entropies(
            model, tokens, attention, width, **vision
        )
        loss = (logps * attention[:, -width:]).sum()
        if hasattr(model, "backward"):
            model.backward(loss)
        else:
            loss.backward()
        results.append((logps.detach(), gradients(model, how)))
        if how is not None:
            scored_apart(run, model, data)
    (a, ga), (b, gb) = results
    assert (a - b).abs().max() < 1e-4 and ga.keys() == gb.keys()
    for name, whole in ga.items():
        assert (whole - gb[name]).norm() <= 1e-3 * whole.norm() + 1e-6, name
    print(f"process {dist.get_rank()}: as expected", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
