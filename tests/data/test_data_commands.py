import json
import shutil

import pytest
import source_trees as trees
from commands import invoke

from anomalyr1.cli.data import app
from anomalyr1.errors import InputError

VERBS = ("build", "boxes", "synth", "split", "check", "stats", "export")


def run(*arguments):
    return invoke(app, *arguments)


@pytest.fixture
def bench(tmp_path, mvtec_benchmark):
    return shutil.copytree(mvtec_benchmark, tmp_path / "b")


@pytest.mark.parametrize("verb", VERBS)
def test_help_has_an_example(verb):
    result = run(verb, "--help")
    assert result.exit_code == 0 and f"anomalyr1 data {verb}" in " ".join(result.output.split())


def test_build_says_what_it_made(tmp_path):
    result = run(
        "build",
        "coco",
        trees.coco(tmp_path / "c"),
        "--out",
        tmp_path / "b",
        "--set",
        "category=pan",
    )
    assert "3 images, 1 normal, 2 abnormal, 3 boxes" in result.output
    assert (tmp_path / "b/mmad.json").exists()


def test_build_says_what_it_read_as_what(tmp_path):
    root = trees.own_folder(tmp_path / "p")
    (root / "good").rename(root / "Normal")
    result = run("build", "folder", root, "--out", tmp_path / "b", "--set", "category=gear")
    assert result.exit_code == 0
    lines = result.output.splitlines()
    assert "labels read as normal: Normal (5)" in lines
    assert "labels read as defects: dent (2), scratch (1)" in lines
    with pytest.raises(InputError, match="--set category=\\.\\.\\. once"):
        run("build", "folder", root, "--out", "x", "--set", "category=a", "--set", "category=b")


def test_roots_and_groups_of_check_stats_and_split(bench, tmp_path):
    """The benchmark's own folder is moved away; --root says where the images are."""
    (tmp_path / "j").mkdir()
    (bench / "mmad.json").rename(tmp_path / "j/mmad.json")
    alone = tmp_path / "j"
    result = run("check", alone)
    assert result.exit_code == 1 and "files of this folder are missing" in result.output
    assert run("check", alone, "--root", bench).exit_code == 0
    assert run("stats", alone, "--root", bench).exit_code == 0
    group = r"group=(\d+)\.png"
    split = ("split", alone, "--root", bench, "--out", tmp_path / "s", "--set", group)
    assert run(*split).exit_code == 0
    result = run("check", tmp_path / "s", "--set", group)
    assert result.exit_code == 0, result.output
    with pytest.raises(InputError, match="a key of --set out of group, found 'rename'"):
        run("check", alone, "--set", "rename=a:b")


def test_check_passes_and_fails(bench):
    result = run("check", bench)
    assert result.exit_code == 0 and "0 errors" in result.output
    (bench / "MVTec-AD/bottle/test/crack/000.png").unlink()
    result = run("check", bench)
    assert result.exit_code == 1 and "1 errors" in result.output
    listed = json.loads(run("check", bench, "--json").stdout)
    assert [f["image"] for f in listed] == ["MVTec-AD/bottle/test/crack/000.png"]


def test_split_and_split_like(bench, tmp_path):
    assert run("split", bench, "--out", tmp_path / "s", "--k-shot", 1).exit_code == 0
    again = run(
        "split", bench, "--out", tmp_path / "t", "--like", tmp_path / "s/test/manifest.json"
    )
    assert again.exit_code == 0 and "bit for bit" in again.output
    with pytest.raises(InputError, match="expected the benchmark that"):
        run(
            "split",
            tmp_path / "s/train",
            "--out",
            tmp_path / "u",
            "--like",
            tmp_path / "s/test/manifest.json",
        )


def test_synth_stats_and_export(tmp_path):
    run("synth", "--out", tmp_path / "s", "--train", 6, "--test", 6, "--size", 56)
    result = run("stats", tmp_path / "s/train", "--out", tmp_path / "stats.png")
    assert result.exit_code == 0 and (tmp_path / "stats.png").exists()
    assert "Gold letters" in result.output
    result = run("export", tmp_path / "s/train", "--out", tmp_path / "e", "--format", "ms-swift")
    assert result.exit_code == 0 and (tmp_path / "e/rows.jsonl").exists()


def test_stats_counts_prompt_tokens(toy_benchmark, tiny_policy):
    result = run("stats", toy_benchmark, "--policy", tiny_policy, "--max-prompt-tokens", 50)
    assert result.exit_code == 0, result.output
    assert "Prompt tokens" in result.output and "Rows over budget" in result.output


@pytest.mark.parametrize(
    "arguments",
    [
        ("build", "mvtec", "nowhere", "--out", "x"),
        ("build", "unknown", ".", "--out", "x"),
        ("build", "elpv"),
        ("build", "elpv", "--out", "x", "--set", "defect_min"),
        ("split", "nowhere", "--out", "x"),
        ("check", "nowhere"),
        ("stats", "nowhere"),
        ("export", "nowhere", "--out", "x"),
        ("synth", "--out", "x", "--train", "0"),
    ],
)
def test_mistakes_are_input_errors(tmp_path, monkeypatch, arguments):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="expected"):
        run(*arguments)


def test_build_with_domain_knowledge(tmp_path):
    knowledge = {"MVTec": {"bottle": {"good": "Fine.", "crack": "A line.", "hole": "An opening."}}}
    (tmp_path / "k.json").write_text(json.dumps(knowledge))
    root = trees.mvtec(tmp_path / "source", ("bottle",))
    run("build", "mvtec", root, "--out", tmp_path / "b", "--knowledge", tmp_path / "k.json")
    records = json.loads((tmp_path / "b/mmad.json").read_text())
    types = {q["type"] for record in records.values() for q in record["conversation"]}
    assert "Defect Description" in types
