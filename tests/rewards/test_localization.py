"""The `iou` term: matching against brute force, and each option by hand."""

import itertools
import random

import pytest

from anomalyr1.config.reward import IouOptions
from anomalyr1.errors import InputError
from anomalyr1.geometry import iou, set_iou
from anomalyr1.rewards.iou import Localization, similarities
from anomalyr1.rewards.reading import Reading, read_batch
from anomalyr1.schema import Box, Question, Response

SQUARE = Box(0, 0, 2, 2)
HALF_OFF = Box(1, 0, 3, 2)  # IoU 1/3 with SQUARE
FAR = Box(8, 0, 10, 2)


def score(predicted, gold, well_formed=True, **options):
    response = Response("", "", None, None, predicted, well_formed)
    return Localization(IouOptions(**options))(Reading(Question("", ""), response, gold))


def best_by_brute_force(predicted, gold):
    """The largest summed IoU over every one-to-one matching, over max(#predicted, #gold)."""
    if not predicted and not gold:
        return 1.0
    few, many = sorted((predicted, gold), key=len)
    sums = (
        sum(iou(a, b) for a, b in zip(few, chosen, strict=True))
        for chosen in itertools.permutations(many, len(few))
    )
    return max(sums) / max(len(many), 1)


def random_box(rng):
    x, y = rng.uniform(0, 60), rng.uniform(0, 60)
    return Box(x, y, x + rng.uniform(1, 40), y + rng.uniform(1, 40))


def test_matching_equals_brute_force_over_all_permutations_up_to_six_boxes():
    rng = random.Random(0)
    for _ in range(60):
        predicted = tuple(random_box(rng) for _ in range(rng.randint(0, 6)))
        gold = tuple(random_box(rng) for _ in range(rng.randint(0, 6)))
        expected = best_by_brute_force(predicted, gold)
        assert score(predicted, gold) == pytest.approx(expected)
        assert set_iou(predicted, gold) == pytest.approx(expected)


BY_HAND = [
    ((), (), 1.0),  # none and none
    ((SQUARE,), (), 0.0),  # some against none
    ((), (SQUARE,), 0.0),
    ((SQUARE,), (SQUARE,), 1.0),
    ((HALF_OFF,), (SQUARE,), 1 / 3),
    ((FAR,), (SQUARE,), 0.0),
    ((SQUARE, FAR), (SQUARE,), 1 / 2),  # one too many
    ((SQUARE,), (SQUARE, FAR), 1 / 2),  # one too few
    ((SQUARE, SQUARE), (SQUARE,), 1 / 2),  # the same box twice is matched once
    ((FAR, SQUARE), (SQUARE, FAR), 1.0),  # order does not matter
    # Greedy would take the 1/3 first; the best sum pairs each with its own.
    ((SQUARE, HALF_OFF), (HALF_OFF, SQUARE), 1.0),
    ((Box(5, 5, 5, 5),), (SQUARE,), 0.0),  # no area, no overlap
    ((Box(0, 0, 4, 4),), (SQUARE,), 1 / 4),  # four times too large
    ((Box(-2, 0, 2, 2),), (SQUARE,), 1 / 2),  # out of the frame on one side
]


@pytest.mark.parametrize(("predicted", "gold", "expected"), BY_HAND)
def test_by_hand(predicted, gold, expected):
    assert score(predicted, gold) == pytest.approx(expected)


def test_none_and_zero():
    assert score((SQUARE,), None) is None  # the row has no box gold
    assert score(None, (SQUARE,)) == 0.0  # no readable list
    assert score(None, ()) == 0.0  # a normal image still asks for a list
    assert score((SQUARE,), (SQUARE,), well_formed=False) == 0.0


def test_threshold_makes_pairs_count_whole_or_not_at_all():
    assert score((HALF_OFF,), (SQUARE,), threshold=0.33) == 1.0
    assert score((HALF_OFF,), (SQUARE,), threshold=0.5) == 0.0
    assert score((HALF_OFF, SQUARE), (SQUARE,), threshold=0.33) == 0.5


