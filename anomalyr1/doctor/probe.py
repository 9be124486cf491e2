"""What torch sees and which attention kernels run, as a program of its own.

`python -m anomalyr1.doctor.probe` prints one JSON object as its last line. A library that crashes
on import, or talks, does so there.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict, dataclass, field, replace
from textwrap import shorten
from typing import Any

KERNELS = ("eager", "sdpa", "flash_attention_2", "flex_attention")
_SECONDS = 120


@dataclass(frozen=True)
class Gpu:
    """A CUDA or ROCm device; memory in bytes."""

    name: str
    memory: int
    free: int
    bf16: bool


@dataclass(frozen=True)
class Facts:
    """What torch sees.

    Attributes:
        build: what torch was built for, like `CUDA 12.8`; None for a CPU build.
        threads: threads that torch starts for one operation.
        gpus: devices it can use.
        bf16: whether transformers trains in bfloat16 here without being told to use the CPU.
        attention: kernel -> why it does not run here; None where it does.
    """

    build: str | None = None
    threads: int = 1
    gpus: tuple[Gpu, ...] = ()
    bf16: bool = False
    attention: dict[str, str | None] = field(default_factory=dict)


def probe() -> Facts | str:
    """Ask in a process of its own; the last line of its complaint where it fails."""
    done = run_python("-m", "anomalyr1.doctor.probe")
    if isinstance(done, str):
        return done
    facts = json.loads(done.stdout.strip().splitlines()[-1])
    return Facts(**{**facts, "gpus": tuple(Gpu(**gpu) for gpu in facts["gpus"])})


def import_error(statement: str) -> str | None:
    """Run an import statement in a process of its own; what it says where it fails."""
    done = run_python("-c", statement)
    return done if isinstance(done, str) else None


def run_python(*arguments: str) -> subprocess.CompletedProcess[str] | str:
    """Run this Python; the last line of its errors where it does not end well."""
    try:
        done = subprocess.run(
            [sys.executable, *arguments], capture_output=True, text=True, timeout=_SECONDS
        )
    except subprocess.TimeoutExpired:
        return f"no end after {_SECONDS} s"
    if done.returncode == 0:
        return done
    lines = done.stderr.strip().splitlines()
    return lines[-1] if lines else f"exit status {done.returncode}"


def look() -> Facts:
    """Ask torch, in this process."""
    import torch
    from transformers.utils import is_torch_bf16_gpu_available

    gpus = []
    for number in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
        with torch.cuda.device(number):
            free, memory = torch.cuda.mem_get_info()
            bf16 = torch.cuda.is_bf16_supported(including_emulation=False)
            gpus.append(Gpu(torch.cuda.get_device_name(), memory, free, bf16))
    attention = {name: _attention_error(name, gpus) for name in KERNELS}
    build = f"CUDA {torch.version.cuda}" if torch.version.cuda else None
    if torch.version.hip:
        build = f"ROCm {torch.version.hip}"
    bf16 = is_torch_bf16_gpu_available()
    return Facts(build, torch.get_num_threads(), tuple(gpus), bf16, attention)


def _attention_error(name: str, gpus: list[Gpu]) -> str | None:
    """Run a Qwen2.5-VL of one layer over an image; the reason where it does not run."""
    import torch
    from PIL import Image

    from anomalyr1.policy.tiny import SMALLEST, build_model, build_processor, train_tokenizer
    from anomalyr1.shared_prefix.flex_attention import flex_obstacle

    dtype = torch.float32
    if gpus:  # flash attention knows the short types only
        dtype = torch.bfloat16 if gpus[0].bf16 else torch.float16
    tokenizer = train_tokenizer(["Is there a defect?"])
    processor: Any = build_processor(tokenizer)
    shape = replace(SMALLEST, num_layers=1, vision_depth=1)
    model = build_model(tokenizer, shape).to("cuda" if gpus else "cpu", dtype).eval()
    if name == "flex_attention":  # for groups packed behind shared prompts
        return flex_obstacle(model.config.get_text_config(), model.device, dtype)
    content = [{"type": "image"}, {"type": "text", "text": "Is there a defect?"}]
    text = processor.apply_chat_template([{"role": "user", "content": content}])
    inputs = processor(text=[text], images=[[Image.new("RGB", (56, 56))]], return_tensors="pt")
    try:
        model.set_attn_implementation(name)
        with torch.inference_mode():
            logits = model(**inputs.to(model.device)).logits
    except Exception as error:  # whatever a kernel raises is the answer
        return shorten(str(error), 200, placeholder=" ...") or type(error).__name__
    return None if logits.isfinite().all() else "its logits are not finite"


if __name__ == "__main__":
    print(json.dumps(asdict(look())))
