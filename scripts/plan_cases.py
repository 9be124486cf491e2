"""The passes that check_plan.py measures."""

from __future__ import annotations

from dataclasses import dataclass, replace


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
    half: bool = False  # autocast to bfloat16, in a pass behind another one of its update

    @property
    def rows(self) -> int:
        """Completions of the pass."""
        return self.prompts * self.questions * self.generations

    @property
    def label(self) -> str:
        """The case in words."""
        names = ("checkpointing", "frozen", "lora", "half")
        notes = [name for name in names if getattr(self, name)]
        notes += [self.attention] if self.attention != "sdpa" else []
        notes += [f"{self.questions} questions"] if self.questions > 1 else []
        notes += [f"chunks of {self.chunk}"] if self.chunk else []
        return (
            f"{self.prompts} x {self.images} images {self.side}, G={self.generations} "
            f"C={self.completion}{', ' if notes else ''}{', '.join(notes)}"
        )


def cases(policy: str) -> list[Case]:
    """What is measured on a policy, with and without a shared prefix."""
    if policy == "tiny":
        chosen = [
            Case(policy),
            Case(policy, prompts=2, side=224, completion=128),
            Case(policy, checkpointing=True),
            Case(policy, frozen=True, lora=True),
            Case(policy, frozen=True, lora=True, checkpointing=True),
            Case(policy, side=224, frozen=True, attention="eager"),
            Case(policy, side=224, half=True),
            Case(policy, side=224, half=True, checkpointing=True),
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
        replace(many, chunk=400, half=True),
        replace(many, chunk=400, half=True, checkpointing=True),
        replace(many, chunk=400, questions=2, generations=8, frozen=True, lora=True),
    ]
