"""Training rows of VLM-R1 or ms-swift as a benchmark: their questions, their images, their boxes.

FILE is a .jsonl (or a .json list) of rows, or VLM-R1's data.yaml, whose sampling_strategy counts
images and whose weight is refused. Images are named relative to `images` (default: the file's
folder, or what data.yaml says), or absolutely.

An image keeps its key where the key has the form <dataset>/<product>/... and says what the answers
say ("good" for a normal one). Others are placed under <dataset>/<product>/test/<verdict>/, the
verdict being good, the label of the boxes, defect, or unjudged where no answer tells it. Licence
and citation are the user's.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from anomalyr1.data.fault_lists import refusal
from anomalyr1.data.fingerprint import Fingerprint, file_sha256, fingerprint_of
from anomalyr1.data.images import mask_file, open_image, read_mask
from anomalyr1.data.making.placing import place_file, safe_name, two_files
from anomalyr1.data.making.row_samples import read_samples
from anomalyr1.data.making.sources.image_names import files_in
from anomalyr1.data.manifest import make_manifest
from anomalyr1.data.many_cores import over_files
from anomalyr1.data.mmad import write_benchmark
from anomalyr1.errors import InputError, unknown
from anomalyr1.output_folder import new_folder, require_new
from anomalyr1.schema import ANOMALY_DETECTION, Question, Sample

Progress = Callable[[Iterable[Path]], Iterable[Path]]
ROW_FORMS = ("vlm-r1", "ms-swift")
SETTINGS = ("images", "boxes", "dataset", "category")

_TURNED = re.compile(
    r"\b(no|not|free|without|normal|intact|good|flawless|perfect|undamaged|ok|acceptable|order)\b",
    re.I,
)


@dataclass(frozen=True, slots=True)
class _Placed:
    """Where the files of one sample go."""

    sample: Sample
    key: str
    mask: str | None
    references: tuple[str, ...]


def build_from_rows(
    file: Path,
    out: Path,
    form: str,
    settings: Mapping[str, str] | None = None,
    *,
    progress: Progress = iter,
) -> Path:
    """Write the benchmark that rows make.

    Args:
        file: rows, or VLM-R1's data.yaml.
        out: folder to write to; empty or new.
        form: "vlm-r1" or "ms-swift", for the manifest; a row's own form decides how it is read.
        settings: images=DIR, boxes=pixels|unit|thousand, dataset=NAME, category=NAME.
        progress: wraps the loop over images.

    Returns:
        The JSON file.

    Raises:
        InputError: rows or images cannot be used.
    """
    settings = dict(settings or {})
    for key in sorted(settings.keys() - set(SETTINGS)):
        raise unknown(f"a setting of {form}", key, SETTINGS)
    require_new(out)
    dataset = safe_name(settings.get("dataset") or file.stem)
    category = safe_name(settings.get("category") or "product")
    samples = read_samples(file, settings)
    keys = {s.image: _key(s, dataset, category) for s in samples}
    placed = [_place(s, keys, dataset, category) for s in samples]
    files: dict[str, Path] = {}
    for one in placed:
        wanted = {one.key: one.sample.path}
        wanted |= {
            keys.get(old) or _reference_key(old, dataset, category): one.sample.root / old
            for old in one.sample.random_templates
        }
        for key, path in wanted.items():
            if files.setdefault(key, path) != path:
                raise two_files(key, files[key], path)
    prints = _prints(files, placed, progress)
    written = [
        replace(
            one.sample,
            image=one.key,
            root=out,
            mask=one.mask,
            random_templates=one.references,
        )
        for one in placed
    ]
    used = {key for s in written for key in (s.image, *s.random_templates)}
    manifest = make_manifest(
        written,
        {key: prints[key] for key in used},
        root=".",
        source={"name": form, "licence": "the user's", "citation": "the user's", "url": ""},
        options={**settings, "rows": file.name},
        seed=0,
    )
    with new_folder(out):
        for key in sorted(used):
            place_file(files[key], out / key)
        for one in placed:
            if one.mask is not None:
                _place_mask(one, out / one.mask)
        return write_benchmark(out, written, manifest=manifest)


def looks_like(root: Path, form: str) -> str | None:
    """What there is of one of the two forms in ROOT (a file or a folder), in words."""
    name = "conversations" if form == "vlm-r1" else "messages"
    files = files_in(root, "*.jsonl", "*.y*ml") if root.is_file() else files_in(root, "*.jsonl")
    found = []
    for file in files:
        if form == "vlm-r1" and file.suffix in (".yaml", ".yml"):
            found += [file.name] if b"json_path" in file.read_bytes() else []
        if file.suffix != ".jsonl":
            continue
        with file.open("rb") as stream:
            head = stream.readline(1 << 20)
        found += [file.name] if f'"{name}"'.encode() in head and b'"image' in head else []
    return f"rows of {form} in {', '.join(found)}" if found else None


def row_file(root: Path, form: str) -> Path:
    """The file of rows: ROOT itself, or the only one in it.

    Raises:
        InputError: there is none or several.
    """
    if root.is_file():
        return root
    files = [f for f in files_in(root, "*.jsonl") if looks_like(f, form)]
    if len(files) != 1:
        found = ", ".join(f.name for f in files) or "none"
        raise InputError(f"expected a file of rows of {form} at {root}, found {found}; name it")
    return files[0]


def _key(sample: Sample, dataset: str, category: str) -> str:
    verdict = _verdict(sample)
    parts = sample.image.split("/")
    agrees = {"good": sample.is_normal, "unjudged": True}.get(verdict, not sample.is_normal)
    if len(parts) > 2 and agrees and "good" not in parts[:2]:
        return sample.image
    name = safe_name("_".join(part for part in parts if part != "good") or parts[-1])
    return f"{dataset}/{category}/test/{verdict}/{name}"


def _verdict(sample: Sample) -> str:
    """good, the type of the defect, defect, or unjudged.

    Raises:
        InputError: answers contradict each other.
    """
    said = {verdict for question in sample.questions if (verdict := _says(question)) is not None}
    if sample.boxes is not None:
        said.add(not sample.boxes)
    if len(said) > 1:
        raise InputError(
            f"expected answers about {sample.image} that agree on whether it is defective, found "
            "both; mend its rows"
        )
    if not said:
        return "unjudged"
    if said == {True}:
        return "good"
    labels = {box.label for box in sample.boxes or () if box.label}
    return safe_name(labels.pop().replace(" ", "_")) if len(labels) == 1 else "defect"


def _says(question: Question) -> bool | None:
    """True where the answer says normal, False for defective, None where it tells neither."""
    if question.is_grounding or question.type != ANOMALY_DETECTION:
        return False if question.presupposes_defect else None
    answer = question.options[str(question.answer)].strip().rstrip(".").casefold()
    if answer not in ("yes", "no") or _TURNED.search(question.text):
        return None
    return answer == "no"


def _place(sample: Sample, keys: Mapping[str, str], dataset: str, category: str) -> _Placed:
    key = keys[sample.image]
    mask = sample.mask
    if mask is not None and key != sample.image:
        product = "/".join(key.split("/")[:2])
        mask = f"{product}/ground_truth/{Path(key).parent.name}/{Path(key).stem}_mask.png"
    references = (
        keys.get(r) or _reference_key(r, dataset, category) for r in sample.random_templates
    )
    return _Placed(sample, key, mask, tuple(r for r in references if "good" in r.split("/")))


def _reference_key(image: str, dataset: str, category: str) -> str:
    parts = image.split("/")
    if len(parts) > 2 and "good" in parts[2:]:
        return image
    return f"{dataset}/{category}/train/good/{safe_name('_'.join(parts))}"


def _prints(
    files: Mapping[str, Path], placed: Sequence[_Placed], progress: Progress
) -> dict[str, Fingerprint]:
    """The fingerprint of every image; all files are opened before anything is written."""
    paths, faults = list(files.values()), []
    found: dict[Path, Fingerprint] = {}
    for path, result in over_files(_print, paths, progress):
        if isinstance(result, InputError):
            faults.append(str(result))
        else:
            found[path] = result
    for one in placed:
        try:
            if one.sample.mask is not None:
                read_mask(one.sample.root / one.sample.mask)
        except InputError as fault:
            faults.append(str(fault))
    if faults:
        raise refusal("{} file{s} cannot be used; mend them:", faults)
    return {key: found[path] for key, path in files.items()}


def _print(path: Path) -> Fingerprint:
    return fingerprint_of(open_image(path), file_sha256(path))


def _place_mask(one: _Placed, target: Path) -> None:
    source = mask_file(one.sample.root / str(one.sample.mask))
    assert source is not None  # read_mask has opened it
    if source.is_dir():
        for file in sorted(source.iterdir()):
            place_file(file, target / file.name)
    else:
        place_file(source, target)
