"""An engine with vLLM's interface and habits, computing with transformers.

It widens every image token it is handed, makes bfloat16 of float32 unless told, takes the pixel
caps of the checkpoint unless told, and keeps the features of an image until it is told to forget.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from importlib.machinery import ModuleSpec
from types import ModuleType, SimpleNamespace
from typing import Any, ClassVar

import torch
from transformers import AutoModelForImageTextToText, AutoProcessor
from trl.generation import vllm_generation


@dataclass(frozen=True)
class SamplingParams:
    n: int = 1
    repetition_penalty: float = 1.0
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    max_tokens: int = 16
    logprobs: int | None = None
    logit_bias: dict[int, float] = field(default_factory=dict)


class LLM:
    """vLLM's `LLM` as TRL's colocate mode uses it."""

    made: ClassVar[list[LLM]] = []

    def __init__(self, **arguments: Any) -> None:
        self.arguments = arguments
        self.handed: list[list[int]] = []
        self.cache: dict[bytes, Any] = {}
        dtype = {"auto": torch.bfloat16}.get(arguments.get("dtype", "auto"))
        self.model: Any = AutoModelForImageTextToText.from_pretrained(
            arguments["model"], dtype=dtype or getattr(torch, arguments["dtype"])
        ).eval()
        self.processor: Any = AutoProcessor.from_pretrained(arguments["model"])
        size = (arguments.get("mm_processor_kwargs") or {}).get("size")
        if size is not None:
            self.processor.image_processor.size = size
        runner = SimpleNamespace(model=self)
        worker = SimpleNamespace(model_runner=runner)
        self.llm_engine = SimpleNamespace(
            model_executor=SimpleNamespace(driver_worker=worker),
            model_config=SimpleNamespace(max_model_len=arguments.get("max_model_len")),
            reset_encoder_cache=self.cache.clear,
        )
        LLM.made.append(self)

    def load_weights(self, weights: Any) -> None:
        held = dict(self.model.named_parameters())
        with torch.no_grad():
            for name, weight in weights:
                held[name].copy_(weight)

    def reset_prefix_cache(self) -> None:
        pass

    def generate(self, prompts: Any, sampling_params: Any, use_tqdm: bool) -> list[Any]:
        return [self._answer(prompt, sampling_params) for prompt in prompts]

    @torch.no_grad()
    def _answer(self, prompt: Any, params: Any) -> Any:
        images = (prompt.get("multi_modal_data") or {}).get("image", [])
        images = images if isinstance(images, list) else [images]
        ids, features, grids = prompt["prompt_token_ids"], [], []
        self.handed.append(list(ids))
        for image in images:
            made = self.processor.image_processor(images=[image], return_tensors="pt")
            grids.append(made["image_grid_thw"])
            key = image.tobytes()
            if key not in self.cache:
                pixels = made["pixel_values"].to(self.model.dtype)
                self.cache[key] = self.model.get_image_features(
                    pixels, made["image_grid_thw"]
                ).pooler_output[0]
            features.append(self.cache[key])
        ids = self._widened(ids, [len(one) for one in features])
        return self._sampled(ids, features, grids, params)

    def _widened(self, ids: list[int], lengths: list[int]) -> list[int]:
        """Image tokens in turn become as many as an image has features; what is left stays."""
        wide, left = [], iter(lengths)
        for token in ids:
            is_image = token == self.processor.image_token_id
            wide += [token] * (next(left, 1) if is_image else 1)
        return wide

    def _sampled(self, ids: list[int], features: Any, grids: Any, params: Any) -> Any:
        answer: list[int] = []
        logps: list[dict[int, Any]] = []
        inner, token = self.model.model, self.processor.image_token_id
        while len(answer) < params.max_tokens:
            whole = torch.tensor([ids + answer])
            embeds = inner.language_model.embed_tokens(whole)
            places = (whole == token)[0].nonzero()[:, 0][: sum(map(len, features))]
            if features:
                embeds[0, places] = torch.cat(features).to(embeds.dtype)[: len(places)]
            positions = self._positions(whole, grids)
            hidden = inner.language_model(inputs_embeds=embeds, position_ids=positions)[0]
            logits = self.model.lm_head(hidden[0, -1]).float()
            for place, bias in params.logit_bias.items():
                logits[place] += bias
            logp = (logits / (params.temperature or 1.0)).log_softmax(-1)
            drawn = logp.argmax() if not params.temperature else logp.exp().multinomial(1)
            answer.append(int(drawn))
            logps.append({answer[-1]: SimpleNamespace(rank=1, logprob=float(logp[answer[-1]]))})
            if answer[-1] == self.processor.tokenizer.eos_token_id:
                break
        output = SimpleNamespace(token_ids=answer, logprobs=logps)
        return SimpleNamespace(prompt_token_ids=list(ids), outputs=[output])

    def _positions(self, whole: torch.Tensor, grids: Any) -> Any:
        """M-RoPE's, of as many image tokens as the images have; where more are, text's."""
        kinds = (whole == self.processor.image_token_id).int()
        unit = self.processor.image_processor.merge_size**2
        if not grids or int(kinds.sum()) != sum(int(grid.prod()) // unit for grid in grids):
            return torch.arange(whole.size(1)).expand(3, 1, -1)
        return self.model.model.get_rope_index(
            whole, mm_token_type_ids=kinds, image_grid_thw=torch.cat(grids)
        )[0]


def install(patch: Any, kind: type = LLM) -> type[LLM]:
    """Let TRL and this package find the stand-in under vLLM's names."""
    LLM.made.clear()
    platforms = {"current_platform": SimpleNamespace(is_cpu=lambda: True)}
    sizes = {"get_supported_head_sizes": staticmethod(lambda: [16, 32])}
    modules: dict[str, dict[str, Any]] = {
        "vllm": {"LLM": kind, "SamplingParams": SamplingParams, "__version__": "0.31.0"},
        "vllm._custom_ops": {"_supports_onednn": True},
        "vllm.platforms": platforms,
        "vllm.v1.attention.backends.cpu_attn": {
            "CPUAttentionBackend": type("CPUAttentionBackend", (), sizes)
        },
    }
    for parent in ("vllm.v1", "vllm.v1.attention", "vllm.v1.attention.backends"):
        modules[parent] = {}
    for name, content in modules.items():
        module = ModuleType(name)
        module.__dict__.update(content, __spec__=ModuleSpec(name, None), __path__=[])
        patch.setitem(sys.modules, name, module)
    for name in modules:
        parent, _, child = name.rpartition(".")
        if parent:
            patch.setattr(sys.modules[parent], child, sys.modules[name], raising=False)
    patch.setattr(vllm_generation, "is_vllm_available", lambda: True)
    patch.setattr(vllm_generation, "LLM", kind, raising=False)
    patch.setattr(vllm_generation, "SamplingParams", SamplingParams, raising=False)
    return LLM
