"""The training curves of the tiny policy as one picture, a panel a stage.

python scripts/curriculum_figures.py runs/tiny-policy data/tiny-policy/curves.png
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from anomalyr1.storage import read_jsonl
from anomalyr1.training.curriculum.stage import CURVE

NOT_A_LOSS = ("step", "seconds")
ACROSS = 4  # panels beside one another


def draw_curves(work: Path, stages: Sequence[str], out: Path) -> None:
    """Draw the losses that `make_tiny_policy.py` kept of some stages, on a logarithmic scale."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    columns = min(len(stages), ACROSS)
    rows = -(-len(stages) // columns)
    figure, grid = pyplot.subplots(
        rows, columns, figsize=(3.6 * columns, 3.4 * rows), squeeze=False
    )
    panels = list(grid.flat)
    for panel in panels[len(stages) :]:
        panel.set_axis_off()
    for panel, stage in zip(panels, stages, strict=False):
        lines = read_jsonl(work / stage / CURVE)
        for key in (key for key in lines[0] if key not in NOT_A_LOSS):
            panel.plot([line["step"] for line in lines], [line[key] for line in lines], label=key)
        panel.set(title=stage, xlabel="step", yscale="log")
        panel.legend(fontsize=7, frameon=False)
        panel.grid(alpha=0.3)
    figure.tight_layout()
    figure.savefig(out, dpi=80)
    pyplot.close(figure)


if __name__ == "__main__":
    from make_tiny_policy import PLANS

    done = [stage for stage in PLANS if (Path(sys.argv[1]) / stage / CURVE).is_file()]
    draw_curves(Path(sys.argv[1]), done, Path(sys.argv[2]))
