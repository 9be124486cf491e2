"""The shared prefix on CUDA, where other kernels run: the numbers of stock."""

from __future__ import annotations

import pytest
import torch
from tiny_trainer import SMALL, WIDE, batch, dataset, make_trainer

from anomalyr1.config import Config, EvalConfig, PolicyConfig
from anomalyr1.evaluation.predict import predict_benchmark

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


def on_cuda(value):
    return value.cuda() if isinstance(value, torch.Tensor) else value


@pytest.mark.parametrize("flex", [False, True])
@pytest.mark.parametrize("half", [False, True])
def test_log_probabilities_and_gradients(half, flex, tiny_policy, tmp_path):
    results = []
    for shared in (False, True):
        data = dataset([[SMALL, WIDE], [WIDE]])
        run = make_trainer(
            tiny_policy,
            tmp_path,
            data,
            shared=shared,
            use_cpu=False,
            bf16=half,
            trainer_options={"flex": shared and flex},
        )
        assert run.sharing.flex is (shared and flex)
        run.model.train()
        tokens, attention, width, vision = batch(run, data, [9, 4, 1, 7, 9, 2])
        tokens, attention = tokens.cuda(), attention.cuda()
        with torch.autocast("cuda", torch.bfloat16, enabled=half):
            logps, _, _ = run._get_per_token_logps_and_entropies(
                run.model,
                tokens,
                attention,
                width,
                **{name: on_cuda(value) for name, value in vision.items()},
            )
        (logps * attention[:, -width:]).sum().backward()
        gradient = torch.cat([p.grad.flatten() for p in run.model.parameters()])
        results.append(((logps * attention[:, -width:]).detach(), gradient))
    (a, ga), (b, gb) = results
    torch.testing.assert_close(a, b, rtol=0, atol=0.1 if half else 1e-3)
    assert (ga - gb).norm() <= (0.1 if half else 1e-2) * ga.norm()


def test_training_runs(tiny_policy, tmp_path):
    run = make_trainer(
        tiny_policy, tmp_path, dataset([[SMALL], [WIDE]]), use_cpu=False, bf16=True, max_steps=2
    )
    run.train()
    assert run.sharing.logps and run.sharing.rollout
    assert all(torch.isfinite(weight).all() for weight in run.model.parameters())


def test_an_evaluation_answers_there(tiny_policy, toy_benchmark, tmp_path):
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    config = Config(
        run_dir=str(tmp_path),
        policy=PolicyConfig(path=str(tiny_policy), max_pixels=12544),
        eval=EvalConfig(benchmark=str(toy_benchmark), max_new_tokens=8),
    )
    predict_benchmark(config)
    assert torch.cuda.max_memory_allocated() > before
