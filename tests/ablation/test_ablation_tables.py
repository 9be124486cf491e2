"""The tables and plots of an ablation against figures worked out by hand and by twins."""

from __future__ import annotations

import csv
import itertools
import re
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from pathlib import Path
from statistics import fmean, stdev
from types import SimpleNamespace

import numpy as np
import pytest
from made_runs import HISTORY, left

from anomalyr1.ablation.contrasts import Cell, Contrast, Line, summarize
from anomalyr1.ablation.grid import Ablation, Run, Scale
from anomalyr1.ablation.latex import latex
from anomalyr1.ablation.outputs import files_of, unlike_baseline, write_outputs
from anomalyr1.ablation.plots import bars, curves, mean_history, scale_curves
from anomalyr1.ablation.results import Result, read_result, write_result
from anomalyr1.ablation.run_answers import Answers
from anomalyr1.ablation.table import comma_separated, markdown
from anomalyr1.evaluation.figures import FIGURES
from anomalyr1.metrics.significance import SignFlips
from anomalyr1.storage import write_json

SOURCE = Path("configs/terms.yaml")


def result(variant: str, seed: int, seconds: float = 90.0, **measures: float) -> Result:
    named = {name.replace("_", " "): value for name, value in measures.items()}
    return Result(variant, seed, f"{variant}{seed}", seconds=seconds, measures=named)


RESULTS = [
    result("roam", 0, reward=1.0, accuracy=0.5, strict_accuracy=60.0, steps=12.0),
    result("roam", 1, reward=2.0, accuracy=0.7, strict_accuracy=64.0, steps=12.0),
    result("paper", 0, reward=0.5, iou=0.25, strict_accuracy=57.0, unreadable=12.5, steps=12.0),
    Result("paper", 1, "d", stage="train", message="error: out | of memory"),
]


def test_the_tables_by_hand():
    lines = summarize(RESULTS, "roam")
    shown = markdown(lines, SOURCE, "roam").splitlines()
    assert shown[:4] == ["# terms", "", "`anomalyr1 ablate configs/terms.yaml`", ""]
    assert shown[4:8] == [
        "| variant | seeds | strict accuracy | unreadable | failed |",
        "| --- | ---: | ---: | ---: | --- |",
        "| roam | 2/2 | 62.0 ± 2.8 | - |  |",  # sd with n - 1: sqrt(2 * 2^2)
        r"| paper | 1/2 | 57.0 | 12.5 | seed 1: train: error: out \| of memory |",
    ]
    assert shown[9:13] == [
        "| variant | seeds | reward | accuracy | iou | steps | minutes |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
        "| roam | 2/2 | 1.500 ± 0.707 | 0.600 ± 0.141 | - | 12 ± 0 | 1.5 ± 0.0 |",
        "| paper | 1/2 | 0.500 | - | 0.250 | 12 | 1.5 |",
    ]
    against = shown.index("## Against roam")
    assert shown[against + 2 : against + 6] == [
        "| measure | variant | difference | 95 % interval | p | detectable |",
        "| --- | --- | ---: | ---: | ---: | ---: |",
        "| strict accuracy | paper | -3.0 | - | 1 | - |",  # seed 0 alone: 57 - 60
        "| reward | paper | -0.500 | - | 1 | - |",
    ]
    assert "smallest p that can be reached is 1 with 1 seed." in "\n".join(shown)


def test_the_table_for_programs_has_every_digit():
    lines = summarize(RESULTS, "roam")
    [roam, paper] = csv.DictReader(comma_separated(lines).splitlines())
    assert (paper["variant"], paper["finished"], paper["tried"]) == ("paper", "1", "2")
    assert float(roam["reward sd"]) == pytest.approx(0.5**0.5) and paper["reward sd"] == ""
    assert roam["reward difference"] == "" and float(paper["reward difference"]) == -0.5
    assert float(paper["reward p"]) == 1 and paper["reward difference low"] == ""
    assert paper["failed"] == "seed 1: train: error: out | of memory"
    assert all(None not in row and None not in row.values() for row in (roam, paper))


