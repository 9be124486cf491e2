"""The typed sections of a config file and their defaults."""

from __future__ import annotations

from dataclasses import field
from typing import Annotated, Literal

from pydantic import Field

from anomalyr1.config.asking_again import ConsistencyConfig
from anomalyr1.config.augmentation import AugmentConfig
from anomalyr1.config.backend import BackendConfig
from anomalyr1.config.guard import GuardConfig
from anomalyr1.config.mask_making import SegmentationConfig
from anomalyr1.config.reward import RewardConfig
from anomalyr1.config.sampler import SamplerConfig
from anomalyr1.config.section import (
    AnyWhole,
    Count,
    Flag,
    Number,
    Pattern,
    Share,
    Text,
    Texts,
    Verbatim,
    Whole,
    section,
)
from anomalyr1.errors import InputError

Rate = Annotated[Number, Field(ge=0)]


@section
class DataConfig:
    """What is trained on. Paths are relative to the working directory.

    Attributes:
        benchmark: folder (or mmad.json) of the training questions.
        mixture: YAML that mixes several benchmarks by weight, instead of `benchmark`.
        heldout: benchmark whose questions are scored during training, every `save_steps` unless
            `eval_steps` says otherwise, in `train` where a rollout is used up; a new best is saved
            at once, and `policy/` is then the checkpoint that did best.
        heldout_limit: questions taken from it, evenly.
        question_types: keep these types only; None keeps all.
        shuffle_options: reorder the options of every question from this seed; None keeps the order
            on disk.
        limit: keep the questions of the first so many images (in a seeded order); None keeps all.
        shots: keep so many images of each (category, defect), as far as there are, and as many
            normal ones as these together, chosen from `seed`; fewer shots are among more. None
            keeps all.
        root: where the images are, of `heldout` as well, if not where the benchmarks say. Beside
            `mixture`, whose parts say it themselves, those of `heldout` alone.
        balance: repeat the rarer of normal and defective images of each product, so that there are
            as many of both.
        augment: vary the training images; None shows them as they are. Held-out images always are.
        contradictory: share of the questions with options whose gold reasoning, in `sft`, closes on
            the option after the answer: where a study of ROAM's consistency may start. None: no
            reasoning contradicts its answer.
        loose_boxes: share of its sides by which a box of gold completions, in `sft`, is drawn too
            wide on each side: where a study of ROAM's boxes may start. None: boxes as they are.
        group_by_image: show the questions of an image one after the other, so that it is computed
            once for those of a micro-batch; `sft` shows all of them at once and counts its batches
            in images then. False shuffles questions singly.
        images_per_rollout: images that each process of `train` shows in a rollout beside
            `group_by_image`, all with equally many questions: of an image with more, others each
            epoch; of one with fewer, some twice. None shows every question once an epoch, those of
            as many images as they come to.
    """

    benchmark: Text | None = None
    mixture: Text | None = None
    heldout: Text | None = None
    heldout_limit: Count = 64
    question_types: Texts | None = None
    shuffle_options: AnyWhole | None = None
    limit: Count | None = None
    shots: Count | None = None
    root: Text | None = None
    balance: Flag = False
    augment: AugmentConfig | None = None
    contradictory: Share | None = None
    loose_boxes: Share | None = None
    group_by_image: Flag = False
    images_per_rollout: Count | None = None

    def __post_init__(self) -> None:
        """Refuse two choices of which one would undo the other."""
        if self.limit is not None and self.shots is not None:
            raise InputError(
                f"expected data.limit or data.shots, found {self.limit} and {self.shots}; leave "
                "one of them out"
            )
        if self.group_by_image and self.augment is not None and self.augment.changes:
            raise InputError(
                "expected data.group_by_image or data.augment, found both: each question would "
                "show the image in a look of its own; leave one of them out"
            )


