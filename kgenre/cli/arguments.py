"""Orders command-line arguments by precedence, as later ones win in the parser, and expands their short forms."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kgenre.cli.usage import UsageError
from kgenre.quoted_path import quoted_path

# Classes that need Keras are parsed as class_path and init_args, and instantiated once Keras is imported.
_KERAS_PARTS = ("optimizer", "lr_scheduler")
_PATHS = ("--data.path", "--ckpt_path")
_PARTS = ("model", "data", "trainer", *_KERAS_PARTS)


def order_arguments(arguments: Sequence[str], defaults: dict[str, str]) -> list[str]:
    """Put the environment first, then configs, then the rest: the command line wins wherever ``--config`` stands in it.

    Args:
        arguments: as typed.
        defaults: the class that ``--model.help`` describes if none is given, and the same for data.
    """
    configs, rest = [], []
    words = iter(read_pipes(arguments))
    for word in words:
        if word == "--config":
            configs += [word, *([value] if (value := next(words, None)) is not None else [])]
        elif word.startswith("--config="):
            configs.append(word)
        else:
            rest.append(word)
    for word in configs:
        if word != "--config":
            _check_config(word.removeprefix("--config="))
    _refuse_films_as_class(typed_value("--data", rest), defaults["data"])
    return _expand_short_forms(_as_paths([*_environment(), *configs, *_with_class(rest, defaults)]))


def read_pipes(arguments: Sequence[str]) -> list[str]:
    """Replace a pipe, as in ``--config <(sed ... a.yaml)``, by its text: it can be read only once.

    Configs are read several times: by the parser, for each trial of a sweep and in the subprocesses of ``--advise``.
    """
    words = list(arguments)
    for i, (before, word) in enumerate(zip(["", *words], arguments, strict=False)):
        given = word if before == "--config" else word.removeprefix("--config=")
        is_config = before == "--config" or word != given
        if is_config and os.path.exists(given) and not (os.path.isfile(given) or os.path.isdir(given)):
            text = Path(given).read_text(encoding="utf-8", errors="surrogateescape")  # the parser refuses other bytes
            words[i] = word.removesuffix(given) + text
    return words


def _refuse_films_as_class(given: str | None, default: str) -> None:
    """Reject ``--data films.csv``, meant as ``--data.path``: the parser would read the file, and print all of it."""
    if given is None or given == default.rpartition(".")[2] or Path(given).suffix in (".yaml", ".yml", ".json"):
        return
    if os.path.lexists(given):
        raise UsageError(f"--data takes a class; for films, use --data.path {quoted_path(given)}")


def _environment() -> list[str]:
    """Turn ``KGENRE_MODEL__LEARNING_RATE=0.1`` into ``--model.learning_rate=0.1``, so that a misspelt name is an error.

    An empty variable counts as not set, as is customary.
    """
    found = []
    for name, value in sorted(os.environ.items()):
        part, _, path = name.removeprefix("KGENRE_").lower().partition("__")
        if value and name.startswith("KGENRE_") and (part in _PARTS if path else part in _KERAS_PARTS):
            found.append(f"--{'.'.join([part, *path.split('__')]) if path else part}={value}")
    return found


def _with_class(arguments: list[str], defaults: dict[str, str]) -> list[str]:
    """Let ``--model.help`` without a class describe the given model, or the default one."""
    for i, word in enumerate(arguments):
        part = word.removeprefix("--").removesuffix(".help")
        alone = i + 1 == len(arguments) or arguments[i + 1].startswith("-")
        if word == f"--{part}.help" and part in defaults and alone:
            return [*arguments[:i], f"{word}={typed_value(f'--{part}', arguments) or defaults[part]}"]
    return arguments


def _as_paths(arguments: list[str]) -> list[str]:
    """Write path options so that the parser reads their values as text, whatever a folder's name means in YAML."""
    written: list[str] = []
    for word in arguments:
        option, equals, value = word.partition("=")
        if written and written[-1] in _PATHS and not word.startswith("--"):
            option, value = written.pop(), word
        elif not (equals and option in _PATHS):
            written.append(word)
            continue
        written.append(_path_option(option, value))
    return written