def test_the_table_for_papers_is_whole_latex():
    lines = summarize(RESULTS, "roam")
    clear = Contrast(-3.0, 2, SignFlips(0.5, 0.5), (-5.0, -1.0), 2.8)
    cell = Cell(57.0, None, None, (57.0,), clear)
    lines[1] = Line("pa_per 50%", 1, 2, {**lines[1].cells, "strict accuracy": cell}, ())
    text = latex(lines, SOURCE, "roam")
    tabulars = re.findall(r"\\begin\{tabular\}\{([lr]+)\}\n(.*?)\\end\{tabular\}", text, re.S)
    assert [form for form, _ in tabulars] == ["lrrr", "lrrrrrr", "llrrrr"]
    for form, body in tabulars:
        for row in body.strip().splitlines():
            cells = re.split(r"(?<!\\)&", row.removesuffix(r" \hline").removesuffix(r"\\"))
            assert len(cells) == len(form), row
    assert r"pa\_per 50\% & 1/2 & 57.0 &" in text
    assert r"$-3.0$ & \textbf{$-5.0$ to $-1.0$} & 0.5 & 2.8 \\" in text
    assert r"95 \% interval" in text and r"62.0 $\pm$ 2.8" in text


@pytest.fixture
def two_variants(tmp_path) -> tuple[list[Result], Answers]:
    """Three seeds each, ten images, of which so many are answered rightly."""
    right = {("roam", 0): 4, ("roam", 1): 5, ("roam", 2): 3,
             ("paper", 0): 6, ("paper", 1): 8, ("paper", 2): 3}  # fmt: skip
    folders = {
        (variant, seed): left(tmp_path / f"{variant}-{seed}", number)
        for (variant, seed), number in right.items()
    }
    answers = Answers(folders)
    results = [
        Result(v, seed, f"{v}{seed}", measures={**answers.of(folder).values, "reward": seed + 0.5})
        for (v, seed), folder in folders.items()
    ]
    return results, answers


def test_a_contrast_is_that_of_a_twin_that_counts_one_by_one(two_variants):
    """Accuracy is 10 points an image; the pairs differ by 2, 3 and 0 images."""
    lines = {line.variant: line for line in summarize(*two_variants[:1], "roam", two_variants[1])}
    cell = lines["paper"].cells["strict accuracy"]
    assert cell.mean == pytest.approx(fmean([60, 80, 30])) and cell.contrast.pairs == 3
    assert cell.sd == pytest.approx(stdev([60, 80, 30]))
    drawn = np.random.default_rng(0).integers(10, size=(1000, 10))
    right = {"roam": (4, 5, 3), "paper": (6, 8, 3)}
    means = {
        variant: np.array([fmean(100 * np.mean(row < n) for n in of_seeds) for row in drawn])
        for variant, of_seeds in right.items()
    }
    differences = means["paper"] - means["roam"]
    assert cell.contrast.difference == pytest.approx(50 / 3)
    assert cell.contrast.ends == pytest.approx(tuple(np.percentile(differences, [2.5, 97.5])))
    assert cell.contrast.detectable == pytest.approx(2.8015852 * differences.std(ddof=1))
    low, high = cell.ends
    assert low < cell.mean < high
    assert high - low == pytest.approx(2 * 1.96 * means["paper"].std(), rel=0.1)
    flips = [
        abs(sum(sign * d for sign, d in zip(signs, (20, 30, 0), strict=True))) >= 50
        for signs in itertools.product((1, -1), repeat=3)
    ]
    assert cell.contrast.flips == SignFlips(fmean(flips), 0.25) and fmean(flips) == 0.5
    assert lines["roam"].cells["strict accuracy"].contrast is None
    reward = lines["paper"].cells["reward"].contrast
    assert (reward.difference, reward.ends, reward.detectable) == (0.0, None, None)