@section
class PromptConfig:
    """What the policy is shown; the same for SFT, GRPO and evaluation.

    Attributes:
        template: `choice` asks for a letter, `inspect` for a letter and boxes. `mmad`, `iad_r1` and
            `robustmad` are the words of these evaluations; a policy that was trained with `choice`
            is asked by `choice`. Grounding questions always use `grounding`.
        references: normal reference images shown before the query (0 for zero-shot).
        reference_kind: MMAD's `similar` or `random` template list; the other serves where the first
            is empty.
        domain_knowledge: path of MMAD's domain_knowledge.json, or None. It describes the test
            categories, so it is off by default.
        knowledge_tokens: budget for that text, in tokens of the policy; whole sentences are kept.
            None shows all of it, as MMAD does.
        max_prompt_tokens: rows longer than this are refused by name before launch. Prompts are
            never cut.
    """

    template: Literal["choice", "inspect", "mmad", "iad_r1", "robustmad"] = "choice"
    references: Whole = 1
    reference_kind: Literal["similar", "random"] = "similar"
    domain_knowledge: Text | None = None
    knowledge_tokens: Count | None = 512
    max_prompt_tokens: Count = 4096


@section
class LoraSection:
    """Low-rank adaptation (Hu et al. 2022); the language model's linear layers by default."""

    r: Count = 64
    alpha: Count = 128
    dropout: Annotated[Number, Field(ge=0, lt=1)] = 0.05
    target_modules: Pattern | Texts = r"^(?!.*visual).*\.(q|k|v|o|gate|up|down)_proj$"


@section
class LearningRates:
    """Rates of parts that differ from `grpo.learning_rate` (or sft's); None is that rate."""

    vision: Rate | None = None
    projector: Rate | None = None


@section
class PolicyConfig:
    """Which model answers, and how it is held in memory.

    Attributes:
        path: hub id, checkpoint folder or adapter folder.
        revision: hub revision, for repeatable runs.
        dtype: `auto` keeps the dtype of the checkpoint. Weights that learn are widened to float32
            while they do.
        attention: attention kernel of transformers. `flex_attention` is `sdpa`, but for groups of
            completions packed behind shared prompts where they train on a GPU.
        min_pixels: images are scaled up to at least this many pixels.
        max_pixels: images are scaled down to at most this many pixels; gold boxes follow.
        freeze_vision: leave the vision tower as it is, with adapters on it or without.
        freeze_projector: the same of the vision-to-language projector.
        shared_prefix: compute a prompt once for all of its completions; false is stock TRL.
        chunk_completions: tokens of completions that `train` computes at once behind their prompts;
            more are computed in chunks, and once more in the backward pass, in the memory of one
            chunk. None computes all of a micro-batch at once.
        learning_rates: of the vision tower and the projector, where not the trainer's.
        lora: train adapters instead of the weights; None trains the weights.
    """

    path: Text = "Qwen/Qwen2.5-VL-3B-Instruct"
    revision: Text | None = None
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    attention: Literal["eager", "sdpa", "flash_attention_2", "flex_attention"] = "sdpa"
    min_pixels: Count = 3136
    max_pixels: Count = 480000
    freeze_vision: Flag = True
    freeze_projector: Flag = False
    shared_prefix: Flag = True
    chunk_completions: Count | None = None
    learning_rates: LearningRates = field(default_factory=LearningRates)
    lora: LoraSection | None = None

    def __post_init__(self) -> None:
        """Refuse limits that no image can keep."""
        if self.max_pixels < self.min_pixels:
            raise InputError(
                f"expected max_pixels of at least min_pixels {self.min_pixels}, "
                f"found {self.max_pixels}; raise it"
            )
        if self.chunk_completions and (not self.shared_prefix or self.attention == "eager"):
            raise InputError(
                "expected policy.shared_prefix=true and another kernel than eager beside "
                f"policy.chunk_completions, found {str(self.shared_prefix).lower()} and "
                f"{self.attention}; leave chunk_completions out"
            )

    @property
    def kernel(self) -> str:
        """The attention kernel that transformers loads the model with."""
        return "sdpa" if self.attention == "flex_attention" else self.attention


@section
class PreflightConfig:
    """What `train` tries before its first step, and `reward dry-run` on its own.

    Attributes:
        skip: start without trying.
        prompts: questions asked, spread over the question types.
        generations: completions a question; None takes `grpo.num_generations`.
        batch_size: completions decoded together.
    """

    skip: Flag = False
    prompts: Count = 8
    generations: Annotated[AnyWhole, Field(ge=2)] | None = None
    batch_size: Count = 32


