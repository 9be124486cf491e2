"""What is shared is computed once: a prompt for its completions, an image for its questions.

GRPO repeats every prompt, images and all, for each of its G completions: in the rollout and in
every log-probability pass. Here a group is one row, one copy of the prompt with the completions
behind it, and groups stand one after the other without padding:

    place     0  1  2  3  4  5  6  7  8        p prompt, I image, t its last token
    token     p  I  I  t  a  a  t  b  b        a, b two completions
    position  0  1  1  3  4  5  3  4  5        counted on from the prompt for each of them

    t a a     sees p I I and itself            the last token stands before each completion,
    t b b     sees p I I and itself            since it predicts another first token in each

Every token sees what it would have seen alone, at the position it would have had, so all numbers
and gradients are those of G whole rows; the tokens are P + G C instead of G (P + C). A rollout
keeps the prompt's keys and values once, and equal images go through the vision tower once.

`prepare` makes a Qwen2.5-VL or Qwen3-VL ready, `shared_logps` is the log-probability pass,
`generate_shared` the rollout. The package imports nothing of the rest: it works with plain
transformers.
"""

from anomalyr1.shared_prefix.attention import prepare, sharing_obstacle
from anomalyr1.shared_prefix.images_once import prepared_once
from anomalyr1.shared_prefix.logprobs import plain_score, shared_logps
from anomalyr1.shared_prefix.prefixes import Prompt, group_by_images, group_equal
from anomalyr1.shared_prefix.regrouping import regroup
from anomalyr1.shared_prefix.rollout import generate_shared, generation_obstacle
from anomalyr1.shared_prefix.vision import RowImages

__all__ = [
    "Prompt",
    "RowImages",
    "generate_shared",
    "generation_obstacle",
    "group_by_images",
    "group_equal",
    "plain_score",
    "prepare",
    "prepared_once",
    "regroup",
    "shared_logps",
    "sharing_obstacle",
]
