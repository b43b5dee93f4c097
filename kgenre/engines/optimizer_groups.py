"""Which of several optimizers trains which variable."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any


def optimizer_groups(
    optimizers: Mapping[str, Any], trainable: Mapping[str, Any], frozen: Iterable[str] = ()
) -> list[dict[str, Any]]:
    """Each optimizer's variables by name: those whose whole name matches its pattern and no earlier pattern.

    Args:
        optimizers: a regular expression for variable names -> the optimizer of these variables.
        trainable: the trainable variables by structural name (see `named_variables`).
        frozen: names of the variables that are not trained now, for the error message.

    Raises:
        ValueError: no pattern matches a variable, no variable is left for a pattern, or one is no regular expression.

    Example:
        >>> optimizer_groups({"encoder.*": adam, ".*": sgd}, {"encoder.kernel": 1, "head.kernel": 2})
        [{'encoder.kernel': 1}, {'head.kernel': 2}]
    """
    for given in optimizers:
        try:
            re.compile(given)
        except re.error as error:
            raise ValueError(
                f"configure_optimizers: {given!r} is not a regular expression ({error}). For any characters write "
                ".*, as in '.*bias'."
            ) from None
    groups: dict[str, dict[str, Any]] = {pattern: {} for pattern in optimizers}
    for name, variable in trainable.items():
        pattern = next((pattern for pattern in optimizers if re.fullmatch(pattern, name)), None)
        if pattern is None:
            raise ValueError(
                f"configure_optimizers: no optimizer for {name}; its name matches none of {', '.join(optimizers)}. "
                "Add a last pattern '.*', or freeze the layer."
            )
        groups[pattern][name] = variable
    for pattern, group in groups.items():
        if not group:
            held = next((name for name in frozen if re.fullmatch(pattern, name)), None)
            if held is not None:
                raise ValueError(
                    f"configure_optimizers: {pattern!r} matches only variables that are frozen, such as {held}. To "
                    "train them later, leave them trainable and freeze them in on_fit_start; else drop the pattern."
                )
            taken = next((name for name in trainable if re.fullmatch(pattern, name)), None)
            if taken is not None:
                first = next(earlier for earlier in groups if taken in groups[earlier])
                raise ValueError(
                    f"configure_optimizers: the pattern {pattern!r} has no variable left to train: {first!r} comes "
                    f"first and matches {taken} too. Put the narrower pattern first; . is any character, \\. a dot."
                )
            raise ValueError(
                f"configure_optimizers: the pattern {pattern!r} has no variable left to train. "
                f"The names range from {next(iter(trainable))} to {list(trainable)[-1]}; the first pattern that "
                "matches a whole name wins."
            )
    return list(groups.values())
