"""Whether one run is better than another on the same test films, or only luckier."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kgenre.evaluation.bootstrap import bootstrap_metrics, interval
from kgenre.evaluation.metrics import multilabel_metrics
from kgenre.reports.run import Run


@dataclass(frozen=True)
class Difference:
    """First minus second, with the 95 % bootstrap interval of the paired difference."""

    value: float
    low: float
    high: float

    @property
    def is_clear(self) -> bool:
        """Whether the interval leaves zero out."""
        return self.low > 0 or self.high < 0


def run_difference(first: Run, second: Run, metric: str) -> tuple[Difference, int]:
    """The difference of a metric of `multilabel_metrics` on the test films that both have, and how many these are."""
    own, other = first.predictions, second.predictions
    row_of = {film_id: row for row, film_id in enumerate(other.ids)}
    rows = [row for row, film_id in enumerate(own.ids) if film_id in row_of]
    theirs = [row_of[own.ids[row]] for row in rows]
    true = own.true[rows]
    pair = (own.prob[rows], other.prob[theirs])
    values = [multilabel_metrics(true, prob)[metric] for prob in pair]
    rounds = [bootstrap_metrics(true, prob)[metric] for prob in pair]
    low, high = interval(np.subtract(*rounds))
    return Difference(values[0] - values[1], low, high), len(rows)