def _path_option(option: str, value: str) -> str:
    import yaml

    try:
        read = yaml.safe_load(value)
    except yaml.YAMLError:  # the parser reads it as text, too
        read = value
    if isinstance(read, dict) and option == "--data.path":  # a folder named "a: b"
        return f"--data.init_args={json.dumps({'path': value})}"
    is_misread = not isinstance(read, str | int | float) and os.path.lexists(value)
    return f"{option}=./{value}" if is_misread else f"{option}={value}"  # in YAML "[2024]" is a list, "#1" a comment


def typed_value(option: str, arguments: Sequence[str]) -> str | None:
    """Return the value of an option where it is last given; None if it is not given, or has no value."""
    value = None
    for word, following in zip(arguments, [*arguments[1:], None], strict=False):
        if word == option:
            value = None if following is None or following.startswith("--") else following
        elif word.startswith(f"{option}="):
            value = word.partition("=")[2]
    return value


def _expand_short_forms(arguments: list[str]) -> list[str]:
    """Expand ``--optimizer SGD --optimizer.momentum 0.9`` to ``class_path`` and ``init_args``."""
    written = []
    for word in arguments:
        option, equals, value = word.partition("=")
        for part in _KERAS_PARTS:
            name = option.removeprefix(f"--{part}.")
            if option == f"--{part}":
                option = f"--{part}.class_path"
            elif name != option and name.partition(".")[0] not in ("class_path", "init_args", "help"):
                option = f"--{part}.init_args.{name}"
        written.append(option + equals + value)
    return written


def _check_config(given: str) -> None:
    """Reject a file that does not exist or is not a mapping of options; the parser also accepts YAML itself."""
    path = Path(os.path.expanduser(given))
    if given and os.path.isdir(path):
        inside = f" Did you mean {path / 'config.yaml'}?" if (path / "config.yaml").is_file() else ""
        raise UsageError(f"--config {given} is a folder, not a file.{inside}")
    if os.path.isfile(path):
        try:
            _check_yaml(str(path), path.read_text(encoding="utf-8"))
        except UnicodeDecodeError:
            raise UsageError(f"{path} is not a YAML file: it is not text.") from None
    elif not given or any(sign in os.path.splitdrive(given)[1] for sign in ": {"):
        _check_yaml("--config", given)
    else:
        beside = Path("configs") / path.name
        hint = next(
            (f" Did you mean {file}?" for file in (beside, beside.with_name(f"{path.name}.yaml")) if file.is_file()), ""
        )
        raise UsageError(f"--config {given}: the file does not exist.{hint}")


def _check_yaml(source: str, text: str) -> None:
    """Reject what is not a mapping of options, and names that are not text or duplicates: YAML keeps only the last."""
    import yaml

    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise UsageError(f"{source}{where}: {getattr(error, 'problem', None) or error}") from None
    if not isinstance(root, yaml.MappingNode):
        what = "is empty" if root is None else "is not a mapping of options"
        raise UsageError(f"{source} {what}. An example of a configuration: trainer: {{max_epochs: 3}}")
    nodes: list[Any] = [root]
    while nodes:
        node = nodes.pop()
        if isinstance(node, yaml.SequenceNode):
            nodes += node.value
        elif isinstance(node, yaml.MappingNode):
            seen: dict[str, int] = {}
            for key, value in node.value:
                line = key.start_mark.line + 1
                if not isinstance(key, yaml.ScalarNode):  # as in {{ rate }}, a placeholder of a template
                    raise UsageError(f"{source}, line {line}: the name of an option must be plain text.")
                if key.value in seen:
                    raise UsageError(f"{source}: {key.value!r} appears twice, on lines {seen[key.value]} and {line}.")
                seen[key.value] = line
                nodes.append(value)
