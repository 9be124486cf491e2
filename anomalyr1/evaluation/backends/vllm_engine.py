"""The backend `vllm`: vLLM's engine in this process, on the same prompts as the others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from anomalyr1.config import Config
from anomalyr1.errors import InputError
from anomalyr1.evaluation.backends.answering import (
    Answer,
    batches,
    open_images,
    require_same_prompt,
)
from anomalyr1.evaluation.backends.rounds import Batch, Turn
from anomalyr1.policy.adapters import ADAPTER_CONFIG
from anomalyr1.policy.family import Family
from anomalyr1.policy.load import load_processor, read_dtype, read_family
from anomalyr1.policy.vllm_options import engine_options, import_vllm, refuse_head_size, said
from anomalyr1.rows import Row, count_tokens
from anomalyr1.schema import Prediction
from anomalyr1.settings_card import checkpoint_settings

# Questions handed over at once: enough for the engine to be busy, few enough that a run which is
# stopped loses minutes and not hours.
_CHUNK = 512
_OTHER_WORDS = 256  # tokens that another wording has more than the question's own, at most


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
        self.vllm: Any = import_vllm(
            "eval.backend.kind=vllm", "ask a server of it with eval.backend.kind=openai"
        )
        refuse_head_size(config.policy, "answer with eval.backend.kind=transformers here")
        self.processor: Any = load_processor(config.policy)
        self.family: Family = read_family(config.policy)
        dtype = str(read_dtype(config.policy)).removeprefix("torch.")
        options = {
            "model": config.policy.path,
            "seed": config.seed,
            **engine_options(config.policy, dtype=dtype, images=config.prompt.references + 1),
            "max_model_len": _longest(config),
            **config.eval.backend.engine,
        }
        self.dtype = str(options["dtype"])
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
        """Its version, dtype and the settings of its engine; it tells no kernel."""
        engine, policy = self.config.eval.backend.engine, self.config.policy
        backend = {"kind": "vllm", "version": self.vllm.__version__, "engine": engine}
        return {**checkpoint_settings(policy), "backend": backend, "dtype": self.dtype}

    def predictions(self, rows: Sequence[Row]) -> Iterator[list[Prediction]]:
        """Several hundred questions after the other, those of an image side by side."""
        config = self.config
        for some in batches(rows, _CHUNK):
            yield Batch.of(some, config.eval, config.seed, self.processor, self.family).predictions(
                self._answers
            )

    def _answers(self, turns: Sequence[Turn]) -> list[Answer]:
        """All turns at once; the engine keeps what their prompts begin with."""
        opened = open_images([turn.row for turn in turns])
        outputs = self.engine.generate(
            [self._prompt(turn, opened) for turn in turns],
            [self._sampling(turn.seed) for turn in turns],
            use_tqdm=False,
        )
        for turn, output in zip(turns, outputs, strict=True):
            begun = count_tokens(self.processor.tokenizer, turn.said)
            require_same_prompt(turn.row, len(output.prompt_token_ids), "vLLM", begun)
        said = [output.outputs[0] for output in outputs]
        return [Answer(one.text, tuple(one.token_ids)) for one in said]

    def _prompt(self, turn: Turn, opened: Mapping[str, Any]) -> dict[str, Any]:
        text = self.processor.apply_chat_template(
            turn.row.messages, tokenize=False, add_generation_prompt=True
        )
        images = [opened[name] for name in turn.row.images]
        shown = {"multi_modal_data": {"image": images}} if images else {}
        return {"prompt": text + turn.said, **shown}

    def _sampling(self, seed: int | None) -> Any:
        return self.vllm.SamplingParams(
            temperature=self.config.eval.temperature,
            seed=seed,
            top_p=1.0,
            top_k=-1,
            min_p=0.0,
            repetition_penalty=1.0,
            presence_penalty=0.0,
            frequency_penalty=0.0,
            max_tokens=self.config.eval.max_new_tokens,
            skip_special_tokens=True,
        )


def _longest(config: Config) -> int:
    """Tokens of the longest sequence: a prompt, and what follows it."""
    asked, options = config.eval.consistency, config.eval
    given = options.max_new_tokens if asked.asked_again else 0
    return (
        config.prompt.max_prompt_tokens
        + (_OTHER_WORDS if asked.reworded else 0)
        + given
        + options.max_new_tokens
    )