def test_giou_tells_near_from_far():
    # SQUARE and FAR: IoU 0, the box around both is 10 x 2 = 20, union 8: GIoU = -12/20.
    assert score((FAR,), (SQUARE,), similarity="giou") == pytest.approx((1 - 0.6) / 2)
    near = Box(3, 0, 5, 2)  # box around both 5 x 2 = 10, union 8: GIoU = -2/10
    assert score((near,), (SQUARE,), similarity="giou") == pytest.approx((1 - 0.2) / 2)
    # HALF_OFF: the box around both is the union, GIoU = IoU.
    assert score((HALF_OFF,), (SQUARE,), similarity="giou") == pytest.approx((1 + 1 / 3) / 2)
    assert score((SQUARE,), (SQUARE,), similarity="giou") == pytest.approx(1.0)
    assert score((Box(1, 1, 1, 1),), (Box(1, 1, 1, 1),), similarity="giou") == 0.0


def test_siou_is_milder_to_small_boxes_only():
    # Areas 4 + 4, gamma 0.5, kappa 2: e = 1 - 0.5 exp(-sqrt(8) / (sqrt(2) 2)) = 1 - 0.5 / exp(1)
    exponent = 1 - 0.5 * 0.36787944117144233
    small = score((HALF_OFF,), (SQUARE,), similarity="siou", size_gamma=0.5, size_scale=2.0)
    assert small == pytest.approx((1 / 3) ** exponent)
    big = score((Box(1000, 0, 3000, 2000),), (Box(0, 0, 2000, 2000),), similarity="siou")
    assert big == pytest.approx(1 / 3, abs=1e-6)
    assert score((FAR,), (SQUARE,), similarity="siou") == 0.0
    assert score((SQUARE,), (SQUARE,), similarity="siou") == 1.0


def test_label_aware():
    def labelled(label):
        return Box(0, 0, 2, 2, label)

    def with_labels(predicted, gold):
        return score((labelled(predicted),), (labelled(gold),), label_aware=True)

    assert with_labels("Pin_Hole", "pin hole") == 1.0
    assert with_labels("dent", "scratch") == 0.0
    assert with_labels(None, "scratch") == 0.0  # a label is asked for
    assert with_labels("dent", None) == 1.0  # the gold names none
    assert score((labelled("dent"),), (labelled("scratch"),)) == 1.0  # off by default


@pytest.mark.parametrize("similarity", ["iou", "giou", "siou"])
def test_similarities_stay_in_the_unit_interval(similarity):
    rng = random.Random(1)
    boxes = [random_box(rng) for _ in range(8)] + [Box(3, 3, 3, 3), Box(0, 0, 0, 9)]
    values = similarities(boxes, boxes, IouOptions(similarity=similarity))
    assert values.min() >= 0
    assert values.max() <= 1 + 1e-12


@pytest.mark.parametrize("wrong", [{"threshold": 0.0}, {"size_gamma": 1.0}, {"size_scale": 0.0}])
def test_options_out_of_range_are_refused(wrong):
    with pytest.raises(InputError, match=next(iter(wrong))):
        IouOptions(**wrong)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("similarity", ["iou", "giou", "siou"])
@pytest.mark.parametrize("corner", ["1e308", "1" * 200, "-1e308"])
def test_numbers_whose_squares_are_none_end_no_training(similarity, corner):
    """A policy that repeats a digit writes such a box."""
    term = Localization(IouOptions(similarity=similarity))
    near, far = "[[10, 10, 30, 30]]", f"[[10, 10, 30, {corner}], [{corner}, 0, 9, 9]]"
    for gold in ([[10, 10, 30, 30]], [[0, 0, 1e308, 1e308]], [[5, 5, 5, 5]]):
        for answer in (near, far):
            text = f"<think>Bent.</think><answer>{answer}</answer>"
            [reading] = read_batch([text], {"boxes": [gold], "frame": [[100, 100]]})
            assert 0 <= term(reading) <= 1
