"""The name of a checkpoint's folder, from a template."""

from __future__ import annotations

import re
from collections.abc import Mapping

_NOT_IN_NAMES = re.compile(r'[/\\<>:"|?*]')  # of folders, on Windows, where runs may be copied to
FIELD = re.compile(r"\{([^{}:]+)(?::([^{}]*))?\}")


def check_template(template: str) -> str:
    """The template, if it can name a folder beside the others.

    Raises:
        ValueError: it holds a slash outside a field (or another sign that Windows allows in no name), a format that
            numbers do not have, or gives a name that is taken.
    """
    try:
        name = checkpoint_name(template, 0, 0, {})
    except ValueError as error:
        raise ValueError(f"{_MESSAGE} Received: {template!r} ({error})") from None
    if _NOT_IN_NAMES.search(name) or re.search("[{}]", name) or name in ("", "best", "last") or name.startswith("."):
        raise ValueError(f"{_MESSAGE} Received: {template!r}")
    return template


def checkpoint_name(template: str, epoch: int, step: int, metrics: Mapping[str, float]) -> str:
    """The template with each ``{name:format}`` as ``name=value``; slashes and the like in a name become ``_``.

    ``epoch`` counts from 0; a value that was not logged is ``nan``.

    Example:
        >>> checkpoint_name("{epoch:02d}-{val/loss:.3f}", 7, 1240, {"val/loss": 0.25})
        'epoch=07-val_loss=0.250'
    """
    counts = {"epoch": epoch, "step": step}

    def filled(field: re.Match[str]) -> str:
        name, spec = field[1], field[2] or ""
        value = counts[name] if name in counts else float(metrics.get(name, "nan"))
        return f"{_NOT_IN_NAMES.sub('_', name)}={value:{spec}}"

    return FIELD.sub(filled, template)


_MESSAGE = (
    "ModelCheckpoint(filename=...) takes a template such as '{epoch:02d}-{val/loss:.3f}': epoch, step or logged names "
    'in braces, no folders, none of <>:"|?*.'
)
