"""Stock against the shared prefix on the whole Qwen2.5-VL-3B, random weights, transformers alone.

python scripts/bench_passes.py --quick                          a GPU of 80 GB, a minute and a half
python scripts/bench_passes.py                                  more batches, five minutes
python scripts/bench_passes.py --tiny --device cpu --quick      the same code on a laptop

First the sides are held to one another: two layers of full width in float32 (log-probabilities
within 1e-4, gradients within 1e-3, the same greedy tokens), then the whole depth in bfloat16, where
each side may be no further from float32 than twice what stock is. Then it is timed, with SDPA and
with FlexAttention: log-probabilities and their backward pass, an update, a rollout. Each result is
a line of JSON, written as soon as it is known; what fails is a line too, and the rest goes on.
Nothing of TRL is used; adapters need peft and the config's packages.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from copy import deepcopy
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import torch
import transformers
import typer
from measuring import alternate, finish, peak_memory
from passes import SIDES, distance, log_probabilities, rollout, with_gradients
from random_policies import (
    NAME,
    Batch,
    Learning,
    Load,
    cut_layers,
    let_learn,
    published_config,
    random_batch,
    random_weights,
    tiny_config,
    twin,
)
from result_lines import Book

from anomalyr1.shared_prefix import prepare
from anomalyr1.shared_prefix.flex_attention import flex_obstacle

CHECK = Load(images=1, completion=32, generations=4)
LOGPS, GRADIENTS = 1e-4, 1e-3  # in float32
TIMES_STOCK = 2.0  # distance from float32 that bfloat16 may have, in distances of stock
QUICK: tuple[tuple[Learning, Load, bool], ...] = (
    ("full", Load(), False),
    ("full", Load(completion=512), False),
    ("lora", Load(completion=512), False),
)
MORE: tuple[tuple[Learning, Load, bool], ...] = (
    ("lora", Load(), False),
    ("lora", Load(prompts=2), False),
    ("lora", Load(generations=16), False),
    ("lora", Load(images=1), False),
    ("full", Load(prompts=2), False),
    ("full", Load(prompts=4, completion=512), True),
    ("tower", Load(), False),
)
ROLLOUTS = (Load(), Load(prompts=4, completion=256))


@dataclass(frozen=True)
class Bench:
    """A device, its policies and the sides that run there."""

    device: torch.device
    tiny: bool
    repeats: int
    kernels: tuple[str, ...] = SIDES

    def policy(self, dtype: torch.dtype, layers: int | None = None) -> Any:
        """Random weights."""
        config = tiny_config() if self.tiny else published_config(NAME)
        if layers is not None:
            cut_layers(config, layers)
        return random_weights(config, self.device, dtype)

    def batch(self, config: Any, load: Load) -> Batch:
        """A micro-batch on the device."""
        return random_batch(config, self.scaled(load), self.device)

    def scaled(self, load: Load) -> Load:
        """A load that the policy's size is worth."""
        small = {"side": 112, "question": 8, "completion": load.completion // 16}
        return replace(load, **small) if self.tiny else load

    def sides(self, stock: Any) -> dict[str, Any]:
        """One set of weights, as stock and as it is shared."""
        shared = twin(stock)
        obstacle = prepare(shared)
        assert obstacle is None, obstacle
        return {side: stock if side == "stock" else shared for side in self.kernels}

    def exactness(self, side: str) -> dict[str, Any]:
        """Two layers in float32: log-probabilities, gradients and greedy tokens as stock's."""
        model = let_learn(self.policy(torch.float32, layers=2), "tower")
        batch = self.batch(model.config, replace(CHECK, images=2))
        sides = self.sides(model)
        (one, slope), (other, steepness) = (
            with_gradients(name, sides[name], batch, mixed=False) for name in (side, "stock")
        )
        tokens = [rollout(name, sides[name].eval(), batch, 8) for name in (side, "stock")]
        logps, gradients = float((one - other).abs().max()), distance(slope, steepness)
        same = torch.equal(*tokens)
        return {
            "agrees": same and logps <= LOGPS and gradients <= GRADIENTS,
            "logps": logps,
            "gradients": gradients,
            "same_tokens": same,
        }

    def half_precision(self, side: str, model: Any) -> dict[str, Any]:
        """The whole depth in bfloat16: how far a side and stock are from float32."""
        sides = self.sides(let_learn(model, "full"))
        batch = self.batch(model.config, CHECK)
        exact = deepcopy(model).float()
        truth, slope = with_gradients("stock", exact, batch, mixed=False)
        del exact
        found: dict[str, dict[str, float]] = {"logps": {}, "gradients": {}}
        for name in ("stock", side):
            logps, gradients = with_gradients(name, sides[name], batch, mixed=True)
            found["logps"][name] = float((logps - truth).square().mean().sqrt())
            found["gradients"][name] = distance(gradients, slope)
        agrees = all(far[side] <= TIMES_STOCK * far["stock"] for far in found.values())
        return {"agrees": agrees, **found}

    def passes(self, book: Book, model: Any, case: tuple[Learning, Load, bool]) -> None:
        """Time the log-probability pass of every side, forward alone and with its backward."""
        learning, load, checkpointing = case
        line = {"learns": learning, **asdict(self.scaled(load)), "checkpointing": checkpointing}
        results: dict[str, Any] = {}

        def prepared() -> dict[str, Any]:
            learner = let_learn(twin(model), learning)
            if checkpointing:
                learner.gradient_checkpointing_enable({"use_reentrant": False})
            return self.sides(learner)

        def timed(side: str, learner: Any) -> dict[str, Any]:
            batch = self.batch(model.config, load)

            def forward() -> None:
                with torch.no_grad():
                    log_probabilities(side, learner, batch, mixed=True)

            def both() -> None:
                learner.zero_grad()
                log_probabilities(side, learner, batch, mixed=True).mean().backward()

            seconds = alternate({"forward": forward}, self.repeats)
            seconds |= alternate({"forward_backward": both}, self.repeats)
            scored = int(batch.mask.sum())
            return {
                "seconds": seconds,
                "tokens_a_second": round(scored / seconds["forward_backward"]),
                **self.memory(both, learner),
            }

        sides = book.attempt(prepared)
        if "stock" not in sides:  # why there are none
            book.write(what="pass", **line, **sides)
            return
        for side, learner in sides.items():
            results[side] = book.attempt(lambda s=side, m=learner: timed(s, m))
            learner.zero_grad()
        book.write(what="pass", **line, sides=results)

    def update(self, book: Book, model: Any, learning: Learning) -> None:
        """Time a pass with its backward and an AdamW step."""
        results: dict[str, Any] = {}

        def timed(side: str) -> dict[str, Any]:
            learner = self.sides(let_learn(twin(model), learning))[side]
            batch = self.batch(model.config, Load())
            trained = [p for p in learner.parameters() if p.requires_grad]
            optimizer = torch.optim.AdamW(trained, lr=0.0, fused=True)

            def update() -> None:
                log_probabilities(side, learner, batch, mixed=True).mean().backward()
                optimizer.step()
                optimizer.zero_grad()

            return {"seconds": alternate({"update": update}, self.repeats)} | self.memory(
                update, learner
            )

        for side in self.kernels:
            results[side] = book.attempt(lambda s=side: timed(s))
            model.zero_grad()
        book.write(what="update", learns=learning, **asdict(self.scaled(Load())), sides=results)

    def rollouts(self, book: Book, model: Any, load: Load) -> None:
        """Time greedy sampling; a side's tokens are compared, not held, in bfloat16."""
        load = self.scaled(load)
        batch = random_batch(model.config, load, self.device)
        sides = self.sides(model.eval())
        results: dict[str, Any] = {}
        tokens: dict[str, torch.Tensor] = {}

        def timed(side: str) -> dict[str, Any]:
            rollout(side, sides[side], batch, 2)
            taken = []

            def run() -> None:
                start = time.perf_counter()
                tokens[side] = rollout(side, sides[side], batch, load.completion)
                finish()
                taken.append(time.perf_counter() - start)

            memory = self.memory(run, sides[side])
            return {
                "seconds": {"rollout": round(taken[0], 4)},
                "tokens_a_second": round(load.rows * load.completion / taken[0]),
                **memory,
            }

        for side in ("stock", "shared"):
            results[side] = book.attempt(lambda s=side: timed(s))
        if len(tokens) == 2:
            same = (tokens["stock"] == tokens["shared"]).float().mean()
            results["same_tokens"] = round(float(same), 3)
        book.write(what="rollout", **asdict(load), sides=results)

    def memory(self, run: Callable[[], Any], model: Any) -> dict[str, int]:
        """MiB at the peak: beyond what was held before, and on a GPU in all."""
        own = {"peak_mib": round(peak_memory(run, model) / 2**20)}
        if self.device.type == "cuda":
            own["allocated_mib"] = round(torch.cuda.max_memory_allocated() / 2**20)
        return own


def describe(bench: Bench, obstacle: str | None) -> dict[str, Any]:
    """Where this ran."""
    found: dict[str, Any] = {"device": str(bench.device), "flex_attention": obstacle or "runs"}
    if bench.device.type == "cuda":
        properties = torch.cuda.get_device_properties(bench.device)
        found |= {"device": properties.name, "memory_mib": properties.total_memory // 2**20}
    return {
        **found,
        "policy": "tiny" if bench.tiny else NAME,
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }


def main(
    device: Annotated[str | None, typer.Option(help="cuda or cpu; default: what is here.")] = None,
    tiny: Annotated[bool, typer.Option(help="The tiny policy and small batches.")] = False,
    quick: Annotated[bool, typer.Option(help="The first batches alone.")] = False,
    repeats: Annotated[int, typer.Option(help="Timings of each; the median counts.")] = 3,
    seconds: Annotated[float, typer.Option(help="Begin nothing new after so many.")] = 600,
    out: Annotated[Path | None, typer.Option(help="File that lines of JSON are added to.")] = None,
) -> None:
    """Compare both sides, time them, and write a line of JSON for each result."""
    book = Book(out, time.monotonic() + seconds)
    place = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    bench = Bench(place, tiny, repeats)
    torch.backends.cudnn.allow_tf32 = False  # float32 is to be float32 in the patch embedding too
    model = bench.policy(torch.bfloat16)
    obstacle = flex_obstacle(model.config.get_text_config(), place, torch.bfloat16)
    if obstacle is not None:
        bench = replace(bench, kernels=SIDES[:2])
    book.write(
        what="machine",
        **describe(bench, obstacle),
        parameters=sum(p.numel() for p in model.parameters()),
        ready_after_seconds=round(time.monotonic() - book.until + seconds, 1),
    )
    for side in bench.kernels[1:]:
        book.check("exactness", side, bench.exactness)
        book.check("bfloat16", side, lambda s: bench.half_precision(s, model))
    bench.passes(book, model, QUICK[0])
    bench.rollouts(book, model, ROLLOUTS[0])
    for case in QUICK[1:]:
        bench.passes(book, model, case)
    for learning in ("full", "lora"):
        bench.update(book, model, learning)
    if not quick:
        for case in MORE:
            bench.passes(book, model, case)
        bench.rollouts(book, model, ROLLOUTS[1])
    raise typer.Exit(int(book.disagreed))


if __name__ == "__main__":
    typer.run(main)
