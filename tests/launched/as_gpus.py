"""The command line on gloo processes of a CPU that accelerate takes for GPUs.

Only so does it run its FSDP and DeepSpeed paths here; all else is as on a node with GPUs.
"""

from __future__ import annotations

import os

if __name__ == "__main__":  # pytest imports every module of the tests
    import accelerate.accelerator
    import transformers.training_args
    from accelerate import PartialState
    from accelerate.state import AcceleratorState
    from accelerate.utils import DistributedType

    from anomalyr1.cli import main

    os.environ["ACCELERATE_TORCH_DEVICE"] = "cpu"
    PartialState._prepare_backend = lambda *_, **__: ("gloo", DistributedType.MULTI_GPU)
    transformers.training_args.is_torch_bf16_gpu_available = lambda *_: True
    accelerate.accelerator.is_bf16_available = lambda *_: True
    try:
        main()
    finally:
        kind = AcceleratorState().distributed_type.value
        print(f"distributed type: {kind}\n", end="", flush=True)
