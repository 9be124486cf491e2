"""Seeded damage to every file of a tree: it is built, warned of or refused by name, never more."""

import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest
import source_trees as trees
from case_trees import box_entry, coco, dump, image_entry, marked, photo

from anomalyr1.data.checking.check import check_benchmark
from anomalyr1.data.making.builder import build_benchmark
from anomalyr1.data.making.sources.catalogue import read_source
from anomalyr1.errors import InputError

ROUNDS = 40


def folder_tree(root: Path) -> Path:
    for n in range(4):
        photo(root / "train/OK" / f"{n}.png", (48, 40), seed=n)
        photo(root / "test/OK" / f"{n}.jpg", (48, 40), seed=10 + n)
        photo(root / "test/dent" / f"{n}.png", (48, 40), seed=20 + n)
        marked(root / "ground_truth/dent" / f"{n}_mask.png", (10, 10, 20, 20), (48, 40))
    dump(root / "boxes.json", {"test/dent/0.png": [[10, 10, 20, 20, "größer"]]})
    return root


def coco_tree(root: Path) -> Path:
    for side in ("train", "test"):
        for n in range(4):
            photo(root / side / f"{n}.png", (48, 40), seed=n + len(side))
        images = [image_entry(n, f"{n}.png", (48, 40)) for n in range(4)]
        entries = [
            box_entry(n, n, [5, 5, 20, 20], segmentation=[[5, 5, 25, 5, 9, 25]]) for n in (0, 1)
        ]
        dump(root / "annotations" / f"{side}.json", coco(images, entries, ("größer",)))
    return root


TREES = {
    "folder": folder_tree,
    "coco": coco_tree,
    "visa": trees.visa_raw,
    "real-iad": trees.real_iad,
    "deeppcb": trees.deeppcb,
    "magnetic-tile": trees.magnetic_tile,
    "elpv": trees.elpv,
}


def damage(path: Path, others: list[Path], rng: np.random.Generator) -> None:
    content = path.read_bytes()
    cut = int(rng.integers(0, len(content) + 1))
    match int(rng.integers(0, 9)):
        case 0:
            path.write_bytes(content[:cut])
        case 1:
            path.write_bytes(b"")
        case 2:
            path.write_bytes(content[:cut] + rng.bytes(8) + content[cut + 8 :])
        case 3:
            path.write_bytes(others[int(rng.integers(len(others)))].read_bytes())
        case 4:
            path.rename(path.with_name(f"x{path.name}"))
        case 5:
            path.rename(path.with_name("._" + path.name))
        case 6:
            text = content.decode("utf-8", "replace")
            path.write_bytes(text.encode(("utf-16", "cp1252", "gbk")[cut % 3], "replace"))
        case 7:
            path.unlink()
            path.mkdir()
        case 8:  # one character of a text, or one byte of an image, for another
            path.write_bytes(
                content[:cut] + b'{}[]",:0-e'[cut % 10 : cut % 10 + 1] + content[cut + 1 :]
            )


@pytest.mark.parametrize("name", TREES)
def test_damage_is_named(tmp_path, name):
    """No Python error gets out, and what is refused leaves no folder."""
    whole = TREES[name](tmp_path / "whole")
    rng = np.random.default_rng(sum(name.encode()))
    built = refused = 0
    for turn in range(ROUNDS):
        root, out = tmp_path / f"r{turn}", tmp_path / f"o{turn}"
        shutil.copytree(whole, root)
        files = sorted(path for path in root.rglob("*") if path.is_file())
        texts = [path for path in files if path.suffix in (".json", ".csv", ".txt")]
        chosen = [files[int(rng.integers(len(files)))]]
        if texts and turn % 2:
            chosen = [texts[int(rng.integers(len(texts)))]]
        for path in chosen:
            damage(path, files, rng)
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)  # nor does a warning of PIL's
            try:
                build_benchmark(read_source(name, root), out)
            except InputError as error:
                refused += 1
                assert not out.exists() and str(error)
                assert not any(
                    word in str(error) for word in ("KeyError", "TypeError", "InputError")
                )
                continue
        built += 1
        found = check_benchmark(out)
        assert not [
            f for f in found if f.level == "error" and f.kind not in ("duplicate", "mask")
        ], (
            turn,
            found,
        )
    assert built and refused


def test_a_damaged_benchmark_is_checked(tmp_path):
    whole = tmp_path / "whole"
    build_benchmark(read_source("folder", folder_tree(tmp_path / "p")), whole)
    rng = np.random.default_rng(5)
    for turn in range(ROUNDS):
        root = tmp_path / f"r{turn}"
        shutil.copytree(whole, root)
        files = sorted(path for path in root.rglob("*") if path.is_file())
        path = files[int(rng.integers(len(files)))] if turn % 2 else root / "mmad.json"
        damage(path, files, rng)
        try:
            check_benchmark(root)
        except InputError as error:
            assert str(root) in str(error)
