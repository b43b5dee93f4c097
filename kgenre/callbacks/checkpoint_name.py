"""The name of a checkpoint's folder, from a template."""

from __future__ import annotations

import re
from collections.abc import Mapping

_FIELD = re.compile(r"\{([^{}:]+)(?::([^{}]*))?\}")


def check_template(template: str) -> str:
    """The template, if it can name a folder beside the others.

    Raises:
        ValueError: it holds a slash outside a field, a format that numbers do not have, or gives a name that is taken.
    """
    try:
        name = checkpoint_name(template, 0, 0, {})
    except ValueError as error:
        raise ValueError(f"{_MESSAGE} Received: {template!r} ({error})") from None
    if re.search(r"[/\\{}]", name) or name in ("", "best", "last") or name.startswith("."):
        raise ValueError(f"{_MESSAGE} Received: {template!r}")
    return template


def checkpoint_name(template: str, epoch: int, step: int, metrics: Mapping[str, float]) -> str:
    """The template with each ``{name:format}`` as ``name=value``; a slash in a name becomes ``_``.

    ``epoch`` counts from 0; a value that was not logged is ``nan``.

    Example:
        >>> checkpoint_name("{epoch:02d}-{val/loss:.3f}", 7, 1240, {"val/loss": 0.25})
        'epoch=07-val_loss=0.250'
    """
    counts = {"epoch": epoch, "step": step}

    def filled(field: re.Match[str]) -> str:
        name, spec = field[1], field[2] or ""
        value = counts[name] if name in counts else float(metrics.get(name, "nan"))
        safe = name.replace("/", "_")
        return f"{safe}={value:{spec}}"

    return _FIELD.sub(filled, template)


_MESSAGE = (
    "ModelCheckpoint(filename=...) takes a template such as '{epoch:02d}-{val/loss:.3f}': epoch, step or logged names "
    "in braces, no folders."
)
