"""The backend `vllm`: vLLM's engine in this process, on the same prompts as the others."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from anomalyr1.config import Config
from anomalyr1.data.images import open_image
from anomalyr1.errors import InputError
from anomalyr1.evaluation.backends.answering import (
    Answer,
    batches,
    prediction_of,
    require_same_prompt,
)
from anomalyr1.policy.adapters import ADAPTER_CONFIG
from anomalyr1.policy.family import Family
from anomalyr1.policy.load import load_processor, read_family
from anomalyr1.policy.vllm_options import engine_options, import_vllm, refuse_head_size, said
from anomalyr1.rows import Row
from anomalyr1.schema import Prediction
from anomalyr1.settings_card import checkpoint_settings

# Questions handed over at once: enough for the engine to be busy, few enough that a run which is
# stopped loses minutes and not hours.
_CHUNK = 512


class VllmEngine:
    """vLLM, offline.

    Image tokens are given once an image and widened by vLLM itself; the pixel caps are handed to
    its processor, because those of the checkpoint would act otherwise, and so is every setting of
    sampling.

    Raises:
        InputError: vLLM is not installed or refuses the policy, or the policy is an adapter.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        if (Path(config.policy.path) / ADAPTER_CONFIG).is_file():
            raise InputError(
                f"expected whole weights for eval.backend.kind=vllm, found an adapter at "
                f"{config.policy.path}; merge it first (`anomalyr1 merge`)"
            )
        self.vllm = import_vllm(
            "eval.backend.kind=vllm", "ask a server of it with eval.backend.kind=openai"
        )
        refuse_head_size(config.policy, "answer with eval.backend.kind=transformers here")
        self.processor = load_processor(config.policy)
        self.family: Family = read_family(config.policy)
        options = {
            "model": config.policy.path,
            "seed": config.seed,
            **engine_options(
                config.policy, dtype=config.policy.dtype, images=config.prompt.references + 1
            ),
            "max_model_len": config.prompt.max_prompt_tokens + config.eval.max_new_tokens,
            **config.eval.backend.engine,
        }
        try:
            self.engine = self.vllm.LLM(**options)
        except Exception as error:  # whatever an engine of many parts says of what it cannot load
            raise InputError(
                f"expected a policy that vLLM {self.vllm.__version__} takes at policy.path="
                f"{config.policy.path}, found: {said(error)}; change "
                "eval.backend.engine, or take another backend"
            ) from None

    @property
    def settings(self) -> dict[str, Any]:
        """Its version and the settings of its engine; it tells no kernel."""
        engine, policy = self.config.eval.backend.engine, self.config.policy
        backend = {"kind": "vllm", "version": self.vllm.__version__, "engine": engine}
        return {**checkpoint_settings(policy), "backend": backend}

    def predictions(self, rows: Sequence[Row]) -> Iterator[list[Prediction]]:
        """Several hundred questions after the other, those of an image side by side."""
        sampling = self.vllm.SamplingParams(
            temperature=0.0,
            top_p=1.0,
            top_k=-1,
            min_p=0.0,
            repetition_penalty=1.0,
            presence_penalty=0.0,
            frequency_penalty=0.0,
            max_tokens=self.config.eval.max_new_tokens,
            skip_special_tokens=True,
        )
        processor: Any = self.processor
        for batch in batches(rows, _CHUNK):
            prompts = [
                {
                    "prompt": processor.apply_chat_template(
                        row.messages, tokenize=False, add_generation_prompt=True
                    ),
                    **(
                        {"multi_modal_data": {"image": [open_image(Path(n)) for n in row.images]}}
                        if row.images
                        else {}
                    ),
                }
                for row in batch
            ]
            outputs = self.engine.generate(prompts, sampling, use_tqdm=False)
            for row, output in zip(batch, outputs, strict=True):
                require_same_prompt(row, len(output.prompt_token_ids), "vLLM")
            said = [output.outputs[0] for output in outputs]
            yield [
                prediction_of(row, Answer(one.text, tuple(one.token_ids)))
                for row, one in zip(batch, said, strict=True)
            ]
