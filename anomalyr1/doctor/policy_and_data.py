"""What a config reads: the policy, the benchmarks, the checkpoint of the segmenter."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from huggingface_hub import constants, snapshot_download

from anomalyr1.config import Config, PolicyConfig, PromptConfig
from anomalyr1.doctor.lines import Line, count, refused
from anomalyr1.errors import InputError
from anomalyr1.policy.family import FAMILIES, QWEN2_5_VL, Family, family_of
from anomalyr1.policy.hub import could_be_hub_id
from anomalyr1.schema import Sample
from anomalyr1.segmentation.names import PUBLISHED
from anomalyr1.storage import read_json

Progress = Callable[[Iterable[str]], Iterable[str]]


@dataclass(frozen=True)
class _Asking:
    """How a run asks: what is shown, through which processor to which family, which questions."""

    prompt: PromptConfig
    reader: tuple[Any, Family] | None
    types: Sequence[str] | None

    def try_on(self, samples: Sequence[Sample]) -> None:
        """Raise InputError where the policy, if it is here, could not be asked these questions."""
        from anomalyr1.refusals import refuse, refused_rows, require_askable

        processor, family = self.reader or (None, None)
        if family is not None:
            require_askable(samples, self.prompt, family, self.types)
        refuse(refused_rows(samples, self.prompt, processor, question_types=self.types))


def input_lines(config: Config, progress: Progress = iter) -> tuple[list[Line], int]:
    """A line for each thing a run would read, and the bytes of weights that it would train.

    Nothing is downloaded: of a hub id it is said whether a copy is here.
    """
    lines, size = _policy(config.policy)
    lines += _benchmarks(config, _reader(config.policy), progress)
    if config.eval.benchmark is not None:
        lines.append(_segmentation(config))
    return lines, size


def _policy(policy: PolicyConfig, name: str = "policy.path") -> tuple[list[Line], int]:
    from transformers import AutoConfig

    from anomalyr1.policy.adapters import ADAPTER_CONFIG, read_adapter_config
    from anomalyr1.policy.load import load_processor

    folder = _local(policy.path, policy.revision)
    if folder is None:
        return [_not_here(name, policy.path, "policy.path")], 0
    try:
        load_processor(replace(policy, path=str(folder), revision=None))
    except InputError as error:
        return [refused(name, error)], 0
    if (folder / ADAPTER_CONFIG).is_file():
        if policy.lora is not None:
            found = f"{policy.path} is an adapter, and policy.lora asks for another on top"
            advice = f"anomalyr1 merge {policy.path} --out FOLDER, and start from that"
            return [Line(name, "problem", found, advice)], 0
        try:
            base = read_adapter_config(folder)["base_model_name_or_path"]
        except InputError as error:
            return [refused(name, error)], 0
        below = _base(base, policy.revision)
        return [Line(name, "ok", f"{policy.path}: an adapter of {base}"), below], 0
    try:
        kind = AutoConfig.from_pretrained(str(folder), trust_remote_code=False).model_type
    except Exception as error:  # whatever a library says of a file cut off or of another form
        found = f"{policy.path} has no config that loads ({_first_line(error)})"
        return [Line(name, "problem", found, "fetch or save it again")], 0
    return _weights(name, policy.path, folder, kind)


def _base(path: str, revision: str | None) -> Line:
    """The model below an adapter; its processor is not used."""
    folder = _local(path, revision)
    if folder is None:
        return _not_here("its base", path, "base_model_name_or_path of the adapter")
    (line,), _ = _weights("its base", path, folder, "")
    return line


def _weights(name: str, path: str, folder: Path, kind: str) -> tuple[list[Line], int]:
    """Whether every file of the weights is there and whole."""
    from safetensors import SafetensorError, safe_open

    index = folder / "model.safetensors.index.json"
    names = ["model.safetensors"]
    if index.is_file():
        try:
            names = sorted(set(read_json(index, "an index of weights")["weight_map"].values()))
        except InputError as error:
            return [refused(name, error)], 0
        except (KeyError, TypeError, AttributeError):
            found = f"{index} has no `weight_map`"
            return [Line(name, "problem", found, "fetch or save the weights again")], 0
    size = 0
    for number, shard in enumerate(names, start=1):
        try:
            with safe_open(folder / shard, framework="numpy"):
                size += (folder / shard).stat().st_size
        except (OSError, SafetensorError) as error:
            found = f"{path}: {shard} ({number} of {len(names)}) cannot be read ({error})"
            return [Line(name, "problem", found, "fetch or save the weights again")], 0
    found = f"{path}: {kind}{', ' if kind else ''}{_amount(size)} of weights"
    family = family_of(kind) if kind else QWEN2_5_VL
    if family.unit is None:
        known = " and ".join(known.name for known in FAMILIES)
        advice = f"it answers with letters alone and shares no prompts, as {known} do; try it first"
        return [Line(name, "note", found, advice)], size
    return [Line(name, "ok", found)], size


def _reader(policy: PolicyConfig) -> tuple[Any, Family] | None:
    """Processor and family of the policy, to look at questions with; None where it is not here."""
    from anomalyr1.policy.load import load_processor, read_family

    folder = _local(policy.path, policy.revision)
    if folder is None:
        return None
    section = replace(policy, path=str(folder), revision=None)
    try:
        return load_processor(section), read_family(section)
    except InputError:
        return None


def _benchmarks(
    config: Config, reader: tuple[Any, Family] | None, progress: Progress
) -> list[Line]:
    """Every benchmark that the config names, the parts of a mixture among them."""
    data, asked = config.data, config.eval
    named = [
        ("data.benchmark", data.benchmark, data.root, data.question_types),
        ("data.heldout", data.heldout, data.root, data.question_types),
        ("eval.benchmark", asked.benchmark, asked.root, asked.question_types),
    ]
    lines = [
        _benchmark(key, path, root, _Asking(config.prompt, reader, types), progress)
        for key, path, root, types in named
        if path
    ]
    if all(line.status == "ok" for line in lines if line.name.startswith("data.")):
        lines += _shared_images(config)
    if data.mixture is not None:
        asking = _Asking(config.prompt, reader, data.question_types)
        lines += _mixture(data.mixture, asking, progress)
    if not lines:
        advice = "data.benchmark=FOLDER to train, eval.benchmark=FOLDER to evaluate"
        lines.append(Line("benchmark", "problem", "the config names none", advice))
    return lines


def _mixture(mixture: str, asking: _Asking, progress: Progress) -> Iterator[Line]:
    from anomalyr1.data.conversations import read_rows
    from anomalyr1.data.mixture import holds_rows, read_mixture

    try:
        for part in read_mixture(Path(mixture)):
            if holds_rows(part):
                root = part.image_root or part.path.parent
                samples = read_rows(part.path, root, frame=part.frame)
                asking.try_on(samples)
                found = f"{part.path}: {len(samples)} images in exported rows"
                yield Line("data.mixture", "ok", found)
            else:
                yield _benchmark("data.mixture", str(part.path), None, asking, progress)
    except InputError as error:
        yield refused("data.mixture", error)


def _benchmark(key: str, path: str, root: str | None, asking: _Asking, progress: Progress) -> Line:
    """What stops a run, or what `data check` finds. A root given here is not the check's."""
    from anomalyr1.data.checking.check import check_benchmark
    from anomalyr1.rows import open_benchmark

    try:
        _, samples = open_benchmark(path, key, asking.prompt, root=root)
        asking.try_on(samples)
        if root is not None:
            return Line(key, "ok", f"{path}: {len(samples)} images, every file under {root}")
        findings = check_benchmark(path, near_bits=-1, progress=progress)
    except InputError as error:
        return refused(key, error)
    errors = [finding for finding in findings if finding.level == "error"]
    found = f"{path}: {count(len(samples), 'image')}, {count(len(errors), 'error')} in data check"
    if errors:
        found += f" (the first: {errors[0].image}: {errors[0].message})"
        return Line(key, "problem", found, f"anomalyr1 data check {path} lists all of them")
    return Line(key, "ok", found)


