"""What each of several runs at once may use: one GPU, or its share of the cores."""

from __future__ import annotations

from collections.abc import Mapping

from anomalyr1.data.many_cores import cores
from anomalyr1.errors import InputError

VISIBLE = "CUDA_VISIBLE_DEVICES"
THREADS = "OMP_NUM_THREADS"


def places(
    jobs: int,
    gpus: int,
    environment: Mapping[str, str],
    *,
    launched: bool = False,
    on_cpu: bool = False,
) -> list[dict[str, str]]:
    """The variables that `jobs` runs at once are started with, one mapping each.

    Each gets one GPU, as a process that trains may see no more, and several on the CPU divide its
    cores. A single run is left what it has where that is one GPU, or nothing that it uses.

    Args:
        jobs: runs at once.
        gpus: that this process may use.
        environment: of this process.
        launched: trainings are started by a command that takes devices itself.
        on_cpu: no training uses a GPU (`use_cpu`).

    Raises:
        InputError: there are fewer GPUs, or each run would take them all.

    >>> places(2, 2, {"CUDA_VISIBLE_DEVICES": "4,6"})
    [{'CUDA_VISIBLE_DEVICES': '4'}, {'CUDA_VISIBLE_DEVICES': '6'}]
    """
    if jobs < 1:
        raise InputError(f"expected --jobs of at least 1, found {jobs}; raise it")
    if jobs == 1 and (launched or on_cpu or gpus < 2):
        return [{}]
    if launched:
        raise InputError(
            f"expected --jobs 1 beside the `launch` of the ablation, which takes devices for "
            f"itself, found --jobs {jobs}; leave one of the two out"
        )
    if gpus == 0 or on_cpu:
        share = max(1, cores() // jobs)
        asked = environment.get(THREADS, "")
        threads = str(min(share, int(asked)) if asked.isdigit() else share)
        return [{THREADS: threads} | ({VISIBLE: ""} if gpus else {})] * jobs
    if jobs > gpus:
        raise InputError(f"expected --jobs of at most {gpus}, a GPU each, found {jobs}; lower it")
    visible = environment.get(VISIBLE, "")
    names = visible.split(",") if visible else [str(number) for number in range(gpus)]
    return [{VISIBLE: name.strip()} for name in names[:jobs]]