def test_figures_are_read_anew_from_the_completions(two_variants):
    """What a parser of another day made of them does not stand beside today's intervals."""
    results, answers = two_variants
    stale = [replace(r, measures={**r.measures, "strict accuracy": 20.0}) for r in results]
    lines = {line.variant: line for line in summarize(stale, "roam", answers)}
    assert lines["paper"].cells["strict accuracy"].mean == pytest.approx(fmean([60, 80, 30]))
    assert lines["roam"].cells["reward"].mean == 1.5  # of training: as recorded


def test_only_questions_that_all_answered_are_compared(two_variants, tmp_path):
    results, answers = two_variants
    left(answers.folders["paper", 1], right=4, images=4)  # cut short: four images, all right
    fresh = Answers(answers.folders)
    lines = {line.variant: line for line in summarize(results, "roam", fresh)}
    contrast = lines["paper"].cells["strict accuracy"].contrast
    # On the first four images: roam 4, 4, 3 of 4, paper 4, 4, 3 of 4.
    assert contrast.difference == 0.0
    (answers.folders["paper", 2] / "predictions.jsonl").unlink()
    lines = {line.variant: line for line in summarize(results, "roam", Answers(answers.folders))}
    contrast = lines["paper"].cells["strict accuracy"].contrast
    assert contrast.ends is None and contrast.difference == pytest.approx(50 / 3)  # as recorded


def test_figures_of_other_questions_are_not_compared(two_variants):
    """One side was asked more, or both were asked nothing alike."""
    results, answers = two_variants
    results = [replace(r, measures={**r.measures, "AD accuracy": 50.0}) for r in results]
    whole = answers.shared

    def contrasts(shared):
        answers.shared = shared
        lines = {line.variant: line for line in summarize(results, "roam", answers)}
        return {name: cell.contrast for name, cell in lines["paper"].cells.items() if cell}

    def without_strict(runs):
        found = whole(runs)
        return found and [
            SimpleNamespace(
                questions=one.questions, answers=one.answers, choices=one.choices, draws=one.draws,
                parts=one.parts, values={n: v for n, v in one.values.items() if "strict" not in n},
            )
            for one in found
        ]  # fmt: skip

    found = contrasts(lambda runs: whole(runs) if len(runs) < 6 else without_strict(runs))
    assert found["strict accuracy"] is None and found["reward"].difference == 0
    assert found["unreadable"] is not None
    found = contrasts(lambda runs: whole(runs) if len(runs) < 6 else [])
    assert found["strict accuracy"] is found["unreadable"] is None
    assert found["reward"].difference == 0


def ablation(folder: Path, results: list[Result], scale: Scale | None = None) -> Ablation:
    runs = tuple(Run(r.variant, r.seed, folder / f"{r.variant}-{r.seed}", r.digest, ())
                 for r in results)  # fmt: skip
    return Ablation(folder / "terms.yaml", folder, runs, "roam", False, scale)


def test_plots_are_files_that_stand_alone(two_variants, tmp_path):
    results, answers = two_variants
    results.append(Result("<cut>", 0, "x", stage="eval", message="gone"))
    scale = Scale("grpo.beta", {"roam": 0.0, "paper": 0.1})
    planned = ablation(tmp_path, results, scale)
    write_outputs(planned, results, answers)
    names = ("table.md", "table.csv", "table.tex", "bars.svg", "curves.svg", "scale.svg")
    assert [file.name for file in files_of(planned)] == list(names)
    for name in names[3:]:
        text = (tmp_path / name).read_text()
        root = ElementTree.fromstring(text)  # escaped, and whole
        assert root.tag.endswith("svg") and "var(--" not in text and "http" not in text[60:]
    bars_shown = (tmp_path / "bars.svg").read_text()
    assert "&lt;cut&gt;" in bars_shown and "+16.7 (" in bars_shown and "p 0.5" in bars_shown
    # Two variants, three seeds each, in every figure that was measured: a bar each, a dot a seed.
    measured = FIGURES.keys() - {"RobustMAD accuracy"}
    assert bars_shown.count("<rect") == 1 + 2 * len(measured)
    assert bars_shown.count("<circle") == 6 * len(measured)
    assert "Reward term: iou" in (tmp_path / "curves.svg").read_text()
    assert "grpo.beta" in (tmp_path / "scale.svg").read_text()


