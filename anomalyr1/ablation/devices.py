"""What each of several runs at once may use: one GPU, or its share of the cores."""

from __future__ import annotations

from collections.abc import Mapping

from anomalyr1.data.many_cores import cores
from anomalyr1.errors import InputError

VISIBLE = "CUDA_VISIBLE_DEVICES"
THREADS = "OMP_NUM_THREADS"


def places(
    jobs: int, gpus: int, environment: Mapping[str, str], *, launched: bool = False
) -> list[dict[str, str]]:
    """The variables that `jobs` runs at once are started with, one mapping each.

    A single run is left what it has. Several get one GPU each, or divide the cores of a machine
    without one.

    Args:
        jobs: runs at once.
        gpus: that this process may use.
        environment: of this process.
        launched: trainings are started by a command that takes devices itself.

    Raises:
        InputError: there are fewer GPUs, or each run would take them all.

    >>> places(2, 2, {"CUDA_VISIBLE_DEVICES": "4,6"})
    [{'CUDA_VISIBLE_DEVICES': '4'}, {'CUDA_VISIBLE_DEVICES': '6'}]
    """
    if jobs < 1:
        raise InputError(f"expected --jobs of at least 1, found {jobs}")
    if jobs == 1:
        return [{}]
    if launched:
        raise InputError(
            f"expected --jobs 1 beside the `launch` of the ablation, which takes devices for "
            f"itself, found --jobs {jobs}; leave one of the two out"
        )
    if gpus == 0:
        share = max(1, cores() // jobs)
        asked = environment.get(THREADS, "")
        return [{THREADS: str(min(share, int(asked)) if asked.isdigit() else share)}] * jobs
    if jobs > gpus:
        raise InputError(f"expected --jobs of at most {gpus}, a GPU each, found {jobs}")
    visible = environment.get(VISIBLE, "")
    names = visible.split(",") if visible else [str(number) for number in range(gpus)]
    return [{VISIBLE: name.strip()} for name in names[:jobs]]
