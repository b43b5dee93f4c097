"""How many batches of a source a run uses: ``limit_*_batches``, ``val_check_interval``."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from numbers import Integral, Real
from typing import Any

from kgenre.engines.step_logs import rows_of
from kgenre.training.array_dataset import ArrayDataset
from kgenre.training.errors import TrainerError


def check_limit(name: str, limit: int | float | None) -> int | float | None:
    """Check a limit: a count (int >= 0), a fraction (float 0.0 to 1.0), or None for all."""
    if limit is None or (isinstance(limit, Integral) and limit >= 0) or (isinstance(limit, Real) and 0 <= limit <= 1):
        return limit
    raise TrainerError(f"{name} takes a number of batches (int) or a fraction (0.0 to 1.0). Received: {limit!r}")


def number_of_batches(source: Iterable[Any], limit: int | float | None, name: str) -> int | float:
    """The number of batches of a source under a limit; infinity for a source of unknown length without a limit.

    Raises:
        TrainerError: a fraction of a source of unknown length, or one that leaves less than a batch; a source that
            cannot be iterated or can be read only once, arrays that are not cut into batches, or a dict.
    """
    if isinstance(source, type):
        raise TrainerError(f"The {name} batches come from the class {source.__name__}. Pass an object of it.")
    if not any(hasattr(source, name) for name in _ITERABLE):
        raise TrainerError(
            f"The {name} batches come from a {type(source).__name__}, which cannot be iterated. Pass a list, an "
            "ArrayDataset, a tf.data.Dataset, or an object with __iter__."
        )
    if hasattr(source, "__next__"):  # a generator, exhausted after one pass
        raise TrainerError(
            f"The {name} batches come from a {type(source).__name__}, which can be read only once, but each epoch "
            "reads them again. Pass a list, an ArrayDataset, a tf.data.Dataset, or an object with __iter__."
        )
    if (arrays := _describe_unbatched(source)) is not None:
        raise TrainerError(
            f"The {name} batches are {arrays}: data that are not batched yet. Pass "
            "kgenre.ArrayDataset(arrays, batch_size=32) instead or, if each member is a batch, a list of them."
        )
    if isinstance(source, Mapping):
        raise TrainerError(
            f"The {name} batches come from a dict of {', '.join(map(repr, source))}, which is not supported. Divide "
            "arrays into batches with kgenre.ArrayDataset(arrays, batch_size=32); combine several data pipelines into "
            "one whose batches are dicts."
        )
    length = length_of(source)
    if limit is None:
        return length
    if isinstance(limit, Integral):
        return min(limit, length)
    if math.isinf(length):
        if limit == 1.0:
            return length
        raise TrainerError(
            f"limit_{name}_batches={limit}: a fraction needs data of known length; set a number of batches."
        )
    if limit and length and int(length * limit) == 0:
        raise TrainerError(
            f"limit_{name}_batches={limit} of {length} batches is less than one. Give at least {1 / length:.4g}, or a "
            "number of batches."
        )
    return int(length * limit)


_ITERABLE = ("__iter__", "__getitem__", "epoch_batches")


def _describe_unbatched(source: Any) -> str | None:
    """Describe arrays that are not batched yet, as Keras's ``fit`` takes them; None for a source of batches."""
    if hasattr(source, "shape"):
        return f"one {type(source).__name__} of shape {tuple(source.shape)}"
    members = list(source.values()) if isinstance(source, Mapping) else source
    if isinstance(source, Mapping | tuple) and members and all(hasattr(member, "shape") for member in members):
        return f"a {type(source).__name__} of arrays of shapes {', '.join(str(tuple(m.shape)) for m in members)}"
    return None


def validation_interval(interval: int | float, batches: int | float, across_epochs: bool = False) -> int | float:
    """The number of training batches between validations, from a count or a fraction of the epoch.

    Raises:
        TrainerError: more batches than an epoch has, or a fraction of an epoch of unknown length.
    """
    if interval == 1 and not isinstance(interval, Integral):
        return math.inf  # at the end of the epoch, however long it is
    if isinstance(interval, Integral):
        if interval > batches and not across_epochs:
            raise TrainerError(
                f"val_check_interval={interval} is more than the {batches} batches of a training epoch. "
                "Give a smaller number, or count across epochs with check_val_every_n_epoch=None."
            )
        return interval
    if math.isinf(batches):
        raise TrainerError(
            f"val_check_interval={interval}: a fraction needs training data of known length; set a number of batches."
        )
    return max(1, int(batches * interval))


def check_last_batch(source: Any, batches: int | float, name: str, devices: int) -> None:
    """Check that the devices can share the last batch, if the source tells its size: it would fail after the others.

    Raises:
        TrainerError: its rows cannot be divided among so many devices.
    """
    if devices < 2 or batches != length_of(source) or not batches:
        return
    if isinstance(source, ArrayDataset):
        rows = min(source.batch_size, source.rows - (len(source) - 1) * source.batch_size)
    else:
        rows = (isinstance(source, list | tuple) and rows_of(source[-1])) or 0
    if rows % devices:
        raise TrainerError(
            f"Each batch is divided among {devices} devices. The last {name} batch has {rows} row{'s' * (rows > 1)}: "
            f"make batch_size a multiple of {devices} and drop or pad the last batch, or use another number of devices."
        )


def exhausted_source_error(name: str) -> TrainerError:
    """The error for a source that yields no batches when it is read again."""
    return TrainerError(
        f"The {name} data yielded no batches when they were read again, but every epoch reads them. Let __iter__ "
        "start from the beginning each time, and do not read from an exhausted iterator."
    )


def length_of(source: Any) -> int | float:
    """The number of batches of a source; infinity if it is unknown."""
    try:
        return len(source)
    except TypeError:  # a tf.data.Dataset of unknown or infinite cardinality, or an object without a length
        batches = getattr(source, "num_batches", None)  # Keras's PyDataset has it; None: infinite
        return batches if isinstance(batches, int) else math.inf
