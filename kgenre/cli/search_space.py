"""The search space of a sweep: lists and ranges of options, and the methods to choose combinations."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard

import numpy as np

from kgenre.cli.usage import UsageError

Values = dict[str, Any]
MOST_TRIALS = 10_000  # all are checked before the first one runs, a fraction of a second each


@dataclass(frozen=True)
class Range:
    """Numbers from ``low`` to ``high``: integers if both ends are; with ``log`` spread evenly on a log scale."""

    low: float
    high: float
    log: bool = False
    steps: int | None = None

    @property
    def whole(self) -> bool:
        """Whether it contains integers only."""
        return isinstance(self.low, int) and isinstance(self.high, int)

    def at(self, share: float) -> float:
        """Return the number at a share in [0, 1] of the way from ``low`` to ``high``."""
        value = self._between(self.low, self.high, share)
        return round(value) if self.whole else float(f"{value:.6g}")

    def draw(self, rng: np.random.Generator) -> float:
        """Draw a number, evenly on the scale; of integers, both ends are as probable as those between them."""
        if not self.whole:
            return self.at(rng.random())
        # From all numbers that round to an integer of the range: from low to high, only half of those of both ends are.
        value = self._between(self.low - 0.5, self.high + 0.5, rng.random())
        return min(max(round(value), int(self.low)), int(self.high))

    def _between(self, low: float, high: float, share: float) -> float:
        return low * (high / low) ** share if self.log else low + share * (high - low)


def read_space(section: Mapping[str, Any]) -> dict[str, Sequence[Any] | Range]:
    """Read the options to vary from a ``sweep:`` section: lists, or ranges like ``{min: 1e-5, max: 1e-2, log: true}``.

    Raises:
        UsageError: an option has neither a list nor a range.

    Example:
        >>> read_space({"model": {"learning_rate": [0.1, 0.01]}, "data.batch_size": {"min": 16, "max": 64}})
        {'model.learning_rate': [0.1, 0.01], 'data.batch_size': Range(low=16, high=64, log=False, steps=None)}
    """
    space: dict[str, Sequence[Any] | Range] = {}
    for name, value in section.items():
        if isinstance(value, list) and value:
            space[name] = value
        elif isinstance(value, Mapping) and {"min", "max"} & value.keys():
            space[name] = _range(name, value)
        elif isinstance(value, Mapping) and value:
            space |= {f"{name}.{inner}": found for inner, found in read_space(value).items()}
        else:
            raise UsageError(f"sweep.{name} {_TAKES} Received: {value!r}")
    return space


_TAKES = (
    "takes a list such as [1e-3, 1e-4] or a range such as {min: 1e-5, max: 1e-2, log: true}, for a grid also with "
    f"steps, from 2 to {MOST_TRIALS}."
)


def _range(name: str, value: Mapping[str, Any]) -> Range:
    low, high, log, steps = (value.get(key) for key in ("min", "max", "log", "steps"))
    unknown = set(value) - {"min", "max", "log", "steps"}
    if unknown or not (_is_number(low) and _is_number(high) and low < high) or (log and low <= 0) or not _counts(steps):
        raise UsageError(f"sweep.{name} {_TAKES} Received: {dict(value)}")
    return Range(low, high, bool(log), steps)


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and -math.inf < value < math.inf


def _counts(steps: Any) -> bool:
    return steps is None or (isinstance(steps, int) and 2 <= steps <= MOST_TRIALS)


def is_numeric(values: Sequence[Any] | Range) -> bool:
    """Return whether every value is a number."""
    return isinstance(values, Range) or all(map(_is_number, values))


def grid(space: Mapping[str, Sequence[Any] | Range]) -> list[Values]:
    """Return every combination, the last option changing fastest.

    Raises:
        UsageError: a range has no ``steps``, and so infinitely many values; or there are too many combinations.
    """
    columns = []
    for name, values in space.items():
        if isinstance(values, Range):
            if values.steps is None:
                raise UsageError(f"sweep.{name} is a range: add steps: 5 for a grid, or use --method random.")
            steps = values.steps - 1
            values = list(dict.fromkeys(values.at(i / steps) for i in range(steps + 1)))  # rounded, 5 from 1 to 3 are 3
        columns.append(values)
    if (count := math.prod(map(len, columns))) > MOST_TRIALS:
        raise UsageError(f"The grid has {count:,} combinations: use --method random --trials 20, or fewer values.")
    return [dict(zip(space, chosen, strict=True)) for chosen in itertools.product(*columns)]


def random_search(space: Mapping[str, Sequence[Any] | Range], trials: int, seed: int) -> Iterator[Values]:
    """Yield ``trials`` draws. Draw i depends only on (seed, i), so that a sweep can be continued with more trials."""
    for trial in range(trials):
        rng = np.random.default_rng([seed, trial])
        yield {
            name: values.draw(rng) if isinstance(values, Range) else values[int(rng.integers(len(values)))]
            for name, values in space.items()
        }


def optuna_next(
    space: Mapping[str, Sequence[Any] | Range],
    seed: int,
    trial: int,
    mode: str,
    done: Sequence[tuple[Values, float]],
) -> Values:
    """Return what Optuna's TPE sampler suggests after the trials ``done``, given as parameters and score.

    The first trials are random: as in `random_search`, each draw depends on (seed, trial).
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    kinds = {name: _distribution(values) for name, values in space.items()}
    own_seed = int(np.random.SeedSequence([seed, trial]).generate_state(1)[0])
    sampler = optuna.samplers.TPESampler(seed=own_seed)
    study = optuna.create_study(direction="minimize" if mode == "min" else "maximize", sampler=sampler)
    for values, score in done:
        chosen = {
            name: values[name] if isinstance(of, Range) else list(of).index(values[name]) for name, of in space.items()
        }
        study.add_trial(optuna.trial.create_trial(params=chosen, distributions=kinds, value=score))
    chosen = study.ask(kinds).params
    return {name: chosen[name] if isinstance(of, Range) else of[chosen[name]] for name, of in space.items()}


def _distribution(values: Sequence[Any] | Range) -> Any:
    from optuna import distributions as of

    if not isinstance(values, Range):
        return of.CategoricalDistribution(range(len(values)))  # indices: Optuna supports no lists as choices
    kind = of.IntDistribution if values.whole else of.FloatDistribution
    return kind(values.low, values.high, log=values.log)
