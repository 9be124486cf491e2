"""Can a difference be told from chance: by pairs of seeds, by pairs of images, by their number."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

from anomalyr1.metrics.bootstrap import SEED
from anomalyr1.metrics.rare_shares import LEVEL

POWER = 0.8
EXACT_PAIRS = 16  # up to here all 2^n signs are tried
DRAWS = 20_000  # beyond it, so many


@dataclass(frozen=True, slots=True)
class SignFlips:
    """What permuting the two sides of every pair says.

    Attributes:
        p: two-sided; the share of permutations with a mean at least as far from 0.
        smallest: the least that p could have been with so many pairs.
    """

    p: float
    smallest: float


def sign_flips(differences: Sequence[float]) -> SignFlips | None:
    """Test whether paired differences have mean 0, by flipping their signs; None without a pair.

    Under the hypothesis that both sides of a pair are exchangeable every flip of signs is equally
    likely (Fisher, "The Design of Experiments", section 21). Up to 16 pairs all 2^n are tried;
    beyond, 20,000 drawn from a seed, the observed one among them (Phipson and Smyth 2010).

    Args:
        differences: one a pair.

    >>> sign_flips([1.0, 2.0, 3.0])
    SignFlips(p=0.25, smallest=0.25)
    """
    pairs = len(differences)
    if pairs == 0:
        return None
    if pairs <= EXACT_PAIRS:
        bits = np.arange(2**pairs)[:, None] >> np.arange(pairs)[None, :]
        signs = 1.0 - 2.0 * (bits & 1)
        smallest = 2.0 ** (1 - pairs)  # all one way, or all the other
    else:
        generator = np.random.default_rng(SEED)
        drawn = generator.choice([-1.0, 1.0], size=(DRAWS - 1, pairs))
        signs = np.vstack([np.ones(pairs), drawn])
        smallest = 1 / DRAWS
    sums = np.abs(signs @ np.asarray(differences, dtype=np.float64))
    # What is equal but for rounding is as far.
    reached = abs(sum(differences)) - 1e-9 * float(np.abs(differences).sum())
    return SignFlips(float(np.mean(sums >= reached)), smallest)


@dataclass(frozen=True, slots=True)
class Discordance:
    """Images that one of two runs did better at.

    Attributes:
        better: images that the second did better at.
        worse: images that the first did better at.
        p: two-sided, of the hypothesis that an image on which they differ is as likely to be one as
            the other; 1 where there is none.
    """

    better: int
    worse: int
    p: float


def mcnemar(first: NDArray[np.float64], second: NDArray[np.float64]) -> Discordance:
    """McNemar's exact test on the images of two runs (McNemar, Psychometrika 12, 1947).

    Images that both did equally well at say nothing; of the others each is a fair coin under the
    hypothesis, so that the p is that of a binomial test. With more than one question an image this
    is the sign test over images, which questions of one image being alike cannot mislead.

    Args:
        first: (images,) right answers of one run.
        second: (images,) those of the other, the same images and questions.

    >>> mcnemar(np.array([0.0, 0.0, 0.0, 1.0]), np.array([1.0, 1.0, 1.0, 1.0]))
    Discordance(better=3, worse=0, p=0.25)
    """
    better, worse = int((second > first).sum()), int((second < first).sum())
    differing = better + worse
    return Discordance(
        better, worse, float(binomtest(better, differing).pvalue) if differing else 1.0
    )


def smallest_detectable(
    standard_error: float, level: float = LEVEL, power: float = POWER
) -> float | None:
    """The true difference that would be found in `power` of repetitions; None without an error.

    (z of (1 + level) / 2 plus z of power) standard errors, 2.80 of them by default (Bloom, "Minimum
    Detectable Effects", Evaluation Review 19(5), 1995).

    Args:
        standard_error: of the measured difference.
        level: of the two-sided interval that must not reach 0.
        power: share of repetitions.

    >>> round(smallest_detectable(1.0), 2)
    2.8
    """
    if not standard_error > 0:
        return None
    normal = NormalDist()
    return (normal.inv_cdf(0.5 + level / 2) + normal.inv_cdf(power)) * standard_error
