"""Is a mean over a few seeds the published one? One rule, with its reasons.

The rule is the two-sample t test for equal spread, at 95 %. With n own seeds and k published ones:

    |own mean − published mean| ≤ t · s · √(1/n + 1/k) + r

s is the standard deviation within the seeds that are known: the own ones, and the published ones
where a paper lists them; t is Student's quantile for their degrees of freedom. Where only a mean is
published, its seeds are taken to spread as the own ones; k is 1 where nobody says how many there
were. r is the rounding of the published number.
"""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mmseg.apis.comparison.published import Published

WITHIN, BELOW, ABOVE, NOT_COMPARABLE = "within", "below", "above", "not comparable"
LEAST_SEEDS = 2
# Two-sided 95 % quantiles of Student's t for 1, 2, … degrees of freedom; more take the last.
T_95 = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228)
ROUNDING = 0.05  # of a number with one decimal


@dataclass(frozen=True)
class Verdict:
    """What the numbers say about a reproduction.

    Attributes:
        word: 'within', 'below', 'above' or 'not comparable'.
        why: sentences: the numbers and the band, or what keeps them from being compared.
        facts: the same numbers for programs, in percent.
    """

    word: str
    why: str
    facts: Mapping[str, Any]


def not_comparable(reasons: Sequence[str]) -> Verdict:
    """Return the verdict for results that answer another question than the published number."""
    return Verdict(NOT_COMPARABLE, " ".join(reasons), {})


def judge(published: Published, entry: Mapping[str, Any]) -> Verdict:
    """Compare the results of a config, as `summary` has them, with its published number."""
    name, wanted = published.main
    title = published.iteration
    found = entry[title]["means"].get(name, {"values": []})
    values = [100 * value for value in found["values"] if value is not None]
    if len(values) < LEAST_SEEDS:
        return not_comparable(
            [
                f"{name} at the {title} iteration is known for {len(values)} "
                f"seed{'s' * (len(values) != 1)}; a spread needs {LEAST_SEEDS}, better three or "
                "more."
            ]
        )
    mean, width = statistics.fmean(values), band(values, published)
    low, high = wanted - width, wanted + width
    word = BELOW if mean < low else ABOVE if mean > high else WITHIN
    why = (
        f"{name} at the {title} iteration is {mean:.2f} ± {statistics.stdev(values):.2f} over "
        f"{len(values)} seeds; published is {wanted} ({published.protocol}). The band is "
        f"{low:.2f} … {high:.2f}. {band_reason(published)}"
    )
    facts = {"metric": name, "iteration": title, "values": values, "mean": mean}
    return Verdict(word, why, {**facts, "published": wanted, "band": [low, high]})


def band(values: Sequence[float], published: Published) -> float:
    """Return half of the width of the band around the published mean, in percent points.

    Worked by hand for two seeds and a single published one: s = √2, t = 12.706 for one degree of
    freedom, √(1/2 + 1/1) = 1.2247.

    >>> one = Published("c", "p", "best checkpoint", {"mIoU": 50.0}, {})
    >>> round(band([49.0, 51.0], one), 2)
    22.06
    """
    own, theirs = list(values), list(published.seeds)
    known = [part for part in (own, theirs) if len(part) > 1]
    freedom = sum(len(part) - 1 for part in known)
    squares = sum((len(part) - 1) * statistics.variance(part) for part in known)
    count = len(theirs) or published.runs or 1
    error = math.sqrt(squares / freedom) * math.sqrt(1 / len(own) + 1 / count)
    return T_95[min(freedom, len(T_95)) - 1] * error + ROUNDING


def band_reason(published: Published) -> str:
    """Return sentences on how the band was made, and what that means."""
    if published.seeds:
        listed = ", ".join(map(str, published.seeds))
        spread = f"The spread is that of the own seeds and of the published ones ({listed})"
    elif published.runs:
        spread = f"The {published.runs} published seeds are taken to spread as the own ones"
    else:
        spread = (
            "Over how many seeds the published number is a mean is not stated: it counts as one "
            "seed, with the spread of the own ones"
        )
    return (
        f"{spread}; in 95 % of all cases, the difference of two such means lies in the band "
        f"(Student's t, plus {ROUNDING} for rounding). Few seeds make it wide: “within” does not "
        "prove that both are equal, and one of twenty faithful reproductions is outside."
    )