def _shared_images(config: Config) -> Iterator[Line]:
    """A line where held-out images are trained on."""
    from anomalyr1.training.feed import training_samples
    from anomalyr1.training.heldout import heldout_samples

    if config.data.heldout is None:
        return
    try:
        used = training_samples(config)
    except InputError:  # which has a line of its own
        return
    try:
        heldout_samples(config, used)
    except InputError as error:
        yield refused("data.heldout", error)


def _segmentation(config: Config) -> Line:
    name, chosen = "segmentation", config.segmentation
    checkpoint = chosen.checkpoint or PUBLISHED.get(chosen.kind)
    if checkpoint is None or chosen.kind not in PUBLISHED:
        return Line(name, "ok", f"{chosen.kind}: nothing to load")
    form = "*.pt" if chosen.kind == "sam2" else "*.safetensors"
    folder = _local(checkpoint, None)
    files = [Path(checkpoint)] if folder is None else sorted(folder.glob(form))
    if len(files) == 1 and files[0].match(form) and files[0].is_file():
        size = _amount(files[0].stat().st_size)
        return Line(name, "ok", f"{chosen.kind}: {files[0].name}, {size}")
    if folder is not None:
        found = f"{len(files)} {form[1:]} files in {checkpoint}"
        return Line(name, "problem", found, "name one of them in segmentation.checkpoint")
    return _not_here(name, checkpoint, "segmentation.checkpoint")


def _local(path: str, revision: str | None) -> Path | None:
    """The folder itself, or the copy of a hub id in the cache; None where there is neither."""
    if Path(path).is_dir():
        return Path(path)
    try:
        return Path(snapshot_download(path, revision=revision, local_files_only=True))
    except (OSError, ValueError):  # not in the cache, or no hub id
        return None


def _not_here(name: str, path: str, key: str) -> Line:
    """A hub id can be fetched, a folder cannot."""
    if not could_be_hub_id(path):
        return Line(name, "problem", f"nothing at {path}", f"correct {key}, or make it first")
    advice = f"hf download {path}, or correct {key}"
    if constants.HF_HUB_OFFLINE:
        return Line(name, "problem", f"{path} is not here, and HF_HUB_OFFLINE is set", advice)
    return Line(name, "note", f"{path} is not here; a run would fetch it from the hub", advice)


def _amount(size: int) -> str:
    """Bytes for people.

    >>> _amount(7_500_000_000), _amount(10_400_000)
    ('7.5 GB', '10 MB')
    """
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
