"""The name of a checkpoint's folder, from a template."""

from __future__ import annotations

import re
from collections.abc import Mapping

_NOT_IN_NAMES = re.compile(r'[/\\<>:"|?*]')  # forbidden in Windows folder names: runs may be copied there
FIELD = re.compile(r"\{([^{}:]+)(?::([^{}]*))?\}")


def check_template(template: str) -> str:
    """Return the template if it can name a checkpoint's folder.

    Raises:
        ValueError: it has a slash outside a field (or another character that Windows forbids in names), a stray brace
            or a format that numbers do not have, or the name is empty, hidden, reserved ("best", "last") or ends with a
            dot or space.
    """
    try:
        name = checkpoint_name(template, 0, 0, {})
    except ValueError as error:
        raise ValueError(f"{_MESSAGE} Received: {template!r} ({error})") from None
    # Windows ignores case, and dots and spaces at the end of a name.
    if name.lower() in ("best", "last"):
        raise ValueError(
            f"ModelCheckpoint(filename={template!r}): the files that point to the best and the newest checkpoint are "
            f"named 'best' and 'last'. Leave it out, or write filename='{name}_model'."
        )
    if _NOT_IN_NAMES.search(name) or re.search("[{}]", name) or not name or name[-1] in ". " or name.startswith("."):
        raise ValueError(f"{_MESSAGE} Received: {template!r}")
    return template


def checkpoint_name(template: str, epoch: int, step: int, metrics: Mapping[str, float]) -> str:
    """Fill in each ``{name:format}`` as ``name=value``; forbidden characters such as slashes in a name become ``_``.

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
