"""The passes that check_plan.py measures: what runs through which random policy."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

# The policy that ships, a random one of about 100 M parameters, and a tiny Qwen3-VL.
POLICIES = ("tiny", "large", "qwen3")
QUESTION = "Is there a defect in the object? " * 6


@dataclass(frozen=True)
class Case:
    """One measurement; image sides in pixels."""

    policy: str
    images: int = 2
    side: int = 448
    prompts: int = 1
    questions: int = 1
    generations: int = 8
    completion: int = 64
    shared: bool = True
    checkpointing: bool = False
    frozen: bool = False
    lora: bool = False
    attention: str = "sdpa"
    chunk: int | None = None

    @property
    def rows(self) -> int:
        """Completions of the pass."""
        return self.prompts * self.questions * self.generations

    @property
    def label(self) -> str:
        """The case in words."""
        notes = [name for name in ("checkpointing", "frozen", "lora") if getattr(self, name)]
        notes += [self.attention] if self.attention != "sdpa" else []
        notes += [f"{self.questions} questions"] if self.questions > 1 else []
        notes += [f"chunks of {self.chunk}"] if self.chunk else []
        return (
            f"{self.prompts} x {self.images} images {self.side}, G={self.generations} "
            f"C={self.completion}{', ' if notes else ''}{', '.join(notes)}"
        )


def cases(policy: str) -> list[Case]:
    """What is measured on a policy, with and without a shared prefix."""
    if policy == "qwen3":
        return of_the_second_family(policy)
    if policy == "tiny":
        chosen = [
            Case(policy),
            Case(policy, prompts=2, side=224, completion=128),
            Case(policy, checkpointing=True),
            Case(policy, frozen=True, lora=True),
            Case(policy, frozen=True, lora=True, checkpointing=True),
            Case(policy, side=224, frozen=True, attention="eager"),
        ]
    else:
        small = Case(policy, side=224, generations=4)
        chosen = [
            small,
            replace(small, images=1, prompts=2),
            replace(small, checkpointing=True),
            replace(small, frozen=True, lora=True),
        ]
    found = [replace(case, shared=shared) for case in chosen for shared in (True, False)]
    return [*found, *trees(policy)] if policy == "tiny" else found


def trees(policy: str) -> list[Case]:
    """Images computed once for their questions, and completions in chunks; stock has neither."""
    many = Case(policy, side=224, generations=16, completion=128)
    return [
        Case(policy, questions=4, completion=32),
        Case(policy, prompts=2, questions=3, side=224, generations=4, checkpointing=True),
        replace(many, chunk=400),
        replace(many, chunk=400, checkpointing=True),
        replace(many, chunk=400, questions=2, generations=8, frozen=True, lora=True),
    ]


def of_the_second_family(policy: str) -> list[Case]:
    """Those in which a DeepStack and a tower without windows could matter."""
    case = Case(policy)
    small = replace(case, side=224, frozen=True)
    return [
        case,
        replace(case, shared=False),
        replace(case, checkpointing=True),
        replace(case, frozen=True, lora=True),
        replace(small, attention="eager"),
        replace(small, lora=True, checkpointing=True, shared=False),
        replace(case, questions=4, completion=32),
        replace(small, generations=16, completion=128, chunk=400, checkpointing=True),
    ]


def made_policy(kind: str, folder: Path) -> str:
    """The folder of one of `POLICIES`; a random one is made there."""
    from anomalyr1.policy.tiny import TinyShape, build_tiny_policy
    from anomalyr1.policy.tiny_qwen3 import build_tiny_qwen3

    if kind == "tiny":
        return "data/tiny-policy"
    if kind == "qwen3":
        shape = replace(TinyShape(), mrope_section=(6, 5, 5))
        return str(build_tiny_qwen3([QUESTION] * 8, folder, shape=shape, vocab_size=1024))
    shape = TinyShape(
        hidden_size=768,
        num_layers=10,
        num_heads=12,
        num_kv_heads=4,
        mrope_section=(8, 12, 12),
        vision_depth=6,
        vision_hidden_size=512,
        vision_heads=8,
    )
    build_tiny_policy([QUESTION] * 8, folder, shape=shape, vocab_size=1024)
    return str(folder)


def asked(case: Case, number: int) -> list[dict[str, str | None]]:
    """The question of that number about a prompt's pictures: as long as any other."""
    words = QUESTION.split()
    text = " ".join([*words[number:], *words[:number]])
    return [{"type": "image", "text": None}] * case.images + [{"type": "text", "text": text}]