@section
class SignalConfig:
    """What is done about groups that teach little; everything is off by default.

    Attributes:
        zero_variance: groups whose completions all earn the same: `keep` them, `drop` them from
            the loss, or `resample` (replace them by other questions, then drop what is left).
        max_rounds: rounds of sampling that `resample` may add to a rollout.
        difficulty: weight of a group's advantages: `none`, or `emit` (1 + share of wrong answers).
    """

    zero_variance: Literal["keep", "drop", "resample"] = "keep"
    max_rounds: Count = 2
    difficulty: Literal["none", "emit"] = "none"


@section
class EvalConfig:
    """How a policy is evaluated.

    Attributes:
        benchmark: folder (or mmad.json) of the questions asked.
        batch_size: questions decoded together.
        max_new_tokens: completion budget; use the one of training.
        limit: ask about so many images only, chosen from `seed`; None asks about all.
        stratified: choose them by data set, class and label, so that no cell of the table stays
            empty that can be filled; false draws them from all alike.
        shard: "i/n", from 1: ask about every n-th image from the i-th on, in a folder of its own
            below `run_dir`; `anomalyr1 gather` puts the shards together.
        bootstrap: resamples behind the 95 % intervals; None draws as many as `score`.
        gallery: images drawn in the report.
        question_types: ask these types only; None asks all.
        shuffle_options: reorder options from this seed; None keeps the order on disk.
        root: where the images are, if not where the benchmark says.
        allow_seen: evaluate on images the policy was trained on, in columns of their own.
        likelihood: weigh the letters of every choice question, after the policy's own reasoning and
            at once; P(anomalous) becomes the `score` of an image.
        blind: ask in the same words without any image: what the text alone gives away.
        temperature: 0 decodes greedily; above it completions are drawn, each from a seed of its
            question, so that neither batches nor a resumption change them.
        votes: completions drawn of a question; the letter that most of them give is the answer.
        consistency: what is asked more than once.
        backend: who computes the answers.
    """

    benchmark: Text | None = None
    batch_size: Count = 16
    max_new_tokens: Count = 512
    limit: Count | None = None
    stratified: Flag = True
    shard: Text | None = None
    bootstrap: Count | None = None
    gallery: Whole = 48
    question_types: Texts | None = None
    shuffle_options: AnyWhole | None = None
    root: Text | None = None
    allow_seen: Flag = False
    likelihood: Flag = False
    blind: Flag = False
    temperature: Rate = 0.0
    votes: Count = 1
    consistency: ConsistencyConfig = field(default_factory=ConsistencyConfig)
    backend: BackendConfig = field(default_factory=BackendConfig)


@section
class Config:
    """One run. A verb reads the sections it needs; all files share one form.

    Attributes:
        run_dir: the run folder; everything the run writes is below it.
        seed: seeds python, numpy, torch, the order of the rows and the sampling.
        resume: `auto` continues what `run_dir` holds where the settings are the same, `force` where
            they have changed too; `never` refuses a folder that holds a run.
        early_stop_patience: evaluations on `data.heldout` in a row without a better one after which
            training ends; None never ends early.
        keep_completions_every: steps between two files of sampled completions, of which step 1 has
            one too; a rollout that serves several steps is kept once. 0 keeps none.
        sft: handed verbatim to `trl.SFTConfig`.
        grpo: handed verbatim to `trl.GRPOConfig`.
    """

    run_dir: Text = "runs/default"
    seed: Annotated[Whole, Field(lt=2**32)] = 0
    resume: Literal["auto", "never", "force"] = "auto"
    early_stop_patience: Count | None = None
    keep_completions_every: Whole = 10
    data: DataConfig = field(default_factory=DataConfig)
    prompt: PromptConfig = field(default_factory=PromptConfig)
    policy: PolicyConfig = field(default_factory=PolicyConfig)
    reward: RewardConfig = field(default_factory=RewardConfig)
    preflight: PreflightConfig = field(default_factory=PreflightConfig)
    signal: SignalConfig = field(default_factory=SignalConfig)
    guard: GuardConfig = field(default_factory=GuardConfig)
    sampler: SamplerConfig = field(default_factory=SamplerConfig)
    sft: Verbatim = field(default_factory=dict)
    grpo: Verbatim = field(default_factory=dict)
    eval: EvalConfig = field(default_factory=EvalConfig)
    segmentation: SegmentationConfig = field(default_factory=SegmentationConfig)