def test_a_plot_of_variants_that_are_gone_is_taken_away(two_variants, tmp_path):
    results, answers = two_variants
    scale = Scale("grpo.beta", {"roam": 0.0, "paper": 0.1})
    write_outputs(ablation(tmp_path, results, scale), results, answers)
    assert (tmp_path / "scale.svg").exists()
    planned = ablation(tmp_path, results)
    write_outputs(planned, results, answers)
    assert "scale.svg" not in [file.name for file in files_of(planned)]


def test_nothing_is_drawn_of_nothing():
    lines = summarize(RESULTS[-1:], "paper")
    assert bars(lines, "none", "paper") is None and curves({"paper": []}, "none") is None
    one = Scale("data.shots", {"paper": 1.0})
    assert scale_curves(lines, one, "none", "paper") is None


def test_a_curve_is_the_mean_of_the_seeds_that_are_there():
    other = [{"step": 1, "reward": 0.5, "loss": None}, {"step": 4, "reward": 2.0}]
    assert mean_history([HISTORY, other]) == [
        {"step": 1, "reward": 0.3, "rewards/iou/mean": 0.5},
        {"step": 2, "reward": 0.2, "rewards/iou/mean": 0.5},
        {"step": 3, "reward": 0.3, "rewards/iou/mean": 0.5},
        {"step": 4, "reward": 2.0},
    ]


def test_a_curve_over_a_number_is_in_its_order(tmp_path):
    """Shots of 16, 1 and 4, and a baseline that has none: the points stand 1, 4, 16."""
    results = [result(name, 0, strict_accuracy=value) for name, value in
               (("start", 20.0), ("16", 80.0), ("1", 30.0), ("4", 55.0))]  # fmt: skip
    scale = Scale("data.shots", {"16": 16.0, "1": 1.0, "4": 4.0})
    text = scale_curves(summarize(results, "start"), scale, "k_shot", "start")
    [path] = re.findall(r'd="M([^"]+)"', text)
    points = [tuple(map(float, point.split(","))) for point in path.split()]
    assert points == sorted(points) and [y for _, y in points] == sorted(
        (y for _, y in points), reverse=True
    )
    assert re.findall(r">(\d+)</text>", text)[-3:] == ["1", "4", "16"]
    assert "dashed: start" in text and 'class="line c5 dashed"' in text


def test_a_result_of_another_config_is_not_taken(tmp_path):
    assert read_result(tmp_path, "roam0") is None
    write_result(tmp_path, RESULTS[0])
    assert read_result(tmp_path, "roam0") == RESULTS[0] and read_result(tmp_path, "b") is None


def test_variants_that_were_evaluated_otherwise_are_named(tmp_path):
    """Of every finished run; that they have policies of their own is what an ablation is."""
    runs = [
        SimpleNamespace(variant=r.variant, seed=r.seed, folder=tmp_path / r.digest) for r in RESULTS
    ]
    for run, references in zip(runs, (1, 1, 0, 7), strict=True):
        card = {"policy": {"path": str(run.folder)}, "references": references, "dtype": "float32"}
        write_json(run.folder / "predictions.settings.json", card)
    unlike = unlike_baseline(SimpleNamespace(runs=runs, baseline="roam"), RESULTS)
    assert unlike == {"roam": [], "paper": ["references (1 and 0)"]}  # its seed 1 failed
    shown = markdown(summarize(RESULTS, "roam"), SOURCE, "roam", unlike)
    assert shown.endswith("\n## Evaluated unlike roam\n\n- paper: references (1 and 0)\n")
    assert "unlike" not in markdown(summarize(RESULTS, "roam"), SOURCE, "roam")
    assert unlike_baseline(SimpleNamespace(runs=runs, baseline="none"), RESULTS) == {}
