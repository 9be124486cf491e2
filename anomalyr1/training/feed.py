"""What a training run is fed: benchmarks or a mixture of them, and the rows made of them."""

from __future__ import annotations

from pathlib import Path

from transformers import ProcessorMixin

from anomalyr1.config import Config
from anomalyr1.data.mixture import balanced, mix, read_mixture
from anomalyr1.data.mmad import BENCHMARK_NAME, Benchmark
from anomalyr1.errors import InputError
from anomalyr1.exposure import whole
from anomalyr1.policy.family import Family
from anomalyr1.rows import Row, build_rows, open_benchmark, require_files, shuffled
from anomalyr1.schema import Sample

Used = list[tuple[Benchmark, list[Sample]]]


def training_rows(
    config: Config, processor: ProcessorMixin, family: Family
) -> tuple[Used, list[Row]]:
    """What is trained on: each benchmark with its samples in use, repetitions too, and all rows."""
    used = training_samples(config)
    samples = [sample for _, part in used for sample in part]
    types = config.data.question_types
    return used, build_rows(samples, config.prompt, processor, family, question_types=types)


def training_samples(config: Config) -> Used:
    """Each benchmark that is trained on with its samples in use, repetitions too.

    Raises:
        InputError: there is none, or images are missing.
    """
    data = config.data
    if data.mixture is not None:
        used = _mixture(config)
    else:
        benchmark, samples = open_benchmark(
            data.benchmark,
            "data.benchmark",
            config.prompt,
            root=data.root,
            limit=data.limit,
            shots=data.shots,
            shuffle=data.shuffle_options,
            seed=config.seed,
        )
        used = [(benchmark, samples)]
    if data.balance:
        used = [(benchmark, balanced(samples, config.seed)) for benchmark, samples in used]
    return used


def _mixture(config: Config) -> Used:
    """The parts of a mixture, sampled and repeated by weight, every file there."""
    data = config.data
    beside = [key for key in ("benchmark", "limit", "shots") if getattr(data, key) is not None]
    if beside:
        raise InputError(
            "expected data.mixture alone, whose own sampling decides, found "
            f"data.{' and data.'.join(beside)} beside it; set them to null"
        )
    used = []
    for number, part in enumerate(read_mixture(Path(str(data.mixture)))):
        samples = mix([part], seed=config.seed + number)
        require_files(samples, config.prompt, part.path)
        if data.shuffle_options is not None:
            samples = [shuffled(sample, data.shuffle_options) for sample in samples]
        file = part.path / BENCHMARK_NAME if part.path.is_dir() else part.path
        used.append((whole(file, samples), samples))
    return used
